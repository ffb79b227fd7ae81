/**
 * Requests to the server that serves this page, with its token if it asks for
 * one.
 *
 * @module
 */
import { element } from "./dom.ts";
import type { Failure } from "../lib/serve/documents.ts";

const KEY = "zoomin-token"; // in the storage of this tab alone

/** A request was refused; the message is written for the reader. */
export class Refusal extends Error {
  readonly status: number;
  readonly field: string | undefined;

  constructor(status: number, { error, field }: Partial<Failure>) {
    super(error ?? `The server answered ${status}`);
    this.status = status;
    this.field = field;
  }
}

/** The server, as this page asks it. */
export class Api {
  readonly #onTokenWanted: () => void;

  /** @param onTokenWanted called if a request is refused for its token. */
  constructor(onTokenWanted: () => void) {
    this.#onTokenWanted = onTokenWanted;
  }

  set token(token: string) {
    sessionStorage.setItem(KEY, token);
  }

  /** Headers of every request. */
  get headers(): Record<string, string> {
    const token = sessionStorage.getItem(KEY);
    return token ? { authorization: `Bearer ${token}` } : {};
  }

  /**
   * Sends a request.
   *
   * @throws {Refusal}
   */
  async send(path: string, init: RequestInit = {}): Promise<Response> {
    const headers = { ...this.headers, ...init.headers as object };
    const response = await fetch(path, { ...init, headers })
      .catch((error: Error) => {
        if (error.name === "AbortError") throw error;
        throw new Refusal(0, {
          error: "The server does not answer: check that it runs",
        });
      });
    if (response.ok) return response;
    if (response.status === 401) this.#onTokenWanted();
    const failure = await response.json().catch(() => ({}));
    throw new Refusal(response.status, failure);
  }

  /** Gets a JSON document. */
  async get<Document>(path: string, signal?: AbortSignal): Promise<Document> {
    const response = await this.send(path, { signal: signal ?? null });
    return await response.json();
  }

  /** Posts JSON, or puts it. */
  async post(
    path: string,
    body: unknown,
    { method = "POST", headers, signal }: {
      method?: "POST" | "PUT";
      headers?: Record<string, string>;
      signal?: AbortSignal;
    } = {},
  ): Promise<Response> {
    return await this.send(path, {
      method,
      headers: { "content-type": "application/json", ...headers },
      body: JSON.stringify(body),
      signal: signal ?? null,
    });
  }

  /** Saves an answer as a file: a link cannot send the token. */
  async download(path: string, name: string): Promise<void> {
    const response = await this.send(path);
    const href = URL.createObjectURL(await response.blob());
    element("a", { href, download: name }).click();
    URL.revokeObjectURL(href);
  }

  /** A picture as the address of a blob; revoke it when done. */
  async picture(path: string, signal: AbortSignal): Promise<string> {
    const response = await this.send(path, { signal });
    return URL.createObjectURL(await response.blob());
  }
}

/** The error in words; "" if the request was given up. */
export function wordsOf(error: unknown): string {
  const { name, message } = error as Error;
  return name === "AbortError" ? "" : message;
}
