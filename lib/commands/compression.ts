/**
 * How commands that write slides are told to store their blocks.
 *
 * @module
 */
import { UsageError } from "../errors.ts";
import type { BlockCompression } from "../image/tiff_blocks.ts";
import type { Flags } from "./flags.ts";

const DEFAULT_QUALITY = 85; // what the scanners of the field write: 70 to 90

/** Lines of a command's usage. */
export const COMPRESSION_USAGE =
  `  --compression C jpeg, or deflate: without loss (jpeg)
  --quality Q     of JPEG, 1 to 100 (${DEFAULT_QUALITY})`;

/**
 * What `--compression` and `--quality` say.
 *
 * @throws {UsageError} If one is wrong, or they do not go together.
 */
export function blockCompression(flags: Flags): BlockCompression {
  const kind = flags.oneOf("compression", ["jpeg", "deflate"]) ?? "jpeg";
  const quality = flags.integer("quality", { least: 1, most: 100 });
  if (kind === "jpeg") return { kind, quality: quality ?? DEFAULT_QUALITY };
  if (quality !== undefined) {
    throw new UsageError(
      "Cannot take --quality with --compression deflate: it loses nothing",
    );
  }
  return { kind };
}
