/**
 * Requests to a web server for many small objects: counted, a few at a time,
 * retried after transient failures, and bounded in size.
 *
 * @module
 */
import { ImageSourceError } from "../../errors.ts";
import { contentLength } from "./content_range.ts";
import { type Fetch, refusal } from "./http_client.ts";
import { PassingError, type Patience, patiently } from "./retry.ts";
import type { Traffic } from "./source.ts";

/** An answer, whole. */
export interface WebAnswer {
  status: number;
  headers: Headers;
  bytes: Uint8Array<ArrayBuffer>;
}

/** A request. */
export interface WebRequest {
  headers?: Record<string, string>;
  /** Largest body that is taken. */
  maxBytes: number;
  signal?: AbortSignal | undefined;
}

// As in browsers.
const REQUESTS_AT_A_TIME = 6;

/** Makes the requests. */
export class WebRequests {
  readonly traffic: Traffic = { bytes: 0, requests: 0 };
  readonly #fetchUrl: Fetch;
  readonly #patience: Patience;
  readonly #waiting: (() => void)[] = [];
  #active = 0;

  constructor(fetchUrl: Fetch, patience: Patience) {
    this.#fetchUrl = fetchUrl;
    this.#patience = patience;
  }

  /**
   * The object at `url`; undefined if there is none.
   *
   * @throws {ImageError} With the reason only.
   */
  async get(
    url: string,
    { headers = {}, maxBytes, signal }: WebRequest,
  ): Promise<WebAnswer | undefined> {
    if (this.#active === REQUESTS_AT_A_TIME) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    } else this.#active++;
    try {
      return await patiently(
        { ...this.#patience, signal },
        async (signal, alive) => {
          this.traffic.requests++;
          const response = await this.#fetchUrl(url, {
            headers: { "accept-encoding": "identity", ...headers },
            signal,
          });
          if (response.status === 404) {
            await response.body?.cancel();
            return undefined;
          }
          return await this.#answer(response, maxBytes, alive);
        },
      );
    } finally {
      const next = this.#waiting.shift(); // takes the place
      if (next) next();
      else this.#active--;
    }
  }

  async #answer(
    response: Response,
    maxBytes: number,
    alive: () => void,
  ): Promise<WebAnswer> {
    const { status, headers } = response;
    if (status !== 200 && status !== 206) {
      await response.body?.cancel();
      const mayPass = status === 408 || status === 429 || status >= 500;
      const error = refusal(response);
      throw mayPass ? new PassingError(error.message) : error;
    }
    const length = contentLength(headers);
    if (length !== undefined && length > maxBytes) {
      await response.body?.cancel();
      throw tooLong(maxBytes);
    }
    const parts: Uint8Array[] = [];
    let size = 0;
    for await (const part of response.body ?? []) {
      alive();
      this.traffic.bytes += part.length;
      size += part.length;
      if (size > maxBytes) throw tooLong(maxBytes); // this cancels the rest
      parts.push(part);
    }
    if (length !== undefined && size !== length) {
      throw new PassingError(`the server sent ${size} of ${length} bytes`);
    }
    return { status, headers, bytes: joined(parts, size) };
  }
}

function tooLong(maxBytes: number): ImageSourceError {
  return new ImageSourceError(
    `the server sends more than the ${maxBytes} bytes that such an object may have`,
  );
}

function joined(
  parts: readonly Uint8Array[],
  size: number,
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
