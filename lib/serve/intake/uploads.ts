/**
 * Bodies of requests on their way to disk: counted as they come, never held in
 * memory, gone when nobody needs them any more.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { Readable } from "node:stream";
import { Busboy, type BusboyHeaders } from "@fastify/busboy";
import { exists, writeAll } from "../../files.ts";
import { chunksOf } from "./paced_body.ts";
import { InputError, RefusalError, TooLargeError } from "../errors.ts";
import type { Limits } from "../limits.ts";

/** Bounds of uploads. */
export type UploadLimits = Pick<Limits, "uploadBytes" | "pace">;

/** A file that was received whole. */
export interface Upload {
  path: string;
  /** What messages call it: what its sender calls it, where that is said. */
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

// Around the file: boundaries, headers and the other fields.
const FORM_OVERHEAD_BYTES = 2 ** 20;
const FORM_LIMITS = {
  ...{ parts: 32, fields: 16, files: 16 },
  ...{ fieldSize: 4096, fieldNameSize: 100 },
};

const LONGEST_NAME = 255; // characters
const UNNAMED = "the upload";

// Held by the process whose folder it is, for as long as it lives.
const LOCK_FILE = ".lock";

/** Receives files into a folder of its own. */
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
   * Makes a folder in `parent`, which processes may share, and removes those
   * of processes that are gone: what lies there belongs to nobody.
   */
  static async open(parent: string, limits: UploadLimits): Promise<Uploads> {
    await Deno.mkdir(parent, { recursive: true });
    for await (const { name } of Deno.readDir(parent)) {
      await removeAbandoned(join(parent, name));
    }
    for (;;) {
      const folder = join(parent, crypto.randomUUID());
      await Deno.mkdir(folder);
      const file = join(folder, LOCK_FILE);
      const lock = await Deno.open(file, { write: true, create: true });
      await lock.lock(true);
      // Another process that starts may have taken it for abandoned meanwhile.
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
   * @param announced its length, where the sender says so: refused unread.
   * @throws {TooLargeError | StalledError | InputError} And nothing is left.
   */
  async receive(
    body: ReadableStream<Uint8Array> | null,
    { announced, signal }: {
      announced?: number | undefined;
      signal: AbortSignal;
    },
  ): Promise<Upload> {
    const { uploadBytes } = this.#limits;
    if ((announced ?? 0) > uploadBytes) throw this.#tooLarge();
    const upload = await this.#write(
      this.#chunks(body, uploadBytes, signal),
    );
    if (upload.bytes > 0) return upload;
    await this.remove(upload);
    throw new InputError("body", "Cannot read an image: the body is empty");
  }

  /**
   * Writes chunks to a file as they come: whoever reads them bounds their pace.
   *
   * @param name what messages call the file.
   * @throws {TooLargeError} And nothing is left, as if `chunks` fail.
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
   * @throws {TooLargeError | StalledError | InputError} And nothing is left.
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
    if ((announced ?? 0) > most) throw this.#tooLarge();
    const chunks = this.#chunks(body, most, signal);
    const form = await this.#parseForm(chunks, contentType);
    if (form.file) return { file: form.file, fields: form.fields };
    throw new InputError(
      FILE_FIELD,
      `Cannot find an image: there is no part "${FILE_FIELD}"`,
    );
  }

  async remove({ path }: Pick<Upload, "path">): Promise<void> {
    await Deno.remove(path).catch(() => {}); // moved on, or gone already
  }

  async *#chunks(
    body: ReadableStream<Uint8Array> | null,
    mostBytes: number,
    signal: AbortSignal,
  ): AsyncGenerator<Uint8Array> {
    if (body === null) return;
    const { pace } = this.#limits;
    const { message } = this.#tooLarge();
    yield* chunksOf(body, { mostBytes, pace, tooLarge: message, signal });
  }

  #tooLarge(): TooLargeError {
    return new TooLargeError(
      `Cannot take an image of more than ${this.#limits.uploadBytes} bytes: put it in a folder of data and name it by its path`,
    );
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
        if (bytes > this.#limits.uploadBytes) throw this.#tooLarge();
        hash.update(chunk);
        await writeAll(file, chunk);
      }
      const sha256 = hash.digest("hex");
      return {
        path,
        name: name.slice(0, LONGEST_NAME) || UNNAMED,
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
      // Without someone who listens, a form that is cut off ends the process.
      part.on("error", refusal ? reject : (error) => part.destroy(error));
      if (refusal) return reject(refusal);
      file = this.#write(part, filename);
      file.catch(reject); // it may fail before the form ends: too large
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
      await file?.then((done) => this.remove(done), () => {}); // removed itself
      throw isRefusal(error) ? error : badForm(error);
    }
  }
}

/** Removes a folder whose lock nobody holds. */
async function removeAbandoned(folder: string): Promise<void> {
  try {
    using lock = await Deno.open(join(folder, LOCK_FILE), { write: true });
    if (!await lock.tryLock(true)) return;
  } catch {
    return; // just being made, or just being removed
  }
  await Deno.remove(folder, { recursive: true }).catch(() => {}); // by another
}

function formParser(contentType: string): InstanceType<typeof Busboy> {
  const headers: BusboyHeaders = { "content-type": contentType };
  try {
    return new Busboy({ headers, limits: FORM_LIMITS });
  } catch (cause) {
    throw badForm(cause);
  }
}

/** What is wrong with a file of a form. */
function refusalOf(name: string, isSecond: boolean): InputError | undefined {
  if (name !== FILE_FIELD) {
    return new InputError(
      name,
      `Cannot take a file as "${name}": send the image as "${FILE_FIELD}"`,
    );
  }
  if (!isSecond) return undefined;
  return new InputError(
    FILE_FIELD,
    `Cannot take more than one "${FILE_FIELD}": send one image a request, or name more in a table (POST /v1/batch)`,
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
