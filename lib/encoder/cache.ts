/**
 * Features of images, kept on disk: as float16, by what they were made of.
 *
 * A file holds "ZMFC", the type of its values, their number, the SHA-256 of
 * their bytes, and the bytes. Files appear whole, so processes may share a folder;
 * one that is damaged, or gone, is made anew.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { basename, dirname, extname, join } from "node:path";
import { oneLine } from "../errors.ts";
import { writeFileAtomically } from "../files.ts";
import { openFile } from "../image/bytes/file.ts";
import { isUrl } from "../image/bytes/source.ts";
import type { Point } from "../image/geometry.ts";
import type { Pyramid } from "../image/pyramid.ts";
import { half } from "./half.ts";

/** What features are made of. */
export interface FeatureSource {
  /** Content of the image: {@linkcode imageContent}. */
  image: string;
  /** `key` of the encoder. */
  encoder: string;
  /** Places, px of level 0. */
  places: readonly Point[];
  /** Changes made to the pixels, and anything else that matters; "" if none. */
  copy?: string;
}

const MAGIC = "ZMFC";
const HASH_BYTES = 32;
const HEADER_BYTES = MAGIC.length + 4 + 4 + HASH_BYTES;
const ENDING = ".features";
// Types of values: larger ones than float16 has are kept as float32.
const FLOAT16 = 0, FLOAT32 = 1;

// When the bound is reached, so much of it is left: not a file at a time.
const KEPT_SHARE = 0.9;
// Files written between looks at what other processes write.
const LOOK_EVERY = 64;
const STALE_MS = 3_600_000; // of a temporary file that a crash has left

/**
 * A folder of features within a bound. The least recently used are removed
 * first, but none that was used since this cache was opened: a run that reads
 * more than the bound again and again would never find any. What no longer fits
 * is not kept.
 *
 * Trouble with its files costs only what they hold: it is told once, and the
 * features are made.
 *
 * @example
 * ```ts
 * const cache = new FeatureCache("features", 2e9); // 2 GB
 * const image = await imageContent(pyramid);
 * const source = { image, encoder: encoder.key, places };
 * await cache.features(source, () => gridFeatures(encoder, pyramid, places));
 * ```
 */
export class FeatureCache {
  /** Where the files are. */
  readonly folder: string;
  /** Bound on its files. */
  readonly maxBytes: number;
  readonly #remark: (text: string) => void;
  readonly #opened = Date.now();
  readonly #making = new Map<string, Promise<Float32Array>>();
  /** Bytes in the folder, as far as known; undefined before the first look. */
  #bytes: number | undefined;
  #written = 0;
  #isFull = false;
  #isInTrouble = false;

  /**
   * A cache in a folder.
   *
   * @param folder created when it is first written to.
   * @param bytes bound on its files.
   * @param remark told, in a line, that the folder is full or its files are in
   *   trouble; at most once each.
   */
  constructor(
    folder: string,
    bytes: number,
    remark: (text: string) => void = () => {},
  ) {
    this.folder = folder;
    this.maxBytes = bytes;
    this.#remark = remark;
  }

  /**
   * The features of `source`, made if they are not kept. They have the precision
   * of float16 either way. Do not write to them.
   */
  async features(
    source: FeatureSource,
    make: () => Promise<Float32Array>,
  ): Promise<Float32Array> {
    const key = featureKey(source);
    const pending = this.#making.get(key);
    if (pending) return await pending;
    const making = this.#found(key, make);
    this.#making.set(key, making);
    try {
      return await making;
    } finally {
      this.#making.delete(key);
    }
  }

  async #found(
    key: string,
    make: () => Promise<Float32Array>,
  ): Promise<Float32Array> {
    const path = join(this.folder, `${key}${ENDING}`);
    const kept = await this.#read(path);
    if (kept) return kept;
    const file = encoded(await make());
    if (file.length <= this.maxBytes) await this.#write(path, file);
    return decoded(file)!;
  }

  /** The features in the file at `path`, which is then the latest used. */
  async #read(path: string): Promise<Float32Array | undefined> {
    const file = await Deno.readFile(path).catch(this.#trouble);
    const features = file && decoded(file);
    const now = new Date();
    // Times of access are often not kept: that of the change tells the use.
    if (features) await Deno.utime(path, now, now).catch(this.#trouble);
    return features;
  }

  async #write(path: string, file: Uint8Array): Promise<void> {
    if (this.#isFull) return;
    try {
      await Deno.mkdir(this.folder, { recursive: true });
      if (!await this.#hasRoom(file.length)) return this.#sayFull();
      await writeFileAtomically(path, file);
      this.#bytes = this.#bytes! + file.length;
    } catch (error) {
      this.#trouble(error);
    }
  }

  /** Makes room for a file, if what this run has not used is enough for it. */
  async #hasRoom(bytes: number): Promise<boolean> {
    const most = this.maxBytes - bytes;
    const isDue = this.#written++ % LOOK_EVERY === 0;
    if (this.#bytes === undefined || isDue || this.#bytes > most) {
      this.#bytes = await trimmed(this.folder, {
        most,
        kept: KEPT_SHARE * this.maxBytes - bytes,
        unusedSince: this.#opened,
      });
    }
    return this.#bytes <= most;
  }

  #sayFull(): void {
    this.#isFull = true;
    this.#remark(
      `The features of this run are more than the ${
        this.maxBytes / 1e9
      } GB of ${this.folder}: those that do not fit are computed each time`,
    );
  }

  /** Says so once; a file that another process removed is none. */
  readonly #trouble = (error: unknown): undefined => {
    if (error instanceof Deno.errors.NotFound || this.#isInTrouble) return;
    this.#isInTrouble = true;
    this.#remark(
      `Some features are computed each time, because ${this.folder} cannot keep them: ${
        oneLine((error as Error).message)
      }`,
    );
  };
}

/** SHA-256 of what features are made of, in hexadecimal: the name of a file. */
export function featureKey(
  { image, encoder, places, copy = "" }: FeatureSource,
): string {
  const at = Float64Array.from(places.flatMap(({ x, y }) => [x, y]));
  return createHash("sha256")
    .update(JSON.stringify([image, encoder, copy, places.length]))
    .update(new Uint8Array(at.buffer))
    .digest("hex");
}

/** The file of features. */
export function encoded(features: Float32Array): Uint8Array<ArrayBuffer> {
  const values = half(features);
  const data = new Uint8Array(
    values.buffer,
    values.byteOffset,
    values.byteLength,
  );
  const file = new Uint8Array(HEADER_BYTES + data.length);
  file.set(new TextEncoder().encode(MAGIC));
  const view = new DataView(file.buffer);
  view.setUint32(4, values instanceof Float16Array ? FLOAT16 : FLOAT32, true);
  view.setUint32(8, features.length, true);
  file.set(hashOf(data), HEADER_BYTES - HASH_BYTES);
  file.set(data, HEADER_BYTES);
  return file;
}

/** The features in a file; undefined if it is damaged. */
export function decoded(
  file: Uint8Array<ArrayBuffer>,
): Float32Array | undefined {
  if (file.length < HEADER_BYTES) return undefined;
  const magic = new TextDecoder().decode(file.subarray(0, MAGIC.length));
  if (magic !== MAGIC) return undefined;
  const view = new DataView(file.buffer);
  const type = view.getUint32(4, true), count = view.getUint32(8, true);
  const data = file.slice(HEADER_BYTES);
  const Values = type === FLOAT16 ? Float16Array : Float32Array;
  const hash = file.subarray(HEADER_BYTES - HASH_BYTES, HEADER_BYTES);
  const isWhole = (type === FLOAT16 || type === FLOAT32) &&
    data.length === count * Values.BYTES_PER_ELEMENT &&
    hashOf(data).every((byte, i) => byte === hash[i]);
  return isWhole ? Float32Array.from(new Values(data.buffer)) : undefined;
}

function hashOf(data: Uint8Array): Uint8Array {
  return createHash("sha256").update(data).digest();
}

interface Kept {
  path: string;
  bytes: number;
  used: number;
}

/**
 * Removes the files used least recently, down to `kept` bytes if there are more
 * than `most`; bytes that are left.
 */
async function trimmed(
  folder: string,
  { most, kept, unusedSince }: Record<"most" | "kept" | "unusedSince", number>,
): Promise<number> {
  const files = await keptIn(folder);
  let bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  if (bytes <= most) return bytes;
  for (const file of files.sort((a, b) => a.used - b.used)) {
    if (bytes <= kept || file.used >= unusedSince) break;
    await Deno.remove(file.path).catch(ignoreMissing);
    bytes -= file.bytes;
  }
  return bytes;
}

async function keptIn(folder: string): Promise<Kept[]> {
  const files: Kept[] = [];
  for await (const { name, isFile } of Deno.readDir(folder)) {
    const path = join(folder, name);
    const isTemporary = name.endsWith(".tmp") && name.includes(ENDING);
    if (!isFile || !(isTemporary || name.endsWith(ENDING))) continue;
    const info = await Deno.stat(path).catch(ignoreMissing);
    if (!info) continue;
    const used = info.mtime?.getTime() ?? 0;
    if (!isTemporary) files.push({ path, bytes: info.size, used });
    else if (Date.now() - used > STALE_MS) {
      await Deno.remove(path).catch(ignoreMissing);
    }
  }
  return files;
}

function ignoreMissing(error: unknown): undefined {
  if (!(error instanceof Deno.errors.NotFound)) throw error;
}

// Slides whose pixels are in files beside the one that names them.
const OF_SEVERAL = [".mrxs", ".vms", ".vmu", ".dcm"];

// By name, size and time: a file is hashed once a process.
const hashes = new Map<string, Promise<string>>();

/**
 * What tells the content of an image. A local file: the SHA-256 of its bytes,
 * wherever it lies; of a slide of several files, also the names, sizes and times
 * of those beside it. One on a server: its URL, size, and ETag or time; without
 * those it is new whenever it is opened. Besides, its size as it is read and the remarks on
 * how it was decoded, because they change its pixels.
 *
 * @throws {ImageError} If the file cannot be read.
 */
export async function imageContent(
  { source, identity, width, height, warnings }: Pyramid,
): Promise<string> {
  const file = isUrl(source) || await isFolder(source)
    ? identity
    : await localContent(source);
  return JSON.stringify([file, width, height, warnings]);
}

/** An image that is a folder, of OME-Zarr, is known as one on a server is. */
async function isFolder(path: string): Promise<boolean> {
  return await Deno.stat(path).then(
    ({ isDirectory }) => isDirectory,
    () => false,
  );
}

async function localContent(path: string): Promise<string> {
  const bytes = await openFile(path);
  const { identity, path: file = path } = bytes;
  bytes.close();
  const several = OF_SEVERAL.includes(extname(file).toLowerCase())
    ? await filesBeside(file)
    : "";
  let hash = hashes.get(identity);
  if (!hash) {
    hash = hashOfFile(file);
    hashes.set(identity, hash);
    hash.catch(() => hashes.delete(identity));
  }
  return `${await hash}${several}`;
}

async function hashOfFile(path: string): Promise<string> {
  using file = await Deno.open(path);
  const hash = createHash("sha256");
  for await (const chunk of file.readable) hash.update(chunk);
  return hash.digest("hex");
}

async function filesBeside(path: string): Promise<string> {
  const folders = [
    dirname(path),
    join(dirname(path), basename(path, extname(path))), // of a MIRAX slide
  ];
  const found: string[] = [];
  for (const folder of folders) {
    const isFolder = await Deno.stat(folder)
      .then(({ isDirectory }) => isDirectory, () => false);
    if (!isFolder) continue;
    for await (const { name, isFile } of Deno.readDir(folder)) {
      if (!isFile) continue;
      const { size, mtime } = await Deno.stat(join(folder, name));
      found.push(`${name}|${size}|${mtime?.getTime()}`);
    }
  }
  return JSON.stringify(found.sort());
}
