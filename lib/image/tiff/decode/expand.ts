/**
 * Decompresses a TIFF's pieces of plain samples. Deflate and zstd use
 * node:zlib, in its own threads; LZW and PackBits are ours.
 *
 * @module
 */
import { promisify } from "node:util";
import { inflate, inflateSync, zstdDecompress } from "node:zlib";
import { ImageError } from "../../../errors.ts";
import { decodeLzw } from "./lzw.ts";
import type { TiffPage } from "../page.ts";

const inflated = promisify(inflate);
const zstdDecompressed = promisify(zstdDecompress);

// Fewer bytes are inflated faster than a thread takes over: a strip of one row.
const SMALL_BYTES = 2 ** 15;

// Bytes that may follow the pixels of a piece: a strip padded to full height.
const SLACK_BYTES = 2 ** 20;

/**
 * The samples of a piece, `length` bytes; bytes missing after the first `least`
 * are 0: rows below the image, which some writers omit.
 *
 * @throws {ImageError} With the reason only.
 */
export async function expandSamples(
  { compression, reversedBits }: Pick<
    TiffPage,
    "compression" | "reversedBits"
  >,
  bytes: Uint8Array,
  { length, least }: { length: number; least: number },
): Promise<Uint8Array> {
  const stored = reversedBits ? bytes.map(reverseBits) : bytes;
  const data = await expand(compression, stored, length);
  if (data.length < least) {
    throw new ImageError(`it holds ${data.length} of ${length} bytes`);
  }
  return ownBytes(data, length);
}

async function expand(
  compression: TiffPage["compression"],
  bytes: Uint8Array,
  length: number,
): Promise<Uint8Array> {
  const maxOutputLength = length + SLACK_BYTES;
  try {
    switch (compression) {
      case "none":
        return bytes.slice(0, length);
      case "lzw":
        return decodeLzw(bytes, length);
      case "packbits":
        return decodePackBits(bytes, length);
      case "deflate":
        return length <= SMALL_BYTES
          ? inflateSync(bytes, { maxOutputLength })
          : await inflated(bytes, { maxOutputLength });
      case "zstd":
        return await zstdDecompressed(bytes, { maxOutputLength });
    }
  } catch (cause) {
    throw new ImageError((cause as Error).message, { cause });
  }
  throw new TypeError(`Cannot expand ${compression}`);
}

/** `length` bytes that may be changed, and viewed as numbers. */
function ownBytes(data: Uint8Array, length: number): Uint8Array {
  if (data.length >= length && data.byteOffset % 8 === 0) {
    return data.subarray(0, length);
  }
  const bytes = new Uint8Array(length);
  bytes.set(data.subarray(0, length));
  return bytes;
}

/** The bits of a byte in reverse order. */
function reverseBits(byte: number): number {
  let reversed = 0;
  for (let i = 0; i < 8; i++) reversed |= (byte >> i & 1) << 7 - i;
  return reversed;
}

/** Decodes PackBits: literal runs and repeated bytes (TIFF 6.0, section 9). */
function decodePackBits(bytes: Uint8Array, maxBytes: number): Uint8Array {
  const out = new Uint8Array(maxBytes);
  let size = 0;
  for (let at = 0; at < bytes.length && size < maxBytes;) {
    const count = bytes[at++]!;
    if (count < 128) {
      const run = bytes.subarray(at, at + Math.min(count + 1, maxBytes - size));
      out.set(run, size);
      at += count + 1;
      size += run.length;
    } else if (count > 128) {
      const end = Math.min(size + 257 - count, maxBytes);
      out.fill(bytes[at++]!, size, end);
      size = end;
    }
  }
  return out.subarray(0, size);
}
