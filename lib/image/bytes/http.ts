/**
 * The bytes of a file on a web server, read by range requests (RFC 9110,
 * section 14): only requested bytes, neighbouring ranges coalesced.
 *
 * @module
 */
import { LRUCache } from "lru-cache";
import { ImageError } from "../../errors.ts";
import { cloudAddress, environment, httpUrl } from "./cloud.ts";
import { signerOf } from "./credentials.ts";
import { withSignal } from "./with_signal.ts";
import { temporaryFile } from "./file.ts";
import {
  type Fetch,
  type Head,
  HttpClient,
  type HttpLimits,
  LIMITS,
} from "./http_client.ts";
import { signedFetch } from "./signed_fetch.ts";
import type { ByteSource, Traffic } from "./source.ts";

// Ranges this close are coalesced into one request that includes the gap: on a
// fast line its bytes take less time than another request.
const GAP_BYTES = 2 ** 14;
const MERGED_BYTES = 2 ** 22;

// As in browsers.
const REQUESTS_AT_A_TIME = 6;

/**
 * Opens the file at `url` (http, https, s3, gs or az). Objects of clouds are
 * fetched with the credentials of the environment, if there are any.
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
  const client = new HttpClient(
    addressOf(url),
    { ...LIMITS, ...limits },
    fetchOf(url, fetchUrl),
  );
  const head = await client.first(signal);
  return head.size === undefined
    ? await downloaded(url, client, signal)
    : new HttpSource(url, client, { ...head, size: head.size });
}

/**
 * The http form of `url`.
 *
 * @throws {ImageError} If the environment does not say where it is.
 */
export function addressOf(url: string): string {
  const address = httpUrl(url);
  if (/^https?:/i.test(address) && URL.canParse(address)) return address;
  throw new ImageError(
    /^az:/i.test(address)
      ? "its account is not known: set AZURE_STORAGE_ACCOUNT or AZURE_STORAGE_CONNECTION_STRING"
      : "it is not a valid URL: write s3://BUCKET/KEY, gs://BUCKET/KEY, az://CONTAINER/KEY or https://HOST/PATH, and an endpoint of the environment with its https://",
  );
}

/** `fetchUrl`, which signs what it may of the files at and under `url`. */
export function fetchOf(url: string, fetchUrl: Fetch): Fetch {
  const object = cloudAddress(url);
  if (object === undefined) return fetchUrl;
  const isOwn = fetchUrl === fetch;
  const maySign = fetchUrl.maySign?.(url) ?? isOwn;
  const { service } = object;
  return signedFetch(fetchUrl, httpUrl(url), {
    service,
    signer: maySign ? signerOf(service, environment) : undefined,
    isOwn,
  });
}

/** A requested range. */
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
  readonly #client: HttpClient;
  readonly #head: Uint8Array<ArrayBuffer>;
  readonly #kept: LRUCache<string, Uint8Array<ArrayBuffer>>; // by rangeKey
  readonly #closed = new AbortController();
  readonly #pending = new Map<string, Promise<Uint8Array<ArrayBuffer>>>();
  #waiting: Wait[] = [];
  #groups: Wait[][] = [];
  #active = 0;

  constructor(name: string, client: HttpClient, head: Head & { size: number }) {
    const version = head.version ?? crypto.randomUUID();
    this.name = name;
    this.identity = `${name}|${head.size}|${version}`;
    this.size = head.size;
    this.#client = client;
    this.#head = head.bytes;
    this.#kept = new LRUCache({
      maxSize: client.limits.cacheBytes,
      sizeCalculation: ({ length }) => length,
    });
  }

  get traffic(): Readonly<Traffic> {
    return this.#client.traffic;
  }

  /** A longer prefetch would evict ranges that have not been read yet. */
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
    const key = rangeKey(offset, wanted);
    const kept = this.#kept.get(key);
    if (kept !== undefined) return kept;
    const pending = this.#pending.get(key);
    if (pending !== undefined) {
      try {
        return await withSignal(pending, signal);
      } catch {
        signal?.throwIfAborted(); // else another caller aborted: request it again
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

  /** Queues a range; the next turn of the event loop fetches the queue. */
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

  /** Coalesces the queued ranges. */
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

  /** Fetches coalesced ranges; aborts once nobody waits for them. */
  async #fetch(group: readonly Wait[]): Promise<void> {
    const start = group[0]!.offset;
    const end = Math.max(...group.map((wait) => wait.offset + wait.length));
    const nobody = new AbortController();
    let waiting = group.length;
    // One function per wait: a signal calls the same listener only once.
    const leaves = group.map(({ signal }) => {
      const leave = () => --waiting === 0 && nobody.abort();
      if (signal?.aborted) leave();
      else signal?.addEventListener("abort", leave);
      return leave;
    });
    try {
      const bytes = await this.#client.range(
        start,
        end - start,
        AbortSignal.any([nobody.signal, this.#closed.signal]),
      );
      for (const { offset, length, resolve } of group) {
        const from = offset - start;
        // A copy, so that a cached range does not retain the whole response.
        const part = group.length === 1
          ? bytes
          : bytes.slice(from, from + length);
        this.#kept.set(rangeKey(offset, length), part);
        resolve(part);
      }
    } catch (error) {
      for (const { signal, reject } of group) {
        reject(signal?.aborted ? signal.reason : error);
      }
    } finally {
      for (const [i, { signal }] of group.entries()) {
        signal?.removeEventListener("abort", leaves[i]!);
      }
    }
  }
}

function rangeKey(offset: number, length: number): string {
  return `${offset}+${length}`;
}

/**
 * A file of a server without byte ranges: downloaded, and removed when closed.
 */
async function downloaded(
  url: string,
  client: HttpClient,
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
    warnings: ["the server does not support byte ranges: downloaded whole"],
  });
}
