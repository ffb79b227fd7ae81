/**
 * Encodes the blocks of a TIFF.
 *
 * @module
 */
import { promisify } from "node:util";
import { deflate } from "node:zlib";
import { libvips } from "../../formats/libvips.ts";
import type { Rgb } from "../../pyramids/rgb.ts";

/** Compression of blocks: lossy JPEG, or lossless deflate. */
export type BlockCompression =
  | { kind: "jpeg"; quality: number } // 1 to 100
  | { kind: "deflate" };

const deflated = promisify(deflate);

// On tissue 1 % larger than with zlib's default of 6, in two thirds of the
// time.
const DEFLATE_LEVEL = 4;

/** The bytes of one self-contained block: it needs no tables of its file. */
export async function encodeBlock(
  block: Rgb,
  compression: BlockCompression,
): Promise<Uint8Array> {
  if (compression.kind === "deflate") {
    return await deflated(differences(block), { level: DEFLATE_LEVEL });
  }
  const { data, width, height } = block;
  const sharp = await libvips("write JPEG blocks");
  return await sharp(data, { raw: { width, height, channels: 3 } })
    .jpeg({ quality: compression.quality, chromaSubsampling: "4:2:0" })
    .toBuffer();
}

/** The bytes of a block of floats, deflated. */
export async function encodeFloats(block: Float32Array): Promise<Uint8Array> {
  const bytes = new Uint8Array(block.length * 4);
  const view = new DataView(bytes.buffer);
  block.forEach((value, i) => view.setFloat32(4 * i, value, true));
  return await deflated(bytes, { level: DEFLATE_LEVEL });
}

/** Subtracts from each sample the one on its left: TIFF's predictor 2. */
function differences({ data, width, height }: Rgb): Uint8Array {
  const out = new Uint8Array(data); // wraps around, as the format requires
  const rowBytes = width * 3;
  for (let row = 0; row < height; row++) {
    const first = row * rowBytes;
    for (let i = first + rowBytes - 1; i >= first + 3; i--) {
      out[i] = data[i]! - data[i - 3]!;
    }
  }
  return out;
}
