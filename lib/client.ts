/**
 * A client of the server, typed by the routes themselves.
 *
 *     const client = new Client("http://127.0.0.1:8000");
 *     const { label } = await client.classify(await Deno.readFile("a.png"));
 *     const response = await client.api.v1.train.$post({ json: { ... } });
 *     const job = await client.ended((await response.json()).id);
 *
 * @module
 */
import { setTimeout as pause } from "node:timers/promises";
import { hc } from "hono/client";
import type { App } from "../routes/app.ts";
import type {
  Classification,
  ClassifyByName,
  Failure,
  Job,
  TextOptions,
} from "./serve/schemas.ts";

export type { Classification, Failure, Job } from "./serve/schemas.ts";

/** How to reach a server. */
export interface ClientOptions {
  /** What the server's `--token-file` holds. */
  token?: string;
}

/** How to classify; the configuration's own values where left out. */
export type ClassifyOptions = Omit<ClassifyByName, "uri" | "path"> & {
  signal?: AbortSignal;
};

/** An image: its bytes, or where the server finds it. */
export type ImageInput =
  | Uint8Array<ArrayBuffer>
  | Blob
  | { path: string }
  | { uri: string };

// A server that stops ends each stream at once.
const LISTEN_AGAIN_MS = 200;

/** The server refused, or failed. */
export class ServerError extends Error {
  override name = "ServerError";
  readonly status: number;
  /** What part of the request is wrong. */
  readonly field: string | undefined;
  /** How the server's log calls the request. */
  readonly requestId: string;

  constructor(status: number, { error, field, requestId }: Failure) {
    super(error);
    this.status = status;
    this.field = field;
    this.requestId = requestId;
  }
}

/** A server. */
export class Client {
  /** Every route with a JSON body or none, by its path. */
  readonly api: ReturnType<typeof hc<App>>;
  readonly #url: string;
  readonly #headers: Record<string, string>;

  constructor(url: string, { token }: ClientOptions = {}) {
    this.#url = url.replace(/\/$/, "");
    this.#headers = token === undefined
      ? {}
      : { authorization: `Bearer ${token}` };
    this.api = hc<App>(this.#url, { headers: this.#headers });
  }

  /**
   * Classifies an image and waits for the answer.
   *
   * @throws {ServerError} If the server refuses, or makes a job of it: a file
   *   that large is for {@linkcode classifyLater}.
   */
  async classify(
    image: ImageInput,
    options: ClassifyOptions = {},
  ): Promise<Classification> {
    const response = await this.#classify(image, options, {});
    if (response.status === 202) {
      const { id } = await response.json() as Job;
      throw new ServerError(202, {
        error: `The image is large: its job is ${id}`,
        requestId: response.headers.get("x-request-id") ?? "",
      });
    }
    return await response.json() as Classification;
  }

  /** Accepts an image as a job. @throws {ServerError} */
  async classifyLater(
    image: ImageInput,
    options: ClassifyOptions = {},
  ): Promise<Job> {
    const headers = { prefer: "respond-async" };
    const response = await this.#classify(image, options, headers);
    return await response.json() as Job;
  }

  /** A job as it goes on, until it ends. @throws {ServerError} */
  async *events(id: string, signal?: AbortSignal): AsyncGenerator<Job> {
    const response = await this.#fetch(`/v1/jobs/${id}/events`, {
      ...(signal && { signal }),
    });
    let text = "";
    const body = response.body!.pipeThrough(new TextDecoderStream());
    for await (const part of body) {
      const blocks = (text + part).split("\n\n");
      text = blocks.pop()!;
      for (const block of blocks) {
        const data = /^data: (.*)$/m.exec(block)?.[1];
        if (data !== undefined) yield JSON.parse(data) as Job;
      }
    }
  }

  /** Waits until a job ends; a server that stops ends its streams before. */
  async ended(id: string, signal?: AbortSignal): Promise<Job> {
    for (;;) {
      for await (const job of this.events(id, signal)) {
        if (job.finishedAt !== null) return job;
      }
      await pause(LISTEN_AGAIN_MS, undefined, { ...(signal && { signal }) });
    }
  }

  /** What a job that classified came to. @throws {ServerError} */
  async result(id: string): Promise<Classification> {
    const response = await this.#fetch(`/v1/jobs/${id}/result`);
    return await response.json() as Classification;
  }

  async #classify(
    image: ImageInput,
    { signal, ...options }: ClassifyOptions,
    headers: Record<string, string>,
  ): Promise<Response> {
    const init = { method: "POST", ...(signal && { signal }) };
    if (!(image instanceof Uint8Array) && !(image instanceof Blob)) {
      return await this.#fetch("/v1/classify", {
        ...init,
        headers: { "content-type": "application/json", ...headers },
        body: JSON.stringify({ ...image, ...options }),
      });
    }
    const query = new URLSearchParams(
      Object.entries(options satisfies TextOptions)
        .filter(([, value]) => value !== undefined) // as JSON leaves it out
        .map(([name, value]) => [name, String(value)]),
    );
    return await this.#fetch(`/v1/classify?${query}`, {
      ...init,
      headers: { "content-type": "application/octet-stream", ...headers },
      body: image,
    });
  }

  async #fetch(path: string, init: RequestInit = {}): Promise<Response> {
    const response = await fetch(this.#url + path, {
      ...init,
      headers: { ...this.#headers, ...init.headers as Record<string, string> },
    });
    if (response.ok) return response;
    throw new ServerError(response.status, await failureOf(response));
  }
}

/** What a server says of a failure; a proxy before it says it in its own way. */
async function failureOf(response: Response): Promise<Failure> {
  const { status, statusText, headers } = response;
  try {
    return await response.json() as Failure;
  } catch {
    return {
      error: `The server answers ${status} ${statusText}`.trim(),
      requestId: headers.get("x-request-id") ?? "",
    };
  }
}
