/**
 * How commands that write slides store their blocks.
 *
 * @module
 */
import { UsageError } from "../../errors.ts";
import type { BlockCompression } from "../../image/tiff/write/encoder.ts";
import { type FlagValues, integer, oneOf } from "./flags.ts";

const DEFAULT_QUALITY = 85; // what the scanners of the field write: 70 to 90

/** `--compression` and `--quality`. */
export const COMPRESSION_FLAGS = {
  compression: oneOf(
    ["jpeg", "deflate"] as const,
    "C",
    "jpeg, or deflate: without loss (jpeg)",
  ),
  quality: integer("Q", `of JPEG, 1 to 100 (${DEFAULT_QUALITY})`, {
    min: 1,
    max: 100,
  }),
};

/**
 * How blocks are compressed.
 *
 * @throws {UsageError} If the flags do not go together.
 */
export function blockCompression(
  { compression: kind = "jpeg", quality }: FlagValues<typeof COMPRESSION_FLAGS>,
): BlockCompression {
  if (kind === "jpeg") return { kind, quality: quality ?? DEFAULT_QUALITY };
  if (quality !== undefined) {
    throw new UsageError(
      "Cannot take --quality with --compression deflate: it loses nothing",
    );
  }
  return { kind };
}
