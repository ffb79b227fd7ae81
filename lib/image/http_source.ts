/**
 * The bytes of a file on a web server, read by range requests (RFC 9110,
 * section 14): only those asked for, neighbours in one request.
 *
 * @module
 */
import { setTimeout as sleep } from "node:timers/promises";
import { ImageError } from "../errors.ts";
import { withSignal } from "./abort.ts";
import { temporaryFile } from "./file_source.ts";
import type { ByteSource, Traffic } from "./source.ts";

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

const LIMITS: HttpLimits = {
  idleTimeoutMs: 20_000,
  attempts: 5,
  firstPauseMs: 200,
  maxDownloadBytes: 2 ** 28,
  cacheBytes: 2 ** 23,
};

// What the first request asks for: the head of a TIFF with its directories.
const HEAD_BYTES = 2 ** 14;

// Ranges this near to each other are fetched in one request, with the gap:
// on a fast line its bytes take less time than another request.
const GAP_BYTES = 2 ** 14;
const MERGED_BYTES = 2 ** 22;

// As browsers do.
const REQUESTS_AT_A_TIME = 6;

/** The https form of `url`, if it is of s3. */
export function httpUrl(url: string): string {
  const s3 = /^s3:\/\/(?<bucket>[^/]+)\/(?<key>.+)$/i.exec(url)?.groups;
  if (s3 === undefined) return url;
  const { bucket = "", key = "" } = s3;
  const path = key.split("/").map(encodeURIComponent).join("/");
  return bucket.includes(".") // no certificate holds for such a host
    ? `https://s3.amazonaws.com/${bucket}/${path}`
    : `https://${bucket}.s3.amazonaws.com/${path}`;
}

/**
 * Opens the file at `url` (http, https or s3).
 *
 * @throws {ImageError} With the reason only, as all of this module.
 */
export async function openUrl(
  url: string,
  { signal, fetch: fetchUrl = fetch, ...limits }: Partial<HttpLimits> & {
    signal?: AbortSignal | undefined;
    fetch?: Fetch | undefined;
  } = {},
): Promise<ByteSource> {
  const client = new Client(
    httpUrl(url),
    { ...LIMITS, ...limits },
    fetchUrl,
  );
  const head = await client.first(signal);
  return head.size === undefined
    ? await downloaded(url, client, signal)
    : new HttpSource(url, client, { ...head, size: head.size });
}

/** What the answer to the first request says. */
interface Head {
  /** Undefined where the server gives no ranges. */
  size: number | undefined;
  bytes: Uint8Array<ArrayBuffer>;
  /** Names this version of the file, where the server does. */
  version: string | undefined;
}

/** A failure after which the same request may succeed. */
class PassingError extends Error {}

/** Makes the requests: counts, repeats and checks them. */
class Client {
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
            `${(cause as Error).message}, at the last of ${attempts} attempts`,
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

/** A range somebody waits for. */
interface Wait {
  offset: number;
  length: number;
  signal: AbortSignal | undefined;
  resolve(bytes: Uint8Array<ArrayBuffer>): void;
  reject(reason: unknown): void;
}

class HttpSource implements ByteSource {
  readonly name: string;
  readonly identity: string;
  readonly size: number;
  readonly warnings = [];
  readonly #client: Client;
  readonly #head: Uint8Array<ArrayBuffer>;
  readonly #kept: RangeCache;
  readonly #closed = new AbortController();
  readonly #pending = new Map<string, Promise<Uint8Array<ArrayBuffer>>>();
  #waiting: Wait[] = [];
  #groups: Wait[][] = [];
  #active = 0;

  constructor(name: string, client: Client, head: Head & { size: number }) {
    const version = head.version ?? crypto.randomUUID();
    this.name = name;
    this.identity = `${name}|${head.size}|${version}`;
    this.size = head.size;
    this.#client = client;
    this.#head = head.bytes;
    this.#kept = new RangeCache(client.limits.cacheBytes);
  }

  get traffic(): Readonly<Traffic> {
    return this.#client.traffic;
  }

  /** More would push out of what is kept what was not read yet. */
  get aheadBytes(): number {
    return this.#client.limits.cacheBytes / 2;
  }

  async read(
    offset: number,
    length: number,
    signal?: AbortSignal,
  ): Promise<Uint8Array<ArrayBuffer>> {
    signal?.throwIfAborted();
    if (this.#closed.signal.aborted) {
      throw new TypeError(`Cannot read ${this.name}: it was closed`);
    }
    const wanted = Math.max(0, Math.min(length, this.size - offset));
    if (wanted === 0) return new Uint8Array(0);
    if (offset + wanted <= this.#head.length) {
      return this.#head.subarray(offset, offset + wanted);
    }
    const kept = this.#kept.get(offset, wanted);
    if (kept !== undefined) return kept;
    const key = `${offset}+${wanted}`;
    const pending = this.#pending.get(key);
    if (pending !== undefined) {
      try {
        return await withSignal(pending, signal);
      } catch {
        signal?.throwIfAborted(); // else whoever asked gave up: ask again
      }
    }
    const bytes = this.#wait(offset, wanted, signal);
    this.#pending.set(key, bytes);
    try {
      return await bytes;
    } finally {
      if (this.#pending.get(key) === bytes) this.#pending.delete(key);
    }
  }

  close(): void {
    this.#closed.abort(
      new TypeError(`Cannot read ${this.name}: it was closed`),
    );
  }

  /** Puts a range on the list that the next turn of the event loop fetches. */
  async #wait(
    offset: number,
    length: number,
    signal: AbortSignal | undefined,
  ): Promise<Uint8Array<ArrayBuffer>> {
    const { promise, resolve, reject } = Promise.withResolvers<
      Uint8Array<ArrayBuffer>
    >();
    if (this.#waiting.length === 0) setTimeout(() => this.#collect());
    this.#waiting.push({ offset, length, signal, resolve, reject });
    return await promise;
  }

  /** Merges the ranges on the list. */
  #collect(): void {
    const waiting = this.#waiting.toSorted((a, b) => a.offset - b.offset);
    this.#waiting = [];
    const groups: Wait[][] = [];
    let end = 0;
    for (const wait of waiting) {
      const group = groups.at(-1);
      const next = Math.max(end, wait.offset + wait.length);
      const isNear = wait.offset - end <= GAP_BYTES;
      if (group && isNear && next - group[0]!.offset <= MERGED_BYTES) {
        group.push(wait);
        end = next;
      } else {
        groups.push([wait]);
        end = wait.offset + wait.length;
      }
    }
    this.#groups.push(...groups);
    this.#next();
  }

  #next(): void {
    while (this.#active < REQUESTS_AT_A_TIME && this.#groups.length > 0) {
      this.#active++;
      this.#fetch(this.#groups.shift()!).finally(() => {
        this.#active--;
        this.#next();
      });
    }
  }

  /** Fetches merged ranges; ends when nobody waits for them any more. */
  async #fetch(group: readonly Wait[]): Promise<void> {
    const start = group[0]!.offset;
    const end = Math.max(...group.map((wait) => wait.offset + wait.length));
    const nobody = new AbortController();
    let waiting = group.length;
    const leave = () => --waiting === 0 && nobody.abort();
    for (const { signal } of group) {
      if (signal?.aborted) leave();
      else signal?.addEventListener("abort", leave);
    }
    try {
      const bytes = await this.#client.range(
        start,
        end - start,
        AbortSignal.any([nobody.signal, this.#closed.signal]),
      );
      for (const { offset, length, resolve } of group) {
        const from = offset - start;
        // A copy, so that a range that is kept does not keep the others.
        const part = group.length === 1
          ? bytes
          : bytes.slice(from, from + length);
        this.#kept.add(offset, part);
        resolve(part);
      }
    } catch (error) {
      for (const { signal, reject } of group) {
        reject(signal?.aborted ? signal.reason : error);
      }
    } finally {
      for (const { signal } of group) {
        signal?.removeEventListener("abort", leave);
      }
    }
  }
}

/** Ranges that were read, within a bound: the one used last goes last. */
class RangeCache {
  readonly #maxBytes: number;
  readonly #ranges = new Map<string, Uint8Array<ArrayBuffer>>();
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get(offset: number, length: number): Uint8Array<ArrayBuffer> | undefined {
    const key = `${offset}+${length}`;
    const bytes = this.#ranges.get(key);
    if (bytes !== undefined) {
      this.#ranges.delete(key);
      this.#ranges.set(key, bytes);
    }
    return bytes;
  }

  add(offset: number, bytes: Uint8Array<ArrayBuffer>): void {
    const key = `${offset}+${bytes.length}`;
    if (bytes.length > this.#maxBytes || this.#ranges.has(key)) return;
    this.#ranges.set(key, bytes);
    this.#bytes += bytes.length;
    for (const [oldest, { length }] of this.#ranges) {
      if (this.#bytes <= this.#maxBytes) break;
      this.#ranges.delete(oldest);
      this.#bytes -= length;
    }
  }
}

/** A file of a server without ranges: downloaded, and gone when closed. */
async function downloaded(
  url: string,
  client: Client,
  signal: AbortSignal | undefined,
): Promise<ByteSource> {
  const path = await Deno.makeTempFile({ prefix: "zoomin-" });
  try {
    await client.download(path, signal);
  } catch (error) {
    await Deno.remove(path);
    throw error;
  }
  return await temporaryFile(path, {
    name: url,
    traffic: client.traffic,
    warnings: ["the server gives no byte ranges: downloaded whole"],
  });
}
