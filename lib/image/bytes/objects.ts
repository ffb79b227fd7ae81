/**
 * The objects of an image that consists of many: the files of a folder, or of a
 * server.
 *
 * @module
 */
import { join } from "node:path";
import { ImageError, ImageSourceError, NetworkError } from "../../errors.ts";
import { contentRange } from "./content_range.ts";
import { addressOf, fetchOf } from "./http.ts";
import { type Fetch, LIMITS } from "./http_client.ts";
import type { Traffic } from "./source.ts";
import { WebRequests } from "./web_requests.ts";

/** Bytes of an object: a part of it, or its last ones. */
export type ObjectRange =
  | { offset: number; length: number }
  | { suffixLength: number };

/** How an object is read. */
export interface ObjectRead {
  /** All of it if omitted. */
  range?: ObjectRange;
  /** Largest that is taken. */
  maxBytes: number;
  signal?: AbortSignal | undefined;
}

/** Objects by their path from the root of the image. */
export interface Objects {
  readonly traffic: Readonly<Traffic>;
  /**
   * The bytes of an object; undefined if there is none.
   *
   * @throws {ImageError} With the reason only.
   */
  read(key: string, how: ObjectRead): Promise<
    Uint8Array<ArrayBuffer> | undefined
  >;
}

/** A key that leads out of the image: what names it is not to be believed. */
function assertInside(key: string): void {
  const isInside = key.split("/").every((part) =>
    part !== "" && part !== "." && part !== ".."
  );
  if (isInside && !/[\\\0]/.test(key)) return;
  throw new ImageError(`it names a part outside of it, ${JSON.stringify(key)}`);
}

function refuseLong(length: number, maxBytes: number): void {
  if (length <= maxBytes) return;
  throw new ImageError(
    `a part of it has ${length} bytes, more than the ${maxBytes} that such a part may have`,
  );
}

/** The files of a folder. */
export class FolderObjects implements Objects {
  readonly traffic: Traffic = { bytes: 0, requests: 0 };
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  async read(
    key: string,
    { range, maxBytes, signal }: ObjectRead,
  ): Promise<Uint8Array<ArrayBuffer> | undefined> {
    signal?.throwIfAborted();
    assertInside(key);
    try {
      using file = await Deno.open(join(this.#folder, ...key.split("/")));
      const { size, isFile } = await file.stat();
      if (!isFile) return undefined;
      const start = range === undefined
        ? 0
        : "offset" in range
        ? range.offset
        : Math.max(0, size - range.suffixLength);
      const end = range && "length" in range ? start + range.length : size;
      refuseLong(end - start, maxBytes);
      if (end > size) throw new ImageError("a part of it ends too early");
      const bytes = new Uint8Array(end - start);
      await file.seek(start, Deno.SeekMode.Start);
      for (let done = 0; done < bytes.length;) {
        const read = await file.read(bytes.subarray(done));
        if (read === null) throw new ImageError("a part of it ends too early");
        done += read;
      }
      this.traffic.requests++;
      this.traffic.bytes += bytes.length;
      return bytes;
    } catch (cause) {
      if (cause instanceof ImageError) throw cause;
      if (cause instanceof Deno.errors.NotFound) return undefined;
      if (cause instanceof Deno.errors.NotADirectory) return undefined;
      if (cause instanceof Deno.errors.IsADirectory) return undefined;
      throw new ImageSourceError((cause as Error).message, { cause });
    }
  }
}

/** The objects under a URL (http, https, s3, gs, az). */
export class WebObjects implements Objects {
  readonly #base: URL;
  readonly #requests: WebRequests;

  /** @throws {ImageError} If the environment does not say where it is. */
  constructor(url: string, fetchUrl: Fetch = fetch) {
    const root = url.replace(/\/+$/, "");
    this.#base = new URL(addressOf(root));
    this.#requests = new WebRequests(fetchOf(root, fetchUrl), LIMITS);
  }

  get traffic(): Readonly<Traffic> {
    return this.#requests.traffic;
  }

  async read(
    key: string,
    { range, maxBytes, signal }: ObjectRead,
  ): Promise<Uint8Array<ArrayBuffer> | undefined> {
    assertInside(key);
    const url = new URL(this.#base); // with its query
    const path = key.split("/").map(encodeURIComponent).join("/");
    url.pathname = `${url.pathname.replace(/\/+$/, "")}/${path}`;
    const length = range && lengthOf(range);
    if (length !== undefined) refuseLong(length, maxBytes);
    const answer = await this.#requests.get(url.href, {
      ...range && { headers: { range: headerOf(range) } },
      maxBytes,
      signal,
    });
    if (answer === undefined || range === undefined) return answer?.bytes;
    return partOf(answer, range);
  }
}

function lengthOf(range: ObjectRange): number {
  return "length" in range ? range.length : range.suffixLength;
}

function headerOf(range: ObjectRange): string {
  return "offset" in range
    ? `bytes=${range.offset}-${range.offset + range.length - 1}`
    : `bytes=-${range.suffixLength}`;
}

/** The part that was asked for: a server may send all of the object. */
function partOf(
  { status, headers, bytes }: {
    status: number;
    headers: Headers;
    bytes: Uint8Array<ArrayBuffer>;
  },
  range: ObjectRange,
): Uint8Array<ArrayBuffer> {
  const length = lengthOf(range);
  const isWhole = status === 200;
  const { start, total } = contentRange(headers);
  const offset = "offset" in range
    ? range.offset
    : (isWhole ? bytes.length : total ?? NaN) - length;
  const from = isWhole ? offset : 0;
  const isGiven = from >= 0 && from + length <= bytes.length &&
    (isWhole || start === offset && bytes.length === length);
  if (isGiven) return bytes.subarray(from, from + length);
  throw new NetworkError(
    `the server answered a request for ${
      headerOf(range)
    } with ${bytes.length} bytes and Content-Range ${
      headers.get("content-range") ?? "none"
    }`,
  );
}
