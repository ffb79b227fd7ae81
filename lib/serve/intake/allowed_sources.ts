/**
 * The images and tables that a request may name: files under the operator's
 * roots, and URLs of the hosts that are allowed.
 *
 * @module
 */
import { isAbsolute, join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { type Manifest, readManifest } from "../../data/manifest.ts";
import { Faults } from "../../data/table.ts";
import { spelled } from "../../files.ts";
import { httpUrl } from "../../image/bytes/http.ts";
import { isUrl } from "../../image/bytes/source.ts";
import { ForbiddenError, InputError } from "../errors.ts";
import { assertAllowed } from "./guarded_fetch.ts";

/** What the operator allows. */
export interface SourcesOptions {
  /** Folders whose files may be named. */
  roots: readonly string[];
  /** Hosts, or host:port, that may be fetched from. */
  hosts: readonly string[];
}

/** Where an image is: a file of ours, or a URL that may be fetched from. */
export type Source = { file: string } | { url: string };

/** Resolves what a request names, or refuses. */
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
   * The file that `path` names: relative to a root, or absolute and under one.
   * Symbolic links count as what they point to.
   *
   * @param name what the refusal calls it.
   * @throws {ForbiddenError} With the same text whether it is missing or not
   *   allowed: it must not tell what is on the disk.
   */
  async file(path: string, name = path): Promise<string> {
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

  /**
   * What `uri` names. Where it leads is checked again when it is fetched.
   *
   * @throws {InputError} If it is no URI that can be read.
   * @throws {ImageRefusedError} If its host is not allowed.
   */
  async uri(uri: string): Promise<Source> {
    if (!uri.isWellFormed()) { // which no URL can hold
      throw new InputError(
        "uri",
        'Cannot read "uri": it holds half a character (a lone surrogate)',
      );
    }
    const address = httpUrl(uri);
    const url = URL.canParse(address) ? new URL(address) : undefined;
    switch (url?.protocol) {
      case "http:":
      case "https:":
        assertAllowed(url, this.#hosts);
        return { url: url.href };
      case "file:":
        return { file: await this.file(filePath(url)) };
      default:
        throw new InputError(
          "uri",
          'Cannot read "uri": it must be an http, https, s3 or file URL',
        );
    }
  }

  /**
   * Reads a manifest that names only what a request may name. A file that it
   * may not is as one that is missing: nothing tells them apart.
   *
   * @throws {DataError} With every fault, each by file and line.
   */
  async readManifest(path: string): Promise<Manifest> {
    const manifest = await readManifest(path, {
      isFile: async (file) => await this.#allowedFile(file) !== undefined,
    });
    const faults = new Faults(path);
    for (const { line, path } of manifest.entries) {
      if (!isUrl(path)) continue;
      await this.uri(path).catch(({ message }) => faults.add(line, message));
    }
    faults.throwIfAny();
    return manifest;
  }

  async #allowedFile(path: string): Promise<string | undefined> {
    try {
      const file = await Deno.realPath(await spelled(path));
      const inside = this.roots.some((root) => isInside(root, file));
      return inside && (await Deno.stat(file)).isFile ? file : undefined;
    } catch {
      return undefined; // missing, or not ours to look at: the same answer
    }
  }
}

function filePath(url: URL): string {
  try {
    return fileURLToPath(url);
  } catch (cause) {
    throw new InputError(
      "uri",
      'Cannot read "uri": it is not the URL of a file here',
      { cause },
    );
  }
}

/** Whether `file` lies in `folder`; both without symbolic links. */
function isInside(folder: string, file: string): boolean {
  const path = relative(folder, file);
  return path !== "" && path !== ".." && !path.startsWith(`..${sep}`) &&
    !isAbsolute(path);
}
