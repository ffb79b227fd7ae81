/**
 * The bytes of a local file, read by range.
 *
 * @module
 */
import { ImageError, ImageSourceError } from "../../errors.ts";
import { spelled } from "../../files.ts";
import type { ByteSource, Traffic } from "./source.ts";

/**
 * Opens the file at `path`.
 *
 * @throws {ImageError} With the reason only: it is not a file, or is empty.
 */
export async function openFile(path: string): Promise<ByteSource> {
  try {
    const file = await spelled(path);
    const info = await Deno.stat(file);
    if (!info.isFile) { // reading a pipe could block forever
      throw new Error(info.isDirectory ? "it is a folder" : "it is not a file");
    }
    return await opened(file, path);
  } catch (cause) {
    const reason = cause instanceof Deno.errors.NotFound
      ? "no such file"
      : (cause as Error).message;
    throw new ImageError(reason, { cause });
  }
}

/** Opens the file, then takes its facts from the handle: the path may change. */
async function opened(path: string, name: string): Promise<FileSource> {
  const file = await Deno.open(path);
  try {
    const { size, mtime } = await file.stat();
    if (size === 0) throw new Error("it is empty");
    const identity = `${path}|${size}|${mtime?.getTime()}`;
    return new FileSource({ name, path, identity, size, file });
  } catch (error) {
    file.close();
    throw error;
  }
}

/**
 * A temporary file in the place of the source that `facts` describe; removed
 * when closed.
 */
export async function temporaryFile(
  path: string,
  facts: Pick<ByteSource, "name" | "traffic" | "warnings">,
): Promise<ByteSource> {
  const file = await openFile(path).catch((error) => {
    Deno.removeSync(path);
    throw error;
  });
  let open = true;
  return {
    ...facts,
    identity: file.identity,
    size: file.size,
    read: (offset, length, signal) => file.read(offset, length, signal),
    close() {
      if (!open) return;
      open = false;
      file.close();
      Deno.removeSync(path);
    },
  };
}

/**
 * Reads synchronously: the bytes are nearly always in the page cache, and a
 * decoding requested while the engine computes starts at once. An asynchronous
 * read would resolve only when the engine is done.
 */
class FileSource implements ByteSource {
  readonly name: string;
  readonly path: string;
  readonly identity: string;
  readonly size: number;
  readonly warnings = [];
  readonly #traffic: Traffic = { bytes: 0, requests: 0 };
  readonly #file: Deno.FsFile;
  #closed = false;

  constructor({ name, path, identity, size, file }: {
    name: string;
    path: string;
    identity: string;
    size: number;
    file: Deno.FsFile;
  }) {
    this.name = name;
    this.path = path;
    this.identity = identity;
    this.size = size;
    this.#file = file;
  }

  get traffic(): Readonly<Traffic> {
    return this.#traffic;
  }

  // async, so that every error is a rejection, as in every other source.
  // deno-lint-ignore require-await
  async read(
    offset: number,
    length: number,
    signal?: AbortSignal,
  ): Promise<Uint8Array<ArrayBuffer>> {
    signal?.throwIfAborted();
    if (this.#closed) {
      throw new TypeError(`Cannot read ${this.name}: it was closed`);
    }
    const bytes = new Uint8Array(
      Math.max(0, Math.min(length, this.size - offset)),
    );
    try {
      this.#fill(bytes, offset);
    } catch (cause) { // of the disk, or of the network that it is on
      throw new ImageSourceError((cause as Error).message, { cause });
    }
    this.#traffic.bytes += bytes.length;
    this.#traffic.requests++;
    return bytes;
  }

  #fill(bytes: Uint8Array, offset: number): void {
    this.#file.seekSync(offset, Deno.SeekMode.Start);
    for (let done = 0; done < bytes.length;) {
      const read = this.#file.readSync(bytes.subarray(done));
      if (read === null) {
        throw new Error(
          `it was shortened to ${offset + done} bytes while open`,
        );
      }
      done += read;
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#file.close();
  }
}
