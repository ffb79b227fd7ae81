/**
 * Requests to a web server for one file and its ranges: counted, repeated while
 * what is wrong may pass, and checked against what the first answer said.
 *
 * @module
 */
import { setTimeout as sleep } from "node:timers/promises";
import { ImageError } from "../errors.ts";
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
      if (response.status === 200) {
        await response.body?.cancel();
        return {
          size: undefined,
          bytes: new Uint8Array(0),
          version: undefined,
        };
      }
      const { start, end, total } = await contentRange(response);
      const length = end - start;
      if (start !== 0 || length !== Math.min(HEAD_BYTES, total)) {
        await response.body?.cancel();
        throw new ImageError(
          `the server answers with bytes ${start} to ${end} of ${total} where the first ${HEAD_BYTES} were asked for`,
        );
      }
      const bytes = await this.#body(response, length, alive);
      this.#size = total;
      this.#version = versionOf(response);
      return { size: total, bytes, version: this.#version };
    });
  }

  /** Bytes `[offset, offset + length)`, exactly. */
  async range(
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
      const { start, total } = response.status === 200
        ? { start: offset, total: undefined } // the file is another now
        : await contentRange(response);
      if (total !== this.#size || versionOf(response) !== this.#version) {
        await response.body?.cancel();
        throw new ImageError("it changed on the server meanwhile");
      }
      if (start !== offset) {
        await response.body?.cancel();
        throw new ImageError(
          `the server answers with bytes from ${start} on where ${offset} was asked for`,
        );
      }
      return await this.#body(response, length, alive);
    });
  }

  /** Writes all of the file to `path`. */
  async download(path: string, signal: AbortSignal | undefined): Promise<void> {
    await this.#patiently(signal, async (signal, alive) => {
      const response = await this.#fetch({}, signal);
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
          throw new ImageError(
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
    if (response.ok) return response;
    await response.body?.cancel();
    const { status, statusText } = response;
    const reason = `the server answers ${status} ${statusText}`.trim();
    const mayPass = status === 408 || status === 429 || status >= 500;
    throw mayPass ? new PassingError(reason) : new ImageError(reason);
  }

  /** The body of an answer that must have `length` bytes. */
  async #body(
    response: Response,
    length: number,
    alive: () => void,
  ): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = new Uint8Array(length);
    let size = 0;
    for await (const part of response.body ?? []) {
      alive();
      this.traffic.bytes += part.length;
      if (size + part.length > length) { // leaving the loop cancels the rest
        throw new ImageError(
          `the server sends more than the ${length} bytes asked for`,
        );
      }
      bytes.set(part, size);
      size += part.length;
    }
    if (size < length) {
      throw new PassingError(`the server sent ${size} of ${length} bytes`);
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
          throw new ImageError(
            "the network may not be used: run it with --allow-net",
            { cause },
          );
        }
        if (attempt === attempts) {
          throw new ImageError(
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

/** What a partial answer holds: bytes `[start, end)` of `total`. */
async function contentRange(
  response: Response,
): Promise<{ start: number; end: number; total: number }> {
  const header = response.headers.get("content-range") ?? "none";
  const match = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(header);
  if (response.status === 206 && match !== null) {
    const [start, last, total] = match.slice(1).map(Number);
    return { start: start!, end: last! + 1, total: total! };
  }
  await response.body?.cancel();
  throw new ImageError(
    `the server answers a range request with status ${response.status} and Content-Range ${header}`,
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
