/**
 * Compression flags of commands that write slides.
 *
 * @module
 */
import { UsageError } from "../../errors.ts";
import type { BlockCompression } from "../../image/tiff/write/encoder.ts";
import { type FlagValues, integer, oneOf } from "./flags.ts";

const DEFAULT_QUALITY = 85; // slide scanners use 70 to 90

/** `--compression` and `--quality`. */
export const COMPRESSION_FLAGS = {
  compression: oneOf(
    ["jpeg", "deflate"] as const,
    "C",
    "jpeg, or deflate, which is lossless (jpeg)",
  ),
  quality: integer("Q", `of JPEG, 1 to 100 (${DEFAULT_QUALITY})`, {
    min: 1,
    max: 100,
  }),
};

/**
 * Reads the compression of blocks from the flags.
 *
 * @throws {UsageError} If the flags contradict each other.
 */
export function blockCompression(
  { compression: kind = "jpeg", quality }: FlagValues<typeof COMPRESSION_FLAGS>,
): BlockCompression {
  if (kind === "jpeg") return { kind, quality: quality ?? DEFAULT_QUALITY };
  if (quality !== undefined) {
    throw new UsageError(
      "--quality has no effect with --compression deflate, which is lossless: leave it out",
    );
  }
  return { kind };
}
