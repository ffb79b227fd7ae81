/**
 * Writes tiled pyramids as TIFF, or BigTIFF if 4 GB are not enough: pages from
 * the largest level to the smallest. Blocks are written as they arrive, in any
 * order, and several places may share one; directories follow at the end.
 *
 * @module
 */
import { moveIntoPlace, temporaryBeside, writeAll } from "../../../files.ts";
import type { MapSize, Size } from "../../geometry.ts";
import type { GeoTag } from "../../pyramid.ts";
import type { BlockCompression } from "./encoder.ts";
import {
  bytesOf,
  encodeDirectory,
  encodeHeader,
  encodeTable,
  type Field,
  HEADER_BYTES,
  inlineBytes,
  TYPE,
} from "../directory.ts";
import { geoFields } from "../georeference.ts";

/** Layout of a file to write. */
export interface TiffLayout {
  /** Sizes of the levels, the largest first. */
  levels: readonly Size[];
  /** Width and height of a block, px; a multiple of 16. */
  blockSize: number;
  compression: BlockCompression;
  /** RGB of 8 bits, or one float of 32 bits a pixel; RGB if omitted. */
  samples?: "rgb" | "float";
  /** What it is, beside its micrometres per px. */
  title?: string;
  /** Micrometres per level-0 px. */
  mpp?: number;
  /** GeoTIFF entries of level 0. */
  geoTags?: readonly GeoTag[];
  /** Forces BigTIFF; otherwise it is used only if offsets need it. */
  big?: boolean;
}

/** An encoded block in the file. */
export interface WrittenBlock {
  offset: number;
  bytes: number;
}

/** Rows and columns of the blocks of a level. */
export function blockGrid({ width, height }: Size, blockSize: number): MapSize {
  return {
    rows: Math.ceil(height / blockSize),
    columns: Math.ceil(width / blockSize),
  };
}

/**
 * Writes the file at `path` with the blocks that `fill` gives it. The file is
 * written atomically and synced; if `fill` fails, nothing remains.
 */
export async function writeTiff(
  path: string,
  layout: TiffLayout,
  fill: (writer: TiffWriter) => Promise<void>,
): Promise<void> {
  const temporary = temporaryBeside(path);
  try {
    using file = await Deno.open(temporary, { write: true, createNew: true });
    const writer = new TiffWriter(file, layout);
    await fill(writer);
    await writer.finish();
    await file.sync();
    await moveIntoPlace(temporary, path);
  } catch (cause) {
    await Deno.remove(temporary).catch(() => {}); // report the first error
    throw cause;
  }
}

/** The blocks of one level: their offsets, row by row. */
interface LevelBlocks extends Size, MapSize {
  offsets: Float64Array;
  bytes: Uint32Array;
}

// Maximum file size of 4-byte offsets.
const CLASSIC_BYTES = 2 ** 32;

// Maximum bytes of directories, beside their tables.
const DIRECTORIES_BYTES = 2 ** 16;

// Values of a table that are converted and written at a time.
const TABLE_CHUNK = 2 ** 16;

/** Accepts the blocks of a pyramid; created by {@linkcode writeTiff}. */
export class TiffWriter {
  readonly #file: Deno.FsFile;
  readonly #layout: TiffLayout;
  readonly #levels: LevelBlocks[];
  #end = 0;

  constructor(file: Deno.FsFile, layout: TiffLayout) {
    this.#file = file;
    this.#layout = layout;
    this.#levels = layout.levels.map((size) => {
      const grid = blockGrid(size, layout.blockSize);
      return {
        width: size.width,
        height: size.height,
        ...grid,
        offsets: new Float64Array(grid.rows * grid.columns),
        bytes: new Uint32Array(grid.rows * grid.columns),
      };
    });
  }

  /** Writes an encoded block; {@linkcode place} assigns its position. */
  async write(encoded: Uint8Array): Promise<WrittenBlock> {
    if (this.#end === 0) await this.#append(new Uint8Array(HEADER_BYTES));
    const block = { offset: this.#end, bytes: encoded.length };
    await this.#append(encoded);
    return block;
  }

  /** Assigns `block` to position `index`, counted row by row, of `level`. */
  place(level: number, index: number, block: WrittenBlock): void {
    const { offsets, bytes } = this.#levels[level]!;
    offsets[index] = block.offset;
    bytes[index] = block.bytes;
  }

  /**
   * Writes the directories and the header.
   *
   * @throws {TypeError} If a place has no block.
   */
  async finish(): Promise<void> {
    this.#checkComplete();
    const big = this.#layout.big ?? this.#needsBig();
    const directories: Field[][] = [];
    for (const level of this.#levels.keys()) {
      directories.push([
        ...pageFields(this.#layout, level),
        ...await this.#writeTables(level, big),
      ]);
    }
    await this.#pad();
    const first = this.#end;
    for (const [level, fields] of directories.entries()) {
      const last = level === directories.length - 1;
      await this.#append(encodeDirectory(fields, { at: this.#end, big, last }));
    }
    await this.#file.seek(0, Deno.SeekMode.Start);
    await writeAll(this.#file, encodeHeader(first, big));
  }

  #checkComplete(): void {
    for (const [level, { offsets }] of this.#levels.entries()) {
      const missing = offsets.indexOf(0);
      if (missing >= 0) {
        throw new TypeError(
          `Cannot finish a TIFF because block ${missing} of level ${level} was not placed`,
        );
      }
    }
  }

  #needsBig(): boolean {
    const tables = this.#levels.reduce(
      (sum, { offsets }) => sum + bytesOf(TYPE.long8, offsets.length + 1),
      DIRECTORIES_BYTES,
    );
    return this.#end + tables >= CLASSIC_BYTES;
  }

  /** Writes the tables of a level's blocks, unless they fit into the entry. */
  async #writeTables(level: number, big: boolean): Promise<Field[]> {
    const { offsets, bytes } = this.#levels[level]!;
    const tables = [
      { tag: 324, type: big ? TYPE.long8 : TYPE.long, values: offsets },
      { tag: 325, type: TYPE.long, values: bytes },
    ];
    const fields: Field[] = [];
    for (const { tag, type, values } of tables) {
      const count = values.length;
      if (bytesOf(type, count) <= inlineBytes(big)) {
        fields.push({ tag, type, values: [...values] });
        continue;
      }
      await this.#pad();
      fields.push({ tag, type, count, at: this.#end });
      for (let from = 0; from < count; from += TABLE_CHUNK) {
        const chunk = values.subarray(from, from + TABLE_CHUNK);
        await this.#append(encodeTable(chunk, type));
      }
    }
    return fields;
  }

  /** Pads the file to an 8-byte boundary. */
  async #pad(): Promise<void> {
    await this.#append(new Uint8Array((8 - this.#end % 8) % 8));
  }

  async #append(bytes: Uint8Array): Promise<void> {
    await writeAll(this.#file, bytes);
    this.#end += bytes.length;
  }
}

const MICROMETRES_PER_CM = 10_000;

// Fraction digits of a resolution in px/cm that are kept.
const RESOLUTION_STEPS = 1000;

/** The entries of a level's directory, except its tables. */
function pageFields(
  { levels, blockSize, compression, mpp, geoTags = [], ...layout }: TiffLayout,
  level: number,
): Field[] {
  const { width, height } = levels[level]!;
  const isJpeg = compression.kind === "jpeg";
  const isFloat = layout.samples === "float";
  const short = (tag: number, ...values: number[]): Field => ({
    tag,
    type: TYPE.short,
    values,
  });
  const long = (tag: number, ...values: number[]): Field => ({
    tag,
    type: TYPE.long,
    values,
  });
  return [
    long(254, level === 0 ? 0 : 1), // NewSubfileType: 1 a smaller version
    long(256, width),
    long(257, height),
    isFloat ? short(258, 32) : short(258, 8, 8, 8), // bits a sample
    short(259, isJpeg ? 7 : 8), // compression: JPEG or deflate
    short(262, isFloat ? 1 : isJpeg ? 6 : 2), // grey, YCbCr or RGB
    short(277, isFloat ? 1 : 3), // samples a pixel
    short(284, 1), // samples stand side by side
    ...isFloat
      ? [short(339, 3)] // sample format: IEEE floating point
      : [isJpeg ? short(530, 2, 2) : short(317, 2)], // 4:2:0, or differences
    long(322, blockSize),
    long(323, blockSize),
    ...level === 0
      ? [text(270, description(layout.title, mpp)), ...geoFields(geoTags)]
      : [],
    ...mpp === undefined
      ? []
      : resolution(MICROMETRES_PER_CM / (mpp * levels[0]!.width / width)),
  ];
}

/** Description with the um per px that slide readers look for. */
function description(
  title = "zoomin pyramid",
  mpp: number | undefined,
): string {
  return mpp === undefined ? title : `${title}|MPP = ${mpp}`;
}

function text(tag: number, value: string): Field {
  const values = [...new TextEncoder().encode(value), 0];
  return { tag, type: TYPE.ascii, values };
}

function resolution(pixelsPerCm: number): Field[] {
  // A resolution is a ratio of 32-bit numbers: an electron microscope's leaves
  // no room for fractions.
  const most = Math.floor((2 ** 32 - 1) / pixelsPerCm);
  const steps = Math.max(1, Math.min(RESOLUTION_STEPS, most));
  const values = [Math.round(pixelsPerCm * steps), steps];
  return [
    { tag: 282, type: TYPE.rational, values },
    { tag: 283, type: TYPE.rational, values },
    { tag: 296, type: TYPE.short, values: [3] }, // per cm
  ];
}
