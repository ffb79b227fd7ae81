/**
 * Reads the directories (IFDs) of TIFF and BigTIFF files, and their values on
 * demand: a slide's tables of blocks may take megabytes.
 *
 * Formats: see directory.ts.
 *
 * @module
 */
import { ImageError } from "../../errors.ts";
import { Chunks } from "../bytes/chunks.ts";
import type { ByteSource } from "../bytes/source.ts";
import { ESSENTIAL_TAGS, TAG_NAMES } from "./tags.ts";
import { readBig, readLong, REAL_TYPES, TYPES } from "./values.ts";

/** The file itself is damaged, as opposed to a failing disk or network. */
export class TiffDamage extends ImageError {}

// Maximum values of an entry that is read whole; tables of blocks are not.
const MAX_VALUES = 2 ** 20;

// Maximum bytes of a text: OME-XML of a slide with thousands of planes takes
// less than 10 MB.
const MAX_BYTES = 2 ** 24;

// Maximum entries of a directory; odd files of public collections have fewer
// than 100.
const MAX_ENTRIES = 1024;

// Maximum directories of a file: levels, sub-images, planes of a stack.
const MAX_DIRECTORIES = 1024;

/** An entry of a directory. */
interface Entry {
  type: number;
  count: number;
  /** Offset of the first value in the file. */
  at: number;
}

/** A TIFF file whose directories are read. */
export class TiffFile {
  readonly source: ByteSource;
  readonly littleEndian: boolean;
  readonly #big: boolean;
  readonly #first: number;
  readonly #bytes: Chunks;
  readonly #warnings = new Set<string>();

  private constructor(source: ByteSource, head: Uint8Array) {
    const view = new DataView(head.buffer, head.byteOffset, head.length);
    this.source = source;
    this.#bytes = new Chunks(source);
    this.littleEndian = view.getUint16(0) === 0x4949; // "II"
    this.#big = view.getUint16(2, this.littleEndian) === 43;
    this.#first = this.#big
      ? readBig(view, 8, this.littleEndian)
      : readLong(view, 4, this.littleEndian);
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

  /** Warnings about entries and pages that were skipped. */
  get warnings(): string[] {
    return [...this.#warnings];
  }

  /**
   * The directories one after the other, from the first on. Damage after the
   * first one ends the list, with a warning.
   */
  async directories(signal?: AbortSignal): Promise<TiffDirectory[]> {
    const directories: TiffDirectory[] = [];
    const seen = new Set<number>();
    for (let at = this.#first; at !== 0;) {
      const page = directories.length;
      if (seen.has(at)) this.#warn("its list of pages is a loop");
      if (page === MAX_DIRECTORIES) {
        this.#warn(`only its first ${page} pages read`);
      }
      if (seen.has(at) || page === MAX_DIRECTORIES) break;
      seen.add(at);
      try {
        const { directory, next } = await this.directory(at, signal);
        directories.push(directory);
        at = next;
      } catch (error) {
        if (!(error instanceof TiffDamage) || page === 0) throw error;
        this.#warn(`pages after the first ${page} skipped: ${error.message}`);
        break;
      }
    }
    if (directories.length === 0) throw new ImageError("it has no directory");
    return directories;
  }

  /** The directory at byte `at`, and the offset of the next one; 0 if none. */
  async directory(
    at: number,
    signal?: AbortSignal,
  ): Promise<{ directory: TiffDirectory; next: number }> {
    const little = this.littleEndian;
    const countBytes = this.#big ? 8 : 2;
    const offsetBytes = this.#big ? 8 : 4;
    const entryBytes = 4 + 2 * offsetBytes;
    const head = viewOf(await this.read(at, countBytes, signal));
    const count = this.#big
      ? readBig(head, 0, little)
      : head.getUint16(0, little);
    if (count === 0 || count > MAX_ENTRIES) {
      throw new TiffDamage(`it is damaged: a directory has ${count} entries`);
    }
    const end = at + countBytes + count * entryBytes;
    const hasNext = end + offsetBytes <= this.source.size;
    const length = count * entryBytes + (hasNext ? offsetBytes : 0);
    const view = viewOf(await this.read(at + countBytes, length, signal));
    const offset = this.#big ? readBig : readLong;
    const entries = new Map<number, Entry>();
    for (let i = 0; i < count; i++) {
      const from = i * entryBytes;
      const tag = view.getUint16(from, little);
      const type = view.getUint16(from + 2, little);
      const values = offset(view, from + 4, little);
      const inline = (TYPES[type]?.bytes ?? 1) * values <= offsetBytes;
      const entry = {
        type,
        count: values,
        at: inline
          ? at + countBytes + from + 4 + offsetBytes
          : offset(view, from + 4 + offsetBytes, little),
      };
      // Of duplicate entries the first counts, as in libtiff.
      if (this.#isPresent(tag, entry) && !entries.has(tag)) {
        entries.set(tag, entry);
      }
    }
    return {
      directory: new TiffDirectory(this, entries),
      next: hasNext ? offset(view, count * entryBytes, little) : 0,
    };
  }

  /**
   * Skips empty entries and, with a warning, damaged ones that are not
   * essential.
   */
  #isPresent(tag: number, { type, count, at }: Entry): boolean {
    if (count === 0) return false;
    if (ESSENTIAL_TAGS.has(tag) || !TAG_NAMES.has(tag)) return true;
    const bytes = TYPES[type]?.bytes;
    if (bytes !== undefined && at + bytes * count <= this.source.size) {
      return true;
    }
    const reason = bytes === undefined
      ? `has values of type ${type}`
      : "lies beyond the end of the file";
    this.#warn(`${TAG_NAMES.get(tag)} (tag ${tag}) ${reason}: ignored`);
    return false;
  }

  #warn(warning: string): void {
    this.#warnings.add(warning);
  }

  /**
   * Exactly `length` bytes at `offset`.
   *
   * @throws {ImageError} If the file ends before.
   */
  async read(
    offset: number,
    length: number,
    signal?: AbortSignal,
  ): Promise<Uint8Array> {
    // A file may state any number as an offset, even negative ones and
    // fractions.
    const isPlace = Number.isSafeInteger(offset) && offset >= 0;
    if (!isPlace || offset + length > this.source.size) throw truncated();
    return await this.#bytes.read(offset, length, signal);
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

  /** All values of an entry; none if it is absent. */
  async numbers(tag: number, signal?: AbortSignal): Promise<number[]> {
    const entry = this.#entries.get(tag);
    if (entry === undefined) return [];
    const count = Math.min(entry.count, MAX_VALUES);
    return await this.#values(tag, entry, { from: 0, count, signal });
  }

  /** The first value of an entry, or `absent`. */
  async number(tag: number, absent: number): Promise<number> {
    const entry = this.#entries.get(tag);
    if (entry === undefined) return absent;
    return (await this.#values(tag, entry, { from: 0, count: 1 }))[0]!;
  }

  /** The bytes of an entry; undefined if it is absent. */
  async bytes(tag: number): Promise<Uint8Array | undefined> {
    const entry = this.#entries.get(tag);
    if (entry === undefined) return undefined;
    if (TYPES[entry.type]?.bytes !== 1) {
      return Uint8Array.from(await this.numbers(tag));
    }
    const length = Math.min(entry.count, MAX_BYTES);
    return await this.file.read(entry.at, length);
  }

  /** The text of an entry, UTF-8 or else Latin; empty if it is absent. */
  async text(tag: number): Promise<string> {
    const bytes = await this.bytes(tag);
    if (bytes === undefined) return "";
    const end = bytes.indexOf(0);
    const text = end < 0 ? bytes : bytes.subarray(0, end);
    try {
      return new TextDecoder("utf-8", { fatal: true }).decode(text);
    } catch {
      return new TextDecoder("windows-1252").decode(text);
    }
  }

  /**
   * A table whose values are read on demand; empty if absent.
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
        const part = { from: index, count: 1, signal };
        return (await this.#values(tag, entry, part))[0]!;
      },
      range: async (first, count, signal) => {
        if (entry === undefined || first + count > entry.count) {
          throw truncated();
        }
        return await this.#values(tag, entry, { from: first, count, signal });
      },
    };
  }

  async #values(
    tag: number,
    { type, at }: Entry,
    { from, count, signal }: {
      from: number;
      count: number;
      signal?: AbortSignal | undefined;
    },
  ): Promise<number[]> {
    const stored = TYPES[type];
    if (
      stored === undefined || (ESSENTIAL_TAGS.has(tag) && REAL_TYPES.has(type))
    ) {
      throw new TiffDamage(
        `it is damaged: tag ${tag} has values of type ${type}`,
      );
    }
    const { bytes, read } = stored;
    const view = viewOf(
      await this.file.read(at + from * bytes, count * bytes, signal),
    );
    const little = this.file.littleEndian;
    const values = Array.from(
      { length: count },
      (_, i) => read(view, i * bytes, little),
    );
    const negative = values.find((value) => value < 0);
    if (negative !== undefined && ESSENTIAL_TAGS.has(tag)) {
      throw new TiffDamage(`it is damaged: tag ${tag} is ${negative}`);
    }
    return values;
  }
}

/** Values of a long entry, read on demand. */
export interface TiffTable {
  count: number;
  at(index: number, signal?: AbortSignal): Promise<number>;
  /** `count` values from `first` on. */
  range(first: number, count: number, signal?: AbortSignal): Promise<number[]>;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function truncated(): TiffDamage {
  return new TiffDamage("it is damaged or truncated (it ends too early)");
}
