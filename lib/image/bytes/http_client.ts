/**
 * Requests to a web server for one file and its ranges: counted, repeated while
 * what is wrong may pass, and checked against what the first answer said.
 *
 * @module
 */
import { setTimeout as sleep } from "node:timers/promises";
import { ImageError, ImageSourceError, NetworkError } from "../../errors.ts";
import { contentLength, contentRange } from "./content_range.ts";
import type { Traffic } from "./source.ts";

/** What of `fetch` is needed: a caller may let through what it allows only. */
export type Fetch = (
  url: string,
  options: { headers: Record<string, string>; signal: AbortSignal },
) => Promise<Response>;

/** How a server is asked. */
export interface HttpLimits {
  /** Time without a byte after which a request has failed. */
  idleTimeoutMs: number;
  /** How often a request is made before its failure counts. */
  attempts: number;
  /** Pause before the second attempt; it doubles from there. */
  firstPauseMs: number;
  /** Files up to this size are downloaded whole where ranges are not given. */
  maxDownloadBytes: number;
  /** Bytes of ranges that are kept. */
  cacheBytes: number;
}

/** For people who wait, on lines that are good or bad. */
export const LIMITS: HttpLimits = {
  idleTimeoutMs: 20_000,
  attempts: 5,
  firstPauseMs: 200,
  maxDownloadBytes: 2 ** 28,
  cacheBytes: 2 ** 23,
};

// What the first request asks for: the head of a TIFF with its directories.
const HEAD_BYTES = 2 ** 14;

/** What the answer to the first request says. */
export interface Head {
  /** Undefined where the server gives no ranges. */
  size: number | undefined;
  bytes: Uint8Array<ArrayBuffer>;
  /** Names this version of the file, where the server does. */
  version: string | undefined;
}

/** Of a server that does not give ranges, or not so that they can be used. */
const NO_RANGES: Head = {
  size: undefined,
  bytes: new Uint8Array(0),
  version: undefined,
};

// Bytes before those asked for that a server may send: it may keep slices.
const MAX_SKIPPED = 2 ** 24;

/** A failure after which the same request may succeed. */
class PassingError extends Error {}

/** Makes the requests: counts, repeats and checks them. */
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

  /** The head of the file; what it is, and whether ranges are given. */
  async first(signal: AbortSignal | undefined): Promise<Head> {
    return await this.#patiently(signal, async (signal, alive) => {
      const response = await this.#fetch(
        { range: `bytes=0-${HEAD_BYTES - 1}` },
        signal,
      );
      const { start, end, total } = contentRange(response);
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
    });
  }

  /** Bytes of the file, of a server that does not say them with a range. */
  async #sizeByLastByte(signal: AbortSignal): Promise<number | undefined> {
    const response = await this.#fetch({ range: "bytes=-1" }, signal);
    await response.body?.cancel();
    const { end, total } = contentRange(response);
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
    const bytes = new Uint8Array(length); // of a server that gives less a time
    bytes.set(first);
    for (let size = first.length; size < length;) {
      const part = await this.#part(offset + size, length - size, signal);
      bytes.set(part, size);
      size += part.length;
    }
    return bytes;
  }

  /** The first of the bytes `[offset, offset + length)`, one or more. */
  async #part(
    offset: number,
    length: number,
    signal: AbortSignal | undefined,
  ): Promise<Uint8Array<ArrayBuffer>> {
    return await this.#patiently(signal, async (signal, alive) => {
      const response = await this.#fetch({
        range: `bytes=${offset}-${offset + length - 1}`,
        // A weak name does not tell whether each byte is the same.
        ...this.#version?.startsWith('"') && { "if-range": this.#version },
      }, signal);
      const { start, end } = await this.#answered(response);
      const skip = offset - start;
      const given = Math.min(length, end - offset);
      if (!(skip >= 0 && skip <= MAX_SKIPPED && given > 0)) {
        await response.body?.cancel();
        throw new NetworkError(
          `the server answers with bytes ${start} to ${end} where ${offset} to ${
            offset + length
          } were asked for`,
        );
      }
      const most = end - start;
      return await this.#body(response, { skip, length: given, most }, alive);
    });
  }

  /** The bytes `[start, end)` that an answer holds, of the same file as before. */
  async #answered(response: Response): Promise<{ start: number; end: number }> {
    const { status } = response;
    const isWhole = status === 200;
    const { start, end, total } = isWhole
      ? { start: 0, end: this.#size!, total: contentLength(response) }
      : contentRange(response);
    const isSame = this.#isSame(versionOf(response), total, isWhole);
    if (isSame && start !== undefined) return { start, end };
    await response.body?.cancel();
    const header = response.headers.get("content-range") ?? "none";
    throw isSame
      ? new NetworkError(
        `the server answers a range request with status ${status} and Content-Range ${header}`,
      )
      : new ImageSourceError("it changed on the server meanwhile");
  }

  #isSame(
    version: string | undefined,
    total: number | undefined,
    isWhole: boolean,
  ): boolean {
    // A server gives all of a file that is another: it must show that it is not.
    const isShown = this.#version === undefined
      ? total !== undefined
      : version !== undefined;
    return (isShown || !isWhole) && (total ?? this.#size) === this.#size &&
      (version === undefined || version === (this.#version ?? version));
  }

  /** Writes all of the file to `path`. */
  async download(path: string, signal: AbortSignal | undefined): Promise<void> {
    await this.#patiently(signal, async (signal, alive) => {
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
            `the server gives no byte ranges, and the file has more than the ${this.limits.maxDownloadBytes} bytes that are downloaded whole`,
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

  /** `length` bytes of a body of `most`, behind the first `skip` of it. */
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
          `the server sends more than the ${most} bytes that it names`,
        );
      }
      const from = Math.max(0, skip - size), to = Math.max(0, end - size);
      bytes.set(part.subarray(from, to), Math.max(0, size - skip));
      size += part.length;
      if (size >= end && most > end) break; // the others were not asked for
    }
    if (size < end) {
      throw new PassingError(`the server sent ${size} of ${most} bytes`);
    }
    return bytes;
  }

  /** Makes a request until it succeeds, is refused, or was made often enough. */
  async #patiently<T>(
    signal: AbortSignal | undefined,
    request: (signal: AbortSignal, alive: () => void) => Promise<T>,
  ): Promise<T> {
    const { attempts, firstPauseMs } = this.limits;
    for (let attempt = 1;; attempt++) {
      signal?.throwIfAborted();
      try {
        return await this.#timely(signal, request);
      } catch (cause) {
        signal?.throwIfAborted();
        if (cause instanceof ImageError) throw cause;
        if (cause instanceof Deno.errors.NotCapable) {
          throw new ImageSourceError(
            "the network may not be used: run it with --allow-net",
            { cause },
          );
        }
        if (attempt === attempts) {
          throw new NetworkError(
            `${reasonOf(cause as Error)}, at the last of ${attempts} attempts`,
            { cause },
          );
        }
      }
      const pauseMs = firstPauseMs * 2 ** (attempt - 1);
      // Up to half as long again, so that many readers do not come together.
      await sleep(pauseMs * (1 + Math.random() / 2), undefined, {
        ...signal && { signal },
      }).catch(() => signal?.throwIfAborted());
    }
  }

  /** Ends a request that stands still. */
  async #timely<T>(
    signal: AbortSignal | undefined,
    request: (signal: AbortSignal, alive: () => void) => Promise<T>,
  ): Promise<T> {
    const { idleTimeoutMs } = this.limits;
    const timeout = new AbortController();
    const expire = () =>
      timeout.abort(
        new PassingError(`the server sent nothing for ${idleTimeoutMs} ms`),
      );
    let timer = setTimeout(expire, idleTimeoutMs);
    const alive = () => {
      clearTimeout(timer);
      timer = setTimeout(expire, idleTimeoutMs);
    };
    try {
      return await request(
        signal ? AbortSignal.any([signal, timeout.signal]) : timeout.signal,
        alive,
      );
    } catch (error) {
      // A fetch may fail with an error of its own once its signal aborts.
      throw timeout.signal.aborted ? timeout.signal.reason : error;
    } finally {
      clearTimeout(timer);
    }
  }
}

function refusal({ status, statusText }: Response): ImageSourceError {
  return new ImageSourceError(
    `the server answers ${status} ${statusText}`.trim(),
  );
}

function versionOf({ headers }: Response): string | undefined {
  return headers.get("etag") ?? headers.get("last-modified") ?? undefined;
}

/**
 * What stopped a request: Deno says so below "fetch failed", after the URL, which
 * may hold a signature.
 */
function reasonOf({ message, cause }: Error): string {
  const below = cause instanceof Error ? cause.message : "";
  return /client error \([^)]*\): (.+)/.exec(below)?.[1] ?? message;
}
