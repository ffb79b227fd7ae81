/**
 * Streams bodies of requests to disk: bounded in size, never held in memory,
 * and removed once they are no longer needed.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { Readable } from "node:stream";
import { Busboy, type BusboyHeaders } from "@fastify/busboy";
import { exists, writeAll } from "../../files.ts";
import { assertRoom, freeBytes } from "./disk.ts";
import { chunksOf } from "./paced_body.ts";
import { InputError, RefusalError, TooLargeError } from "../errors.ts";
import type { Limits } from "../limits.ts";

/** Limits of uploads. */
export type UploadLimits = Pick<Limits, "uploadBytes" | "pace">;

/** A completely received file. */
export interface Upload {
  path: string;
  /** Name in messages: the sender's name if it sent one. */
  name: string;
  bytes: number;
  sha256: string;
}

/** A form with one file. */
export interface UploadedForm {
  file: Upload;
  fields: Record<string, string>;
}

const FILE_FIELD = "file";

// Allowance around the file: boundaries, headers and the other fields.
const FORM_OVERHEAD_BYTES = 2 ** 20;
const FORM_LIMITS = {
  parts: 32,
  fields: 16,
  files: 16,
  fieldSize: 4096,
  fieldNameSize: 100,
};

const MAX_NAME = 255; // characters
const UNNAMED = "the upload";

// Locked by the process that owns the folder, for as long as it lives.
const LOCK_FILE = ".lock";

/** Receives files into its own folder. */
export class Uploads {
  readonly #folder: string;
  readonly #lock: Deno.FsFile;
  readonly #limits: UploadLimits;

  private constructor(
    folder: string,
    lock: Deno.FsFile,
    limits: UploadLimits,
  ) {
    this.#folder = folder;
    this.#lock = lock;
    this.#limits = limits;
  }

  /**
   * Makes a folder in `parent`, which processes may share, and removes the
   * folders of processes that have ended.
   */
  static async open(parent: string, limits: UploadLimits): Promise<Uploads> {
    await Deno.mkdir(parent, { recursive: true });
    await freeBytes(parent); // without the permission no upload would be taken
    for await (const { name } of Deno.readDir(parent)) {
      await removeAbandoned(join(parent, name));
    }
    for (;;) {
      const folder = join(parent, crypto.randomUUID());
      await Deno.mkdir(folder);
      const file = join(folder, LOCK_FILE);
      const lock = await Deno.open(file, { write: true, create: true });
      await lock.lock(true);
      // Another starting process may have mistaken it for abandoned meanwhile.
      const isOurs = await exists(file);
      if (isOurs) return new Uploads(folder, lock, limits);
      lock.close();
    }
  }

  close(): void {
    this.#lock.close();
    Deno.removeSync(this.#folder, { recursive: true });
  }

  /**
   * Writes a body to a file.
   *
   * @param announced its announced length, if any: refused unread if too large.
   * @throws {TooLargeError | StalledError | InputError | StorageError} No file
   *   is left then.
   */
  async receive(
    body: ReadableStream<Uint8Array> | null,
    { announced, signal }: {
      announced?: number | undefined;
      signal: AbortSignal;
    },
  ): Promise<Upload> {
    const { uploadBytes } = this.#limits;
    if ((announced ?? 0) > uploadBytes) throw new TooLargeError(this.#tooLarge);
    await assertRoom(this.#folder, announced ?? 0);
    const upload = await this.#write(
      this.#chunks(body, uploadBytes, signal),
    );
    if (upload.bytes > 0) return upload;
    await this.remove(upload);
    throw new InputError("body", "The body is empty: send an image");
  }

  /**
   * Writes chunks to a file; the source of the chunks bounds their pace.
   *
   * @param name name of the file in messages.
   * @throws {TooLargeError} No file is left then, nor if `chunks` fail.
   */
  async keep(
    chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    name: string,
  ): Promise<Upload> {
    return await this.#write(chunks, name);
  }

  /**
   * Writes the part `file` of a multipart form to a file, and returns the
   * other parts as text.
   *
   * @throws {TooLargeError | StalledError | InputError} No file is left then.
   */
  async receiveForm(
    body: ReadableStream<Uint8Array> | null,
    { contentType, announced, signal }: {
      contentType: string;
      announced?: number | undefined;
      signal: AbortSignal;
    },
  ): Promise<UploadedForm> {
    const most = this.#limits.uploadBytes + FORM_OVERHEAD_BYTES;
    if ((announced ?? 0) > most) throw new TooLargeError(this.#tooLarge);
    await assertRoom(this.#folder, announced ?? 0);
    const chunks = this.#chunks(body, most, signal);
    const form = await this.#parseForm(chunks, contentType);
    if (form.file) return { file: form.file, fields: form.fields };
    throw new InputError(
      FILE_FIELD,
      `The form has no image: send it as the part "${FILE_FIELD}"`,
    );
  }

  /** The same bytes under another name, which is removed apart. */
  async copy(upload: Upload): Promise<Upload> {
    const path = join(this.#folder, crypto.randomUUID());
    await Deno.link(upload.path, path);
    return { ...upload, path };
  }

  async remove({ path }: Pick<Upload, "path">): Promise<void> {
    await Deno.remove(path).catch(() => {}); // moved, or already removed
  }

  async *#chunks(
    body: ReadableStream<Uint8Array> | null,
    mostBytes: number,
    signal: AbortSignal,
  ): AsyncGenerator<Uint8Array> {
    if (body === null) return;
    const { pace } = this.#limits;
    const tooLarge = this.#tooLarge;
    yield* chunksOf(body, { mostBytes, pace, tooLarge, signal });
  }

  get #tooLarge(): string {
    return `The image has more than ${this.#limits.uploadBytes} bytes: put it in a folder of data and name it by its path`;
  }

  async #write(
    chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    name = "",
  ): Promise<Upload> {
    const path = join(this.#folder, crypto.randomUUID());
    const hash = createHash("sha256");
    let bytes = 0;
    try {
      using file = await Deno.open(path, { write: true, createNew: true });
      for await (const chunk of chunks) {
        bytes += chunk.length;
        if (bytes > this.#limits.uploadBytes) {
          throw new TooLargeError(this.#tooLarge);
        }
        hash.update(chunk);
        await writeAll(file, chunk);
      }
      const sha256 = hash.digest("hex");
      return {
        path,
        name: name.slice(0, MAX_NAME) || UNNAMED,
        bytes,
        sha256,
      };
    } catch (error) {
      await this.remove({ path });
      throw error;
    }
  }

  async #parseForm(
    chunks: AsyncIterable<Uint8Array>,
    contentType: string,
  ): Promise<{ file?: Upload; fields: Record<string, string> }> {
    const fields: Record<string, string> = {};
    let file: Promise<Upload> | undefined;
    const parts: Readable[] = [];
    const source = Readable.from(chunks);
    const parser = formParser(contentType);
    const { promise: parsed, resolve, reject } = Promise.withResolvers<void>();
    parser.on("field", (name: string, value: string) => {
      fields[name] = value;
    });
    parser.on("file", (name: string, part: Readable, filename?: string) => {
      parts.push(part);
      const refusal = refusalOf(name, file !== undefined);
      // Without a listener, a truncated form would end the process.
      part.on("error", refusal ? reject : (error) => part.destroy(error));
      if (refusal) return reject(refusal);
      file = this.#write(part, filename);
      file.catch(reject); // it may fail before the form ends, if too large
    });
    for (const limit of ["partsLimit", "fieldsLimit", "filesLimit"] as const) {
      parser.on(limit, () => reject(badForm(new Error("too many parts"))));
    }
    parser.on("finish", () => resolve());
    parser.on("error", reject);
    source.on("error", reject);
    source.pipe(parser);
    try {
      await parsed;
      return { fields, ...(file && { file: await file }) };
    } catch (error) {
      source.destroy();
      for (const part of parts) part.destroy(error as Error);
      await file?.then((done) => this.remove(done), () => {}); // already removed
      throw isRefusal(error) ? error : badForm(error);
    }
  }
}

/** Removes a folder whose lock is free. */
async function removeAbandoned(folder: string): Promise<void> {
  try {
    using lock = await Deno.open(join(folder, LOCK_FILE), { write: true });
    if (!await lock.tryLock(true)) return;
  } catch {
    return; // being created or removed at this moment
  }
  await Deno.remove(folder, { recursive: true }).catch(() => {}); // removed by another
}

function formParser(contentType: string): InstanceType<typeof Busboy> {
  const headers: BusboyHeaders = { "content-type": contentType };
  try {
    return new Busboy({ headers, limits: FORM_LIMITS });
  } catch (cause) {
    throw badForm(cause);
  }
}

/** The fault of a file in a form. */
function refusalOf(name: string, isSecond: boolean): InputError | undefined {
  if (name !== FILE_FIELD) {
    return new InputError(
      name,
      `The form has a file named "${name}": send the image as "${FILE_FIELD}"`,
    );
  }
  if (!isSecond) return undefined;
  return new InputError(
    FILE_FIELD,
    `The form has more than one "${FILE_FIELD}": send one image a request, or name several in a table (POST /v1/batch)`,
  );
}

function badForm(cause: unknown): InputError {
  const { message } = cause as Error;
  return new InputError("body", `Cannot read the form: ${message}`, { cause });
}

function isRefusal(error: unknown): boolean {
  const isAborted = error instanceof DOMException;
  return isAborted || error instanceof RefusalError;
}
