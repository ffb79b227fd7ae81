/**
 * Folders in NATS. A file is an object named by its content, so that a file that
 * many folders have, or that did not change, is sent once. A key holds the name
 * of the list of a folder's files; who keeps a folder replaces the list.
 *
 * @module
 */
import type { KvEntry } from "@nats-io/kv";
import { LRUCache } from "lru-cache";
import { createHash } from "node:crypto";
import { dirname, isAbsolute, join } from "node:path";
import { moveIntoPlace, temporaryBeside, writeAll } from "../../../files.ts";
import { FEATURES_FOLDER } from "../../../train/runs/folds_folder.ts";
import type { SharedFolders } from "../shared_folders.ts";
import { brokenOff, chunksOf } from "./objects.ts";
import {
  ignoreWrongRevision,
  inTime,
  type Nats,
  patiently,
} from "./connection.ts";

/** Hash of each file of a folder, by its path in it. */
type Files = Record<string, string>;

/** Value of a folder's key. */
interface Kept {
  attempt: number;
  /** Name of the object that has the list. */
  list: string;
}

/** A file and its hash, when it was so. */
interface Hashed {
  stamp: string;
  hash: string;
}

const KEYS = "files.";
// Paths whose hashes are remembered, and folders whose lists are.
const KNOWN_FILES = 20_000, KNOWN_LISTS = 100;
// Tries to read a folder while nothing in it changes.
const TRIES = 20;
// Objects without a folder are removed once no list can be on its way.
const KEEP_LOOSE_MS = 3600 * 1000;

/** The shared folders of all processes. */
export class NatsFolders implements SharedFolders {
  readonly #nats: Nats;
  // What this process has sent or fetched, by path: neither is done twice.
  readonly #hashed = new LRUCache<string, Hashed>({ max: KNOWN_FILES });
  readonly #lists = new LRUCache<string, { name: string; files: Files }>({
    max: KNOWN_LISTS,
  });

  constructor(nats: Nats) {
    this.#nats = nats;
  }

  async fetch(
    name: string,
    path: string,
    wanted: (file: string) => boolean = () => true,
  ): Promise<void> {
    const files = await this.#filesIn(name, keptIn(await this.#entryOf(name)));
    for (const [file, hash] of Object.entries(files ?? {})) {
      if (!wanted(file) || !isBelow(file)) continue;
      const target = join(path, file);
      if (await this.#hashOf(target) === hash) continue;
      await Deno.mkdir(dirname(target), { recursive: true });
      await this.#download(hash, target);
    }
  }

  async keep(name: string, path: string, attempt: number): Promise<boolean> {
    const { records } = this.#nats;
    let entry = await this.#entryOf(name);
    const last = await this.#filesIn(name, keptIn(entry)) ?? {};
    const files = await this.#snapshot(path, new Set(Object.values(last)));
    const text = new TextEncoder().encode(JSON.stringify(files));
    const list = sha256(text);
    if (!await this.#isFresh(list)) {
      await patiently(() => this.#nats.objects.putBlob({ name: list }, text));
    }
    for (;; entry = await this.#entryOf(name)) {
      const kept = keptIn(entry);
      if (kept && kept.attempt > attempt) return false;
      if (kept?.list === list && kept.attempt === attempt) return true;
      const value: Kept = { attempt, list };
      try {
        await patiently(() =>
          records.put(KEYS + name, JSON.stringify(value), {
            previousSeq: entry?.revision ?? 0,
          })
        );
        this.#lists.set(name, { name: list, files });
        return true;
      } catch (error) {
        ignoreWrongRevision(error); // look who was first
      }
    }
  }

  async list(prefix: string): Promise<string[]> {
    const { jsm, names } = this.#nats;
    const keys = `$KV.${names.bucket}.${KEYS}`;
    const { state } = await patiently(() =>
      jsm.streams.info(`KV_${names.bucket}`, {
        subjects_filter: `${keys}${prefix}>`,
      })
    );
    // Those of removed folders are among them, and have no list.
    return Object.keys(state.subjects ?? {}).map((key) =>
      key.slice(keys.length)
    );
  }

  async remove(name: string): Promise<void> {
    this.#lists.delete(name);
    await patiently(() => this.#nats.records.purge(KEYS + name));
  }

  async sweep(): Promise<void> {
    const { objects } = this.#nats;
    const all = await patiently(() => inTime(objects.list()));
    const used = new Set<string>();
    for (const name of await this.list("")) {
      const kept = keptIn(await this.#entryOf(name));
      if (kept === undefined) continue;
      used.add(kept.list);
      const files = await this.#readList(kept.list);
      for (const hash of Object.values(files ?? {})) used.add(hash);
    }
    const before = new Date(Date.now() - KEEP_LOOSE_MS).toISOString();
    for (const { name, mtime } of all) {
      if (used.has(name) || mtime > before) continue;
      await patiently(() => objects.delete(name));
    }
  }

  /**
   * Sends the files in `path`, as they were at one time: a checkpoint must not
   * be kept with the log of another epoch.
   */
  async #snapshot(path: string, last: ReadonlySet<string>): Promise<Files> {
    for (let left = TRIES;; left--) {
      const before = await stampsIn(path);
      const files: Files = {};
      let isWhole = true;
      for (const file of Object.keys(before)) {
        const hash = await this.#hashOf(join(path, file));
        isWhole = hash !== undefined &&
          (last.has(hash) || await this.#upload(hash, join(path, file)));
        if (!isWhole) break;
        files[file] = hash!;
      }
      const isSame = isWhole &&
        JSON.stringify(await stampsIn(path)) === JSON.stringify(before);
      // Files that always change are as good now as later.
      if (isSame || (isWhole && left === 0)) return files;
    }
  }

  /** Sends a file, unless it is there; false if it changed meanwhile. */
  async #upload(hash: string, path: string): Promise<boolean> {
    if (await this.#isFresh(hash)) return true;
    const { objects } = this.#nats;
    return await patiently(async () => {
      const file = await Deno.open(path).catch(ignoreNotFound);
      if (file === undefined) return false;
      const { digest } = await objects.put({ name: hash }, file.readable);
      if (digest === digestOf(hash)) return true;
      await objects.delete(hash);
      return false;
    });
  }

  async #download(hash: string, target: string): Promise<void> {
    const temporary = temporaryBeside(target);
    try {
      await patiently(async () => {
        using file = await Deno.create(temporary);
        const sum = createHash("sha256");
        for await (const chunk of this.#chunksOf(hash)) {
          sum.update(chunk);
          await writeAll(file, chunk);
        }
        if (sum.digest("hex") !== hash) throw brokenOff();
        await file.sync();
      });
      await moveIntoPlace(temporary, target);
    } catch (error) {
      await Deno.remove(temporary).catch(() => {}); // not created
      throw error;
    }
    const stamp = await stampOf(target);
    if (stamp !== undefined) this.#hashed.set(target, { stamp, hash });
  }

  /**
   * True for an object that is there, and that no sweep takes for loose before
   * a list has it: older ones are sent again.
   */
  async #isFresh(hash: string): Promise<boolean> {
    const info = await patiently(() => this.#nats.objects.info(hash));
    if (info === null || info.deleted) return false;
    return Date.parse(info.mtime) > Date.now() - KEEP_LOOSE_MS / 2;
  }

  async #entryOf(name: string): Promise<KvEntry | null> {
    return await patiently(() => this.#nats.records.get(KEYS + name));
  }

  async #filesIn(
    name: string,
    kept: Kept | undefined,
  ): Promise<Files | undefined> {
    if (kept === undefined) return undefined;
    const known = this.#lists.get(name);
    if (known?.name === kept.list) return known.files;
    const files = await this.#readList(kept.list);
    if (files) this.#lists.set(name, { name: kept.list, files });
    return files;
  }

  async #readList(list: string): Promise<Files | undefined> {
    return await patiently(async () => {
      const bytes = await new Response(
        ReadableStream.from(this.#chunksOf(list)),
      ).text();
      return JSON.parse(bytes);
    });
  }

  /** The bytes of an object. */
  async *#chunksOf(hash: string): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    const { objects, names } = this.#nats;
    const info = await objects.info(hash);
    if (info === null || info.deleted) {
      throw new Error(`NATS has lost the file ${hash}`);
    }
    yield* chunksOf(this.#nats, names.objects, info);
  }

  /** Hash of a file; undefined if there is none. */
  async #hashOf(path: string): Promise<string | undefined> {
    const stamp = await stampOf(path);
    if (stamp === undefined) return undefined;
    const known = this.#hashed.get(path);
    if (known?.stamp === stamp) return known.hash;
    const file = await Deno.open(path).catch(ignoreNotFound);
    if (file === undefined) return undefined;
    const sum = createHash("sha256");
    for await (const chunk of file.readable) sum.update(chunk);
    const hash = sum.digest("hex");
    this.#hashed.set(path, { stamp, hash });
    return hash;
  }
}

function keptIn(entry: KvEntry | null): Kept | undefined {
  return entry?.operation === "PUT" ? entry.json() : undefined;
}

/** Size and time of each file in `path` and below, by its path in it. */
async function stampsIn(
  path: string,
  below = "",
): Promise<Record<string, string>> {
  const stamps: Record<string, string> = {};
  const entries = await Array.fromAsync(Deno.readDir(join(path, below)))
    .catch(ignoreNotFound) ?? [];
  entries.sort((a, b) => a.name < b.name ? -1 : 1);
  for (const { name, isDirectory } of entries) {
    const file = below === "" ? name : `${below}/${name}`;
    // Half written, or computed again faster than it is sent.
    if (name.endsWith(".tmp") || name === FEATURES_FOLDER) continue;
    if (isDirectory) Object.assign(stamps, await stampsIn(path, file));
    else {
      const stamp = await stampOf(join(path, file));
      if (stamp !== undefined) stamps[file] = stamp;
    }
  }
  return stamps;
}

/** True for the path of a file in a folder, which leads nowhere else. */
function isBelow(file: string): boolean {
  return !isAbsolute(file) && !file.split(/[/\\]/).includes("..");
}

async function stampOf(path: string): Promise<string | undefined> {
  const info = await Deno.stat(path).catch(ignoreNotFound);
  return info?.isFile
    ? `${info.size} ${info.mtime?.getTime()} ${info.ino}`
    : undefined;
}

function ignoreNotFound(error: unknown): undefined {
  if (!(error instanceof Deno.errors.NotFound)) throw error;
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** A hash as the object store writes it. */
function digestOf(hash: string): string {
  const text = hash.match(/../g)!.map((pair) =>
    String.fromCharCode(parseInt(pair, 16))
  ).join("");
  return `SHA-256=${btoa(text).replaceAll("+", "-").replaceAll("/", "_")}`;
}
