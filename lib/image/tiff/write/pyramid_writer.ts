/**
 * Copies any image into a tiled pyramid, strip by strip: each level buffers one
 * row of its blocks, and passes it on halved.
 *
 * @module
 */
import type { Location, Size } from "../../geometry.ts";
import type { Pyramid } from "../../pyramid.ts";
import {
  cutBlock,
  halve,
  halvedSize,
  type Rgb,
  toRgb,
} from "../../pyramids/rgb.ts";
import { type BlockCompression, encodeBlock } from "./encoder.ts";
import { blockGrid, type TiffWriter, writeTiff } from "./writer.ts";

/** Options of {@linkcode writePyramid}. */
export interface PyramidOptions {
  compression: BlockCompression;
  /** Width and height of a block, px; a multiple of 16. */
  blockSize: number;
  signal?: AbortSignal;
  /** Called with the number of level-0 rows that are done. */
  onProgress?: (done: number, total: number) => void;
}

// The smallest level is the first whose sides are both below this, px.
const MIN_LEVEL = 1024;

// Blocks encoded at a time, in the threads of libvips and zlib.
const ENCODINGS = 4;

// Pixels read at a time: 16 MiB as RGBA, or one block if that is more.
const READ_PIXELS = 2 ** 22;

/** Sizes of the levels of an image of `size`, level 0 first. */
export function levelSizes({ width, height }: Size): Size[] {
  const levels = [{ width, height }];
  for (let size = levels[0]!; isLarge(size);) {
    size = halvedSize(size);
    levels.push(size);
  }
  return levels;
}

function isLarge({ width, height }: Size): boolean {
  return width >= MIN_LEVEL || height >= MIN_LEVEL;
}

/**
 * Writes `source` as a pyramid at `path`: each level is the mean of 2 x 2 px of
 * the one before. The file is written atomically.
 *
 * @returns the sizes of its levels.
 * @throws {ImageError} If the source cannot be read.
 */
export async function writePyramid(
  path: string,
  source: Pyramid,
  { compression, blockSize, signal, onProgress = () => {} }: PyramidOptions,
): Promise<Size[]> {
  const levels = levelSizes(source);
  const { mpp, geoTags, height } = source;
  const layout = {
    levels,
    blockSize,
    compression,
    ...mpp !== undefined && { mpp },
    ...geoTags && { geoTags },
  };
  await writeTiff(path, layout, async (writer) => {
    const blocks = new BlockQueue(writer, { compression, blockSize });
    const bands = levels.slice(1).map((size) => new Band(size, blockSize));
    for (let y = 0; y < height; y += blockSize) {
      for await (const { part, x } of readRow(source, y, blockSize, signal)) {
        const place = { row: y / blockSize, column: x / blockSize };
        await blocks.add(part, { level: 0, size: source, ...place });
        bands[0]?.paste(halve(part), x / 2);
      }
      await passOn(bands, blocks);
      onProgress(Math.min(y + blockSize, height), height);
    }
    await blocks.finish();
  });
  return levels;
}

/** The pixels of a row of blocks of level 0, in parts of whole blocks. */
async function* readRow(
  source: Pyramid,
  y: number,
  blockSize: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<{ part: Rgb; x: number }> {
  const height = Math.min(blockSize, source.height - y);
  const blocks = Math.max(1, Math.floor(READ_PIXELS / blockSize ** 2));
  const most = blocks * blockSize;
  for (let x = 0; x < source.width; x += most) {
    signal?.throwIfAborted();
    const width = Math.min(most, source.width - x);
    const pixels = await source.read({ x, y, width, height }, 0, signal);
    yield { part: toRgb(pixels), x };
  }
}

/** Writes the levels whose rows of blocks are full, and fills the next. */
async function passOn(
  bands: readonly Band[],
  blocks: BlockQueue,
): Promise<void> {
  for (const [i, band] of bands.entries()) {
    const full = band.take();
    if (full === undefined) return;
    const { strip, row } = full;
    const place = { level: i + 1, row, column: 0 };
    await blocks.add(strip, { size: strip, ...place });
    bands[i + 1]?.paste(halve(strip), 0);
  }
}

/** Collects the rows of a level until they fill a row of blocks. */
class Band {
  readonly #size: Size;
  readonly #blockSize: number;
  #strip: Rgb;
  #row = 0; // of blocks
  #filled = 0; // rows of pixels that are whole
  #pasted = 0; // rows of pixels, the last ones perhaps in part

  constructor(size: Size, blockSize: number) {
    this.#size = size;
    this.#blockSize = blockSize;
    this.#strip = this.#nextStrip();
  }

  /** Adds rows below the complete ones, at `x`; clips pixels beyond the edge. */
  paste(part: Rgb, x: number): void {
    const { data, width } = this.#strip;
    const columns = Math.min(part.width, width - x);
    const rows = Math.min(part.height, this.#strip.height - this.#filled);
    for (let row = 0; row < rows; row++) {
      const from = row * part.width * 3;
      data.set(
        part.data.subarray(from, from + columns * 3),
        ((this.#filled + row) * width + x) * 3,
      );
    }
    this.#pasted = this.#filled + rows;
  }

  /** The rows so far, once they fill a row of blocks. */
  take(): { strip: Rgb; row: number } | undefined {
    this.#filled = this.#pasted;
    const strip = this.#strip;
    if (this.#filled < strip.height || strip.height === 0) return undefined;
    const row = this.#row++;
    this.#filled = this.#pasted = 0;
    this.#strip = this.#nextStrip();
    return { strip, row };
  }

  #nextStrip(): Rgb {
    const { width, height } = this.#size;
    const left = height - this.#row * this.#blockSize;
    const rows = Math.max(0, Math.min(this.#blockSize, left));
    return { data: new Uint8Array(width * rows * 3), width, height: rows };
  }
}

/** Position of pixels in the blocks of a level of `size`. */
interface Place extends Location {
  level: number;
  size: Size;
}

/** Encodes blocks some at a time and writes them in order. */
class BlockQueue {
  readonly #writer: TiffWriter;
  readonly #options: Pick<PyramidOptions, "compression" | "blockSize">;
  readonly #waiting: {
    level: number;
    index: number;
    encoded: Promise<Uint8Array>;
  }[] = [];

  constructor(
    writer: TiffWriter,
    options: Pick<PyramidOptions, "compression" | "blockSize">,
  ) {
    this.#writer = writer;
    this.#options = options;
  }

  /** Takes pixels of one row of blocks, from the block at `place` on. */
  async add(part: Rgb, { level, size, row, column }: Place): Promise<void> {
    const { compression, blockSize } = this.#options;
    const { columns } = blockGrid(size, blockSize);
    const first = row * columns + column;
    const square = { width: blockSize, height: blockSize };
    for (let i = 0; i < blockGrid(part, blockSize).columns; i++) {
      const block = cutBlock(part, { x: i * blockSize, y: 0, ...square });
      const encoded = encodeBlock(block, compression);
      encoded.catch(() => {}); // thrown where it is awaited
      this.#waiting.push({ level, index: first + i, encoded });
      if (this.#waiting.length >= ENCODINGS) await this.#writeOldest();
    }
  }

  async finish(): Promise<void> {
    while (this.#waiting.length > 0) await this.#writeOldest();
  }

  async #writeOldest(): Promise<void> {
    const { level, index, encoded } = this.#waiting.shift()!;
    this.#writer.place(level, index, await this.#writer.write(await encoded));
  }
}
