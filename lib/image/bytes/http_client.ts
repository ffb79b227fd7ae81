/**
 * Requests to a web server for one file and its ranges: counted, retried after
 * transient failures (retry.ts), and checked against the first response.
 *
 * @module
 */
import { ImageSourceError, NetworkError } from "../../errors.ts";
import { contentLength, contentRange } from "./content_range.ts";
import { PassingError, type Patience, patiently } from "./retry.ts";
import type { Traffic } from "./source.ts";

/** The part of `fetch` in use: a caller may pass a guarded one. */
export interface Fetch {
  (
    url: string,
    options: {
      headers: Record<string, string>;
      signal: AbortSignal;
      redirect?: "manual";
    },
  ): Promise<Response>;
  /**
   * True if the object of a cloud at `address` may be fetched with the
   * credentials of this process. A fetch without this uses none, except Deno's
   * own, which is the user's.
   */
  maySign?(address: string): boolean;
}

/** Timeouts and bounds of requests. */
export interface HttpLimits extends Patience {
  /**
   * Files up to this size are downloaded whole if the server has no byte
   * ranges.
   */
  maxDownloadBytes: number;
  /** Bytes of ranges to cache, at least one. */
  cacheBytes: number;
}

/** Limits for interactive use, on good and bad connections. */
export const LIMITS: HttpLimits = {
  idleTimeoutMs: 20_000,
  attempts: 5,
  firstPauseMs: 200,
  maxDownloadBytes: 2 ** 28,
  cacheBytes: 2 ** 23,
};

// Bytes of the first request: the head of a TIFF with its directories.
const HEAD_BYTES = 2 ** 14;

/** Facts from the response to the first request. */
export interface Head {
  /** Undefined if the server has no byte ranges. */
  size: number | undefined;
  bytes: Uint8Array<ArrayBuffer>;
  /** ETag or modification date of this version, if the server sends one. */
  version: string | undefined;
}

/** Head of a server without usable byte ranges. */
const NO_RANGES: Head = {
  size: undefined,
  bytes: new Uint8Array(0),
  version: undefined,
};

// Bytes that a server may send before the requested ones: some cache slices.
const MAX_SKIPPED = 2 ** 24;

/** Makes the requests: counts, retries and checks them. */
export class HttpClient {
  readonly url: string;
  readonly limits: HttpLimits;
  readonly #fetchUrl: Fetch;
  readonly traffic: Traffic = { bytes: 0, requests: 0 };
  #version: string | undefined;
  #size: number | undefined;

  constructor(url: string, limits: HttpLimits, fetchUrl: Fetch) {
    this.url = url;
    this.limits = limits;
    this.#fetchUrl = fetchUrl;
  }

  /** The head of the file: its size, version and support of ranges. */
  async first(signal: AbortSignal | undefined): Promise<Head> {
    return await patiently(
      { ...this.limits, signal },
      async (signal, alive) => {
        const response = await this.#fetch(
          { range: `bytes=0-${HEAD_BYTES - 1}` },
          signal,
        );
        const { start, end, total } = contentRange(response.headers);
        if (response.status === 416 && total === 0) {
          throw new ImageSourceError("it is empty");
        }
        if (response.status !== 206 || start !== 0 || end === 0) {
          await response.body?.cancel();
          return NO_RANGES;
        }
        const length = Math.min(HEAD_BYTES, end);
        const bytes = await this.#body(
          response,
          { skip: 0, length, most: end },
          alive,
        );
        const size = total ?? await this.#sizeByLastByte(signal);
        if (size === undefined || size < length) return NO_RANGES;
        this.#size = size;
        this.#version = versionOf(response);
        return { size, bytes, version: this.#version };
      },
    );
  }

  /** Size of the file, from a server that omits it from a range response. */
  async #sizeByLastByte(signal: AbortSignal): Promise<number | undefined> {
    const response = await this.#fetch({ range: "bytes=-1" }, signal);
    await response.body?.cancel();
    const { end, total } = contentRange(response.headers);
    return response.status === 206 ? total ?? end : undefined;
  }

  /** Bytes `[offset, offset + length)`, exactly. */
  async range(
    offset: number,
    length: number,
    signal: AbortSignal | undefined,
  ): Promise<Uint8Array<ArrayBuffer>> {
    const first = await this.#part(offset, length, signal);
    if (first.length === length) return first;
    const bytes = new Uint8Array(length); // a server may send fewer bytes at a time
    bytes.set(first);
    for (let size = first.length; size < length;) {
      const part = await this.#part(offset + size, length - size, signal);
      bytes.set(part, size);
      size += part.length;
    }
    return bytes;
  }

  /** A prefix of the bytes `[offset, offset + length)`, at least one byte. */
  async #part(
    offset: number,
    length: number,
    signal: AbortSignal | undefined,
  ): Promise<Uint8Array<ArrayBuffer>> {
    return await patiently(
      { ...this.limits, signal },
      async (signal, alive) => {
        const response = await this.#fetch({
          range: `bytes=${offset}-${offset + length - 1}`,
          // A weak ETag does not guarantee identical bytes.
          ...this.#version?.startsWith('"') && { "if-range": this.#version },
        }, signal);
        const { start, end } = await this.#answered(response);
        const skip = offset - start;
        const given = Math.min(length, end - offset);
        if (!(skip >= 0 && skip <= MAX_SKIPPED && given > 0)) {
          await response.body?.cancel();
          throw new NetworkError(
            `the server sent bytes ${start} to ${end} instead of ${offset} to ${
              offset + length
            }`,
          );
        }
        const most = end - start;
        return await this.#body(response, { skip, length: given, most }, alive);
      },
    );
  }

  /**
   * The range `[start, end)` of a response, which must be of the same version.
   */
  async #answered(response: Response): Promise<{ start: number; end: number }> {
    const { status } = response;
    const isWhole = status === 200;
    const { start, end, total } = isWhole
      ? { start: 0, end: this.#size!, total: contentLength(response.headers) }
      : contentRange(response.headers);
    const isSame = this.#isSame(versionOf(response), total, isWhole);
    if (isSame && start !== undefined) return { start, end };
    await response.body?.cancel();
    const header = response.headers.get("content-range") ?? "none";
    throw isSame
      ? new NetworkError(
        `the server answered a range request with status ${status} and Content-Range ${header}`,
      )
      : new ImageSourceError(
        "it changed on the server while open; open it again",
      );
  }

  #isSame(
    version: string | undefined,
    total: number | undefined,
    isWhole: boolean,
  ): boolean {
    // A server sends a full response if the file changed: check that it did
    // not.
    const isShown = this.#version === undefined
      ? total !== undefined
      : version !== undefined;
    return (isShown || !isWhole) && (total ?? this.#size) === this.#size &&
      (version === undefined || version === (this.#version ?? version));
  }

  /** Writes all of the file to `path`. */
  async download(path: string, signal: AbortSignal | undefined): Promise<void> {
    await patiently({ ...this.limits, signal }, async (signal, alive) => {
      const response = await this.#fetch({}, signal);
      if (response.status !== 200) throw refusal(response);
      using file = await Deno.open(path, {
        write: true,
        create: true,
        truncate: true,
      });
      let length = 0;
      for await (const part of response.body ?? []) {
        alive();
        this.traffic.bytes += part.length;
        length += part.length;
        if (length > this.limits.maxDownloadBytes) {
          throw new ImageSourceError(
            `the server does not support byte ranges, and the file exceeds the ${this.limits.maxDownloadBytes} bytes that may be downloaded whole; copy it to this machine`,
          );
        }
        for (let at = 0; at < part.length;) {
          at += await file.write(part.subarray(at));
        }
      }
    });
  }

  async #fetch(
    headers: Record<string, string>,
    signal: AbortSignal,
  ): Promise<Response> {
    this.traffic.requests++;
    const response = await this.#fetchUrl(this.url, {
      headers: { ...headers, "accept-encoding": "identity" },
      signal,
    });
    const { status } = response;
    if ([200, 206, 416].includes(status)) return response;
    await response.body?.cancel();
    const mayPass = status === 408 || status === 429 || status >= 500;
    throw mayPass
      ? new PassingError(refusal(response).message)
      : refusal(response);
  }

  /** `length` bytes of a body of `most` bytes, after its first `skip` bytes. */
  async #body(
    response: Response,
    { skip, length, most }: { skip: number; length: number; most: number },
    alive: () => void,
  ): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = new Uint8Array(length);
    const end = skip + length;
    let size = 0;
    for await (const part of response.body ?? []) {
      alive();
      this.traffic.bytes += part.length;
      if (size + part.length > most) { // leaving the loop cancels the rest
        throw new NetworkError(
          `the server sent more than the ${most} bytes that it announced`,
        );
      }
      const from = Math.max(0, skip - size), to = Math.max(0, end - size);
      bytes.set(part.subarray(from, to), Math.max(0, size - skip));
      size += part.length;
      if (size >= end && most > end) break; // the rest was not requested
    }
    if (size < end) {
      throw new PassingError(`the server sent ${size} of ${most} bytes`);
    }
    return bytes;
  }
}

/** The error of an answer that is neither the file nor transient. */
export function refusal({ status, statusText }: Response): ImageSourceError {
  const answer = `the server answered ${status} ${statusText}`.trim();
  return new ImageSourceError(
    status === 206
      ? `${answer} where all of the file was asked for, and to a range without a Content-Range that fits`
      : answer,
  );
}

function versionOf({ headers }: Response): string | undefined {
  return headers.get("etag") ?? headers.get("last-modified") ?? undefined;
}
