/**
 * TIFF's LZW: codes of 9 to 12 bits, the highest bit first, widened one code
 * early. Files older than TIFF 5 have the lowest bit first, and no early
 * change; libtiff still reads them.
 *
 * Format: TIFF 6.0, section 13.
 *
 * @module
 */
import { ImageError } from "../../../errors.ts";

const CLEAR = 256;
const END = 257;
const FIRST = 258;
const MAX_CODES = 4096;

/**
 * The decoded bytes, at most `maxBytes`.
 *
 * @throws {ImageError} If a code refers to an entry that is not there.
 */
export function decodeLzw(
  encoded: Uint8Array,
  maxBytes: number,
): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(maxBytes);
  const isOld = encoded[0] === 0 && (encoded[1]! & 1) === 1; // a clear, reversed
  const early = isOld ? 0 : 1;
  // A code stands for earlier output: its offset and length.
  const starts = new Uint32Array(MAX_CODES);
  const lengths = new Uint32Array(MAX_CODES);
  let next = FIRST;
  let width = 9;
  let last = -1; // where the last string was written; none after a clear
  let lastLength = 0;
  let size = 0;
  for (let at = 0, bits = 0, held = 0; size < maxBytes;) {
    while (bits < width) {
      if (at >= encoded.length) return out.subarray(0, size);
      held = isOld
        ? held | encoded[at++]! << bits
        : (held << 8 | encoded[at++]!) & 0xffffff;
      bits += 8;
    }
    bits -= width;
    const code = (isOld ? held : held >> bits) & (1 << width) - 1;
    if (isOld) held >>= width;
    if (code === END) break;
    if (code === CLEAR) {
      next = FIRST;
      width = 9;
      last = -1;
      continue;
    }
    const start = size;
    if (code < CLEAR) out[size++] = code;
    else if (code < next) {
      size = repeat(out, starts[code]!, lengths[code]!, size);
    } else if (code === next && last >= 0) { // the string it begins itself
      size = repeat(out, last, lastLength + 1, size);
    } else {throw new ImageError(
        "an LZW code refers to an entry that is not there",
      );}
    if (last >= 0 && next < MAX_CODES) { // the last string and this first byte
      starts[next] = last;
      lengths[next++] = lastLength + 1;
    }
    if (next >= (1 << width) - early && width < 12) width++;
    last = start;
    lastLength = size - start;
  }
  return out.subarray(0, size);
}

/** Copies output from `from`; source and destination may overlap. */
function repeat(
  out: Uint8Array,
  from: number,
  length: number,
  at: number,
): number {
  const end = Math.min(at + length, out.length);
  for (let i = at; i < end; i++) out[i] = out[from++]!;
  return end;
}
