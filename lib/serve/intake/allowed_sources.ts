/**
 * Images and tables that a request may name: files under the operator's roots,
 * and URLs of allowed hosts.
 *
 * @module
 */
import { isAbsolute, join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { IMAGE_NAME } from "../../data/image_names.ts";
import { type Manifest, readManifest } from "../../data/manifest.ts";
import { Faults } from "../../data/table.ts";
import { spelled } from "../../files.ts";
import { httpUrl } from "../../image/bytes/cloud.ts";
import type { TargetName } from "../../target.ts";
import { isUrl } from "../../image/bytes/source.ts";
import { ForbiddenError, InputError } from "../errors.ts";
import { shownNames } from "../tables/names.ts";
import { assertAllowed, isOfListedBucket } from "./guarded_fetch.ts";

/** Sources that the operator allows. */
export interface SourcesOptions {
  /** Folders of the files that may be named. */
  roots: readonly string[];
  /** Hosts, host:port or buckets that may be fetched from. */
  hosts: readonly string[];
}

/** A file that requests may name, without symbolic links. */
export interface AllowedFile {
  file: string;
  bytes: number;
}

/** Place of an image: a local file, or a URL of an allowed host. */
export type Source = AllowedFile | { url: string };

/** An entry of a folder of data. */
export interface ListedEntry {
  name: string;
  /** As a request names it. */
  path: string;
  kind: "folder" | "image" | "table";
  /** Size of a file. */
  bytes: number;
}

/** Entries of a folder, folders first. */
export interface Listing {
  entries: ListedEntry[];
  /** There are more than a listing holds. */
  isCut: boolean;
}

// Entries that a listing holds, and that are read for it from one folder.
const MAX_LISTED = 1000, MAX_READ = 10_000;
// A listing opens no file, so it goes by the names.
const TABLE_NAME = /\.csv$/i;

/** Resolves the names in requests, or refuses them. */
export class Sources {
  /** The folders, without symbolic links. */
  readonly roots: readonly string[];
  readonly #hosts: readonly string[];

  private constructor(roots: readonly string[], hosts: readonly string[]) {
    this.roots = roots;
    this.#hosts = hosts;
  }

  /** @throws If a root is not a folder. */
  static async open({ roots, hosts }: SourcesOptions): Promise<Sources> {
    const real = await Promise.all(roots.map((root) => Deno.realPath(root)));
    return new Sources(real, hosts);
  }

  /**
   * Resolves `path`: relative to a root, or absolute and under one. Symbolic
   * links count as their targets.
   *
   * @param name name of the file in the refusal.
   * @throws {ForbiddenError} If it is missing or not allowed, with the same text,
   *   so as not to disclose which files exist.
   */
  async found(path: string, name = path): Promise<AllowedFile> {
    const candidates = isAbsolute(path)
      ? [path]
      : this.roots.map((root) => join(root, path));
    for (const candidate of candidates) {
      const file = await this.#allowedFile(candidate);
      if (file !== undefined) return file;
    }
    throw new ForbiddenError(
      `Cannot read ${
        JSON.stringify(name)
      }: there is no such file in the folders of data (--data-root)`,
    );
  }

  /** As {@linkcode found}, without the size. */
  async file(path: string, name = path): Promise<string> {
    return (await this.found(path, name)).file;
  }

  /**
   * Resolves `uri`. Its redirects and addresses are checked when it is fetched.
   *
   * @throws {InputError} If it is not a valid http, https, s3, gs, az or file
   *   URL.
   * @throws {ImageRefusedError} If its host is not allowed.
   */
  async uri(uri: string): Promise<Source> {
    if (!uri.isWellFormed()) { // no URL can hold it
      throw new InputError(
        "uri",
        'The "uri" holds half a character (a lone surrogate): correct its encoding',
      );
    }
    // It stays as it is: who opens it signs it.
    if (isOfListedBucket(uri, this.#hosts)) return { url: uri };
    const address = httpUrl(uri);
    const url = URL.canParse(address) ? new URL(address) : undefined;
    switch (url?.protocol) {
      case "http:":
      case "https:":
        assertAllowed(url, this.#hosts);
        return { url: url.href };
      case "file:":
        return await this.found(filePath(url));
      default:
        throw new InputError(
          "uri",
          'The "uri" is not valid: it must be an http, https, s3, gs, az or file URL',
        );
    }
  }

  /**
   * Reads a manifest, whose images must be allowed as those of a request. Files
   * that are not allowed and files that are missing give the same message. Its
   * images have the names that callers may see.
   *
   * @throws {DataError} With every fault, each by file and line.
   */
  async readManifest(
    path: string,
    target: TargetName = "classes",
  ): Promise<Manifest> {
    const manifest = await readManifest(path, {
      target,
      isFile: async (file) => await this.#allowedFile(file) !== undefined,
    });
    const faults = new Faults(path);
    for (const { line, path } of manifest.entries) {
      if (!isUrl(path)) continue;
      await this.uri(path).catch(({ message }) => faults.add(line, message));
    }
    faults.throwIfAny();
    const names = shownNames(manifest.entries.map(({ image }) => image));
    const entries = manifest.entries.map((entry, i) => ({
      ...entry,
      image: names[i]!,
    }));
    return { ...manifest, entries };
  }

  /**
   * The images, tables and folders in a folder of data, or in all roots if it is "".
   *
   * @throws {ForbiddenError} If it is missing or not allowed, with the same text.
   */
  async list(folder: string): Promise<Listing> {
    const places = folder === ""
      ? this.roots
      : this.roots.map((root) => join(root, folder));
    const found = new Map<string, ListedEntry>();
    let isThere = folder === "", isCut = false;
    for (const place of places) {
      const real = await Deno.realPath(place).catch(() => undefined);
      if (real === undefined || !this.#isUnderRoot(real)) continue;
      const listed = await this.#entries(real, folder).catch(() => undefined);
      if (listed === undefined) continue; // a file, or unreadable
      isThere = true;
      isCut ||= listed.isCut;
      for (const entry of listed.entries) {
        if (!found.has(entry.path)) found.set(entry.path, entry);
      }
    }
    if (!isThere) {
      throw new ForbiddenError(
        `Cannot list ${
          JSON.stringify(folder)
        }: there is no such folder in the folders of data (--data-root)`,
      );
    }
    const entries = [...found.values()].sort(byKindAndName);
    return {
      entries: entries.slice(0, MAX_LISTED),
      isCut: isCut || entries.length > MAX_LISTED,
    };
  }

  async #entries(place: string, folder: string): Promise<Listing> {
    const entries: ListedEntry[] = [];
    for await (const { name } of Deno.readDir(place)) {
      if (name.startsWith(".")) continue;
      if (entries.length === MAX_READ) return { entries, isCut: true };
      const path = folder === "" ? name : `${folder}/${name}`;
      const real = await Deno.realPath(join(place, name)).catch(() =>
        undefined
      );
      if (real === undefined || !this.#isUnderRoot(real)) continue; // as file()
      const { isDirectory, isFile, size } = await Deno.stat(real);
      if (isDirectory) {
        entries.push({ name, path, kind: "folder", bytes: 0 });
        continue;
      }
      const kind = IMAGE_NAME.test(name)
        ? "image"
        : TABLE_NAME.test(name)
        ? "table"
        : undefined;
      if (isFile && kind) entries.push({ name, path, kind, bytes: size });
    }
    return { entries, isCut: false };
  }

  /**
   * A file that a table names, as a request would name it.
   *
   * @throws {ForbiddenError} If it is missing or not allowed.
   */
  async requestPath(path: string): Promise<string> {
    const file = await this.file(path);
    const root = this.roots.find((root) => isInside(root, file))!;
    const short = relative(root, file).replaceAll(sep, "/");
    // An earlier folder of data may have another file of that name.
    return await this.file(short) === file ? short : file;
  }

  #isUnderRoot(path: string): boolean {
    return this.roots.some((root) => path === root || isInside(root, path));
  }

  async #allowedFile(path: string): Promise<AllowedFile | undefined> {
    try {
      const file = await Deno.realPath(await spelled(path));
      if (!this.roots.some((root) => isInside(root, file))) return undefined;
      const { isFile, size } = await Deno.stat(file);
      return isFile ? { file, bytes: size } : undefined;
    } catch {
      return undefined; // missing or unreadable: the same answer
    }
  }
}

function filePath(url: URL): string {
  try {
    return fileURLToPath(url);
  } catch (cause) {
    throw new InputError(
      "uri",
      'The "uri" is not the URL of a local file: name the file by "path"',
      { cause },
    );
  }
}

/** True if `file` lies in `folder`; both without symbolic links. */
function isInside(folder: string, file: string): boolean {
  const path = relative(folder, file);
  return path !== "" && path !== ".." && !path.startsWith(`..${sep}`) &&
    !isAbsolute(path);
}

const NAMES = new Intl.Collator("en", { numeric: true });

const KINDS: readonly ListedEntry["kind"][] = ["folder", "table", "image"];

/** Folders first, then tables; by name, and numbers in names by their value. */
function byKindAndName(a: ListedEntry, b: ListedEntry): number {
  return KINDS.indexOf(a.kind) - KINDS.indexOf(b.kind) ||
    NAMES.compare(a.name, b.name);
}
