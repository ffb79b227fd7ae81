/**
 * The bytes of a local file, read by range.
 *
 * @module
 */
import { type FileHandle, open } from "node:fs/promises";
import { ImageError } from "../errors.ts";
import type { ByteSource, Traffic } from "./source.ts";

/**
 * Opens the file at `path`.
 *
 * @throws {ImageError} With the reason only: it is no file, or is empty.
 */
export async function openFile(path: string): Promise<ByteSource> {
  try {
    const info = await Deno.stat(path);
    if (!info.isFile) { // a pipe would be waited for without end
      throw new Error(info.isDirectory ? "it is a folder" : "it is not a file");
    }
    return await opened(path);
  } catch (cause) {
    const reason = cause instanceof Deno.errors.NotFound
      ? "no such file"
      : (cause as Error).message;
    throw new ImageError(reason, { cause });
  }
}

/** What is told of a file is told of the one that was opened. */
async function opened(path: string): Promise<FileSource> {
  const file = await open(path);
  try {
    const { size, mtimeMs } = await file.stat();
    if (size === 0) throw new Error("it is empty");
    return new FileSource(path, `${path}|${size}|${mtimeMs}`, size, file);
  } catch (error) {
    await file.close();
    throw error;
  }
}

/**
 * A file of ours that stands for what `facts` name, and is removed when it is
 * closed.
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

class FileSource implements ByteSource {
  readonly name: string;
  readonly path: string;
  readonly identity: string;
  readonly size: number;
  readonly warnings = [];
  readonly #traffic: Traffic = { bytes: 0, requests: 0 };
  readonly #file: FileHandle;
  #last: Promise<unknown> = Promise.resolve();
  #closed = false;

  constructor(name: string, identity: string, size: number, file: FileHandle) {
    this.name = name;
    this.path = name;
    this.identity = identity;
    this.size = size;
    this.#file = file;
  }

  get traffic(): Readonly<Traffic> {
    return this.#traffic;
  }

  async read(
    offset: number,
    length: number,
    signal?: AbortSignal,
  ): Promise<Uint8Array<ArrayBuffer>> {
    signal?.throwIfAborted();
    if (this.#closed) {
      throw new TypeError(`Cannot read ${this.name}: it was closed`);
    }
    const wanted = Math.max(0, Math.min(length, this.size - offset));
    // One at a time: a read at a place moves the file's position and back.
    const reading = this.#last.then(() => {
      signal?.throwIfAborted();
      return this.#read(offset, wanted);
    });
    this.#last = reading.catch(() => {}); // the reader has the error
    return await reading;
  }

  async #read(
    offset: number,
    length: number,
  ): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = new Uint8Array(length);
    for (let done = 0; done < length;) {
      const { bytesRead } = await this.#file
        .read(bytes, done, length - done, offset + done);
      if (bytesRead === 0) {
        throw new ImageError(`it was cut to ${offset + done} bytes meanwhile`);
      }
      done += bytesRead;
    }
    this.#traffic.bytes += length;
    this.#traffic.requests++;
    return bytes;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#last.then(() => this.#file.close());
  }
}
