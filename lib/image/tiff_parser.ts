/**
 * Reads the directories (IFDs) of TIFF and BigTIFF files, and of their values
 * only those asked for: a slide's tables of blocks run to megabytes.
 *
 * Formats: see tiff_directory.ts.
 *
 * @module
 */
import { ImageError } from "../errors.ts";
import { withSignal } from "./abort.ts";
import type { ByteSource } from "./source.ts";

/** Tags that are read, by the names of the specifications. */
export const TAG = {
  newSubfileType: 254,
  width: 256,
  height: 257,
  bitsPerSample: 258,
  compression: 259,
  photometric: 262,
  fillOrder: 266,
  description: 270,
  stripOffsets: 273,
  orientation: 274,
  samplesPerPixel: 277,
  rowsPerStrip: 278,
  stripBytes: 279,
  xResolution: 282,
  planarConfiguration: 284,
  resolutionUnit: 296,
  software: 305,
  predictor: 317,
  colorMap: 320,
  tileWidth: 322,
  tileHeight: 323,
  tileOffsets: 324,
  tileBytes: 325,
  subDirectories: 330,
  inkSet: 332,
  extraSamples: 338,
  sampleFormat: 339,
  sMinSampleValue: 340,
  sMaxSampleValue: 341,
  jpegTables: 347,
  xmp: 700,
  modelPixelScale: 33550,
  modelTiepoint: 33922,
  modelTransformation: 34264,
  geoKeys: 34735,
  iccProfile: 34675,
  ycbcrCoefficients: 529,
  subsampling: 530,
  referenceBlackWhite: 532,
  gdalNodata: 42113,
  hamamatsu: 65420,
} as const;

type ReadValue = (view: DataView, at: number, little: boolean) => number;

const longAt: ReadValue = (view, at, little) => view.getUint32(at, little);
const big: ReadValue = (view, at, little) =>
  Number(view.getBigUint64(at, little));

/** How values of a type are stored. */
const TYPES: Record<number, { bytes: number; read: ReadValue }> = {
  1: { bytes: 1, read: (view, at) => view.getUint8(at) },
  2: { bytes: 1, read: (view, at) => view.getUint8(at) },
  3: { bytes: 2, read: (view, at, little) => view.getUint16(at, little) },
  4: { bytes: 4, read: longAt },
  5: { // rational
    bytes: 8,
    read: (view, at, little) =>
      longAt(view, at, little) / longAt(view, at + 4, little),
  },
  6: { bytes: 1, read: (view, at) => view.getInt8(at) },
  7: { bytes: 1, read: (view, at) => view.getUint8(at) },
  8: { bytes: 2, read: (view, at, little) => view.getInt16(at, little) },
  9: { bytes: 4, read: (view, at, little) => view.getInt32(at, little) },
  11: { bytes: 4, read: (view, at, little) => view.getFloat32(at, little) },
  12: { bytes: 8, read: (view, at, little) => view.getFloat64(at, little) },
  13: { bytes: 4, read: longAt }, // IFD
  16: { bytes: 8, read: big },
  18: { bytes: 8, read: big }, // IFD8
};

// Values of an entry that are read at once; tables of blocks are not.
const MAX_VALUES = 2 ** 20;

// Entries of a directory; the odd files of public collections have below 100.
const MAX_ENTRIES = 1024;

// Directories of a file: levels, sub-images, planes of a stack.
const MAX_DIRECTORIES = 1024;

// Bytes read at a time around a value, and how many such chunks are kept.
const CHUNK_BYTES = 2 ** 14;
const CHUNKS_KEPT = 64;

/** An entry of a directory. */
interface Entry {
  type: number;
  count: number;
  /** Offset of the first value in the file. */
  at: number;
}

/** A TIFF file of which directories are read. */
export class TiffFile {
  readonly source: ByteSource;
  readonly littleEndian: boolean;
  readonly #big: boolean;
  readonly #first: number;
  readonly #chunks = new Map<number, Promise<Uint8Array>>(); // oldest use first

  private constructor(source: ByteSource, head: Uint8Array) {
    const view = new DataView(head.buffer, head.byteOffset, head.length);
    this.source = source;
    this.littleEndian = view.getUint16(0) === 0x4949; // "II"
    this.#big = view.getUint16(2, this.littleEndian) === 43;
    this.#first = this.#big
      ? big(view, 8, this.littleEndian)
      : longAt(view, 4, this.littleEndian);
  }

  /** @throws {ImageError} With the reason only, as all of this module. */
  static async open(
    source: ByteSource,
    signal?: AbortSignal,
  ): Promise<TiffFile> {
    const head = await source.read(0, 16, signal);
    if (head.length < 16) throw truncated();
    return new TiffFile(source, head);
  }

  /** The directories one after the other, from the first on. */
  async directories(signal?: AbortSignal): Promise<TiffDirectory[]> {
    const directories: TiffDirectory[] = [];
    const seen = new Set<number>();
    for (let at = this.#first; at !== 0;) {
      if (seen.has(at) || seen.size === MAX_DIRECTORIES) break;
      seen.add(at);
      const { directory, next } = await this.directory(at, signal);
      directories.push(directory);
      at = next;
    }
    if (directories.length === 0) throw new ImageError("it has no directory");
    return directories;
  }

  /** The directory at byte `at`, and where the next one is; 0 if none. */
  async directory(
    at: number,
    signal?: AbortSignal,
  ): Promise<{ directory: TiffDirectory; next: number }> {
    const little = this.littleEndian;
    const countBytes = this.#big ? 8 : 2;
    const offsetBytes = this.#big ? 8 : 4;
    const entryBytes = 4 + 2 * offsetBytes;
    const head = viewOf(await this.read(at, countBytes, signal));
    const count = this.#big ? big(head, 0, little) : head.getUint16(0, little);
    if (count === 0 || count > MAX_ENTRIES) {
      throw new ImageError(`it is damaged: a directory has ${count} entries`);
    }
    const length = count * entryBytes + offsetBytes;
    const view = viewOf(await this.read(at + countBytes, length, signal));
    const offset = this.#big ? big : longAt;
    const entries = new Map<number, Entry>();
    for (let i = 0; i < count; i++) {
      const from = i * entryBytes;
      const type = view.getUint16(from + 2, little);
      const values = offset(view, from + 4, little);
      const inline = (TYPES[type]?.bytes ?? 1) * values <= offsetBytes;
      entries.set(view.getUint16(from, little), {
        type,
        count: values,
        at: inline
          ? at + countBytes + from + 4 + offsetBytes
          : offset(view, from + 4 + offsetBytes, little),
      });
    }
    return {
      directory: new TiffDirectory(this, entries),
      next: offset(view, count * entryBytes, little),
    };
  }

  /**
   * Exactly `length` bytes at `offset`, by way of chunks that are kept.
   *
   * @throws {ImageError} If the file ends before.
   */
  async read(
    offset: number,
    length: number,
    signal?: AbortSignal,
  ): Promise<Uint8Array> {
    if (offset + length > this.source.size) throw truncated();
    const bytes = new Uint8Array(length);
    const first = Math.floor(offset / CHUNK_BYTES);
    const last = Math.floor((offset + length - 1) / CHUNK_BYTES);
    // Asked for together, so that a remote source fetches them together.
    const chunks = await Promise.all(
      Array.from(
        { length: last - first + 1 },
        (_, i) => withSignal(this.#chunk(first + i), signal),
      ),
    );
    for (const [i, chunk] of chunks.entries()) {
      const start = (first + i) * CHUNK_BYTES;
      const from = Math.max(0, offset - start);
      const to = Math.min(CHUNK_BYTES, offset + length - start);
      bytes.set(chunk.subarray(from, to), start + from - offset);
    }
    return bytes;
  }

  #chunk(index: number): Promise<Uint8Array> {
    const kept = this.#chunks.get(index);
    const chunk = kept ??
      this.source.read(index * CHUNK_BYTES, CHUNK_BYTES);
    this.#chunks.delete(index);
    this.#chunks.set(index, chunk); // the latest use is last
    if (kept === undefined) {
      chunk.catch(() => this.#chunks.delete(index)); // to be tried again
      const [oldest] = this.#chunks.keys();
      if (this.#chunks.size > CHUNKS_KEPT) this.#chunks.delete(oldest!);
    }
    return chunk;
  }
}

/** One directory: a page, a level or a sub-image. */
export class TiffDirectory {
  readonly file: TiffFile;
  readonly #entries: ReadonlyMap<number, Entry>;

  constructor(file: TiffFile, entries: ReadonlyMap<number, Entry>) {
    this.file = file;
    this.#entries = entries;
  }

  has(tag: number): boolean {
    return this.#entries.has(tag);
  }

  /** All values of an entry; none where it is absent. */
  async numbers(tag: number, signal?: AbortSignal): Promise<number[]> {
    const entry = this.#entries.get(tag);
    if (entry === undefined) return [];
    const count = Math.min(entry.count, MAX_VALUES);
    return await this.#values(entry, 0, count, signal);
  }

  /** The first value of an entry, or `absent`. */
  async number(tag: number, absent: number): Promise<number> {
    const entry = this.#entries.get(tag);
    if (entry === undefined || entry.count === 0) return absent;
    return (await this.#values(entry, 0, 1))[0]!;
  }

  /** The bytes of an entry; undefined where it is absent. */
  async bytes(tag: number): Promise<Uint8Array | undefined> {
    if (!this.has(tag)) return undefined;
    return Uint8Array.from(await this.numbers(tag));
  }

  /** The text of an entry; empty where it is absent. */
  async text(tag: number): Promise<string> {
    const bytes = await this.bytes(tag);
    return new TextDecoder().decode(bytes).replace(/\0[^]*$/, "");
  }

  /**
   * A table of which single values are read; empty where it is absent.
   *
   * @throws {ImageError} If it is longer than the file.
   */
  table(tag: number): TiffTable {
    const entry = this.#entries.get(tag);
    if (entry !== undefined) {
      const bytes = entry.count * (TYPES[entry.type]?.bytes ?? 1);
      if (entry.at + bytes > this.file.source.size) throw truncated();
    }
    return {
      count: entry?.count ?? 0,
      at: async (index, signal) => {
        if (entry === undefined || index >= entry.count) throw truncated();
        return (await this.#values(entry, index, 1, signal))[0]!;
      },
      range: async (first, count, signal) => {
        if (entry === undefined || first + count > entry.count) {
          throw truncated();
        }
        return await this.#values(entry, first, count, signal);
      },
    };
  }

  async #values(
    { type, at }: Entry,
    from: number,
    count: number,
    signal?: AbortSignal,
  ): Promise<number[]> {
    const stored = TYPES[type];
    if (stored === undefined) {
      throw new ImageError(`it is damaged: a value of type ${type}`);
    }
    const { bytes, read } = stored;
    const view = viewOf(
      await this.file.read(at + from * bytes, count * bytes, signal),
    );
    const little = this.file.littleEndian;
    return Array.from(
      { length: count },
      (_, i) => read(view, i * bytes, little),
    );
  }
}

/** Values of a long entry, read where they are asked for. */
export interface TiffTable {
  count: number;
  at(index: number, signal?: AbortSignal): Promise<number>;
  /** `count` values from `first` on. */
  range(first: number, count: number, signal?: AbortSignal): Promise<number[]>;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function truncated(): ImageError {
  return new ImageError("it is damaged or truncated (it ends too early)");
}
