/**
 * A client of the server, typed by the routes themselves.
 *
 * @example Classify an image, then train a model and wait for it
 * ```ts
 * import { Client } from "@zoomin/zoomin/client";
 *
 * const client = new Client("http://127.0.0.1:8000");
 * const { label } = await client.classify(await Deno.readFile("a.png"));
 * const response = await client.api.v1.train.$post({
 *   header: {},
 *   json: { data: "manifest.csv", name: "second", preset: "needle" },
 * });
 * const job = await response.json();
 * if ("id" in job) console.log(label, (await client.ended(job.id)).state);
 * ```
 *
 * @module
 */
import { setTimeout as pause } from "node:timers/promises";
import { hc } from "hono/client";
import type { App } from "../routes/app.ts";
import type {
  ClassificationDocument as Classification,
  Failure,
  JobDocument as Job,
} from "./serve/documents.ts";
import type { ClassifyByName, ClassifyQuery } from "./serve/schemas.ts";

export type {
  ClassificationDocument as Classification,
  Failure,
  GeoreferenceDocument as Georeference,
  ImageDocument as ImageFacts,
  JobDocument as Job,
  MapDocument as HeatMap,
  MapsDocument as HeatMaps,
  ModelDocument as ModelVersion,
  RegionDocument as Region,
  SubTileDocument as SubTile,
  TileDocument as Tile,
} from "./serve/documents.ts";

/** Options of a {@linkcode Client}. */
export interface ClientOptions {
  /** The token in the server's `--token-file`. */
  token?: string;
}

/** Options of a classification; the configuration's values if omitted. */
export interface ClassifyOptions {
  /** Name of the model; the server's default if omitted. */
  model?: string | undefined;
  /** Number of sub-tiles to read. */
  samples?: number | undefined;
  /** Draw at random by the seed, or take the N of highest attention. */
  draws?: "seeded" | "topN" | undefined;
  /** Seed of the draws; 0 if omitted. */
  seed?: number | undefined;
  /** Micrometres per px, in place of the file's value. */
  mpp?: number | undefined;
  /** Also returns the heat maps of each stage. */
  maps?: boolean | undefined;
  /** Aborts the request. */
  signal?: AbortSignal;
}

/** An image: its bytes, a path in the server's data folders, or a URL. */
export type ImageInput =
  | Uint8Array<ArrayBuffer>
  | Blob
  | { path: string }
  | { uri: string };

/**
 * The typed client of Hono.
 *
 * @internal
 */
type Api = ReturnType<typeof hc<App>>;

// Delay before a new stream: a server that stops ends each stream at once.
const LISTEN_AGAIN_MS = 200;

/** The server refused the request or failed. */
export class ServerError extends Error {
  /** Name of the class. */
  override name = "ServerError";
  /** HTTP status. */
  readonly status: number;
  /** The faulty part of the request, if the server names one. */
  readonly field: string | undefined;
  /** Id of the request in the server's log. */
  readonly requestId: string;

  /** Makes an error of a failed response's status and body. */
  constructor(status: number, { error, field, requestId }: Failure) {
    super(error);
    this.status = status;
    this.field = field;
    this.requestId = requestId;
  }
}

/**
 * A client of one server.
 *
 * @example
 * ```ts
 * import { Client } from "@zoomin/zoomin/client";
 *
 * const client = new Client("https://zoomin.example.org", {
 *   token: Deno.env.get("ZOOMIN_TOKEN")!,
 * });
 * ```
 */
export class Client {
  /** Every route with a JSON body or none, by its path. */
  readonly api: Api;
  readonly #url: string;
  readonly #headers: Record<string, string>;

  /**
   * Makes a client; it connects with the first request.
   *
   * @param url address of the server, such as `http://127.0.0.1:8000`.
   */
  constructor(url: string, { token }: ClientOptions = {}) {
    this.#url = url.replace(/\/$/, "");
    this.#headers = token === undefined
      ? {}
      : { authorization: `Bearer ${token}` };
    this.api = hc<App>(this.#url, { headers: this.#headers });
  }

  /**
   * Classifies an image and waits for the result.
   *
   * @throws {ServerError} If the server refuses, or turns the request into a
   *   job: for a large file use {@linkcode classifyLater}.
   *
   * @example
   * ```ts
   * import { Client } from "@zoomin/zoomin/client";
   *
   * const client = new Client("http://127.0.0.1:8000");
   * const { label, probabilities } = await client.classify(
   *   { path: "images/test_00000.png" },
   *   { samples: 40, seed: 1 },
   * );
   * console.log(label, probabilities);
   * ```
   */
  async classify(
    image: ImageInput,
    options: ClassifyOptions = {},
  ): Promise<Classification> {
    const response = await this.#post(image, options, {});
    if (response.status === 202) {
      const { id } = await response.json() as Job;
      throw new ServerError(202, {
        error: `The image is large: its result will be that of job ${id}`,
        requestId: response.headers.get("x-request-id") ?? "",
      });
    }
    return await response.json() as Classification;
  }

  /**
   * Accepts an image as a job, without waiting for the result.
   *
   * @throws {ServerError} If the server refuses.
   *
   * @example
   * ```ts
   * import { Client } from "@zoomin/zoomin/client";
   *
   * const client = new Client("http://127.0.0.1:8000");
   * const { id } = await client.classifyLater({ path: "cohort/a.tif" });
   * await client.ended(id);
   * console.log((await client.result(id)).label);
   * ```
   */
  async classifyLater(
    image: ImageInput,
    options: ClassifyOptions = {},
  ): Promise<Job> {
    const headers = { prefer: "respond-async" };
    const response = await this.#post(image, options, headers);
    return await response.json() as Job;
  }

  /**
   * Streams the changes of a job until it ends.
   *
   * @throws {ServerError} If there is no such job.
   *
   * @example
   * ```ts
   * import { Client } from "@zoomin/zoomin/client";
   *
   * const client = new Client("http://127.0.0.1:8000");
   * for await (const { state, progress } of client.events(Deno.args[0]!)) {
   *   console.log(state, progress);
   * }
   * ```
   */
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

  /**
   * Waits until a job ends, across restarts of the stream.
   *
   * @throws {ServerError} If there is no such job.
   *
   * @example
   * ```ts
   * import { Client } from "@zoomin/zoomin/client";
   *
   * const client = new Client("http://127.0.0.1:8000");
   * const { state, error } = await client.ended(Deno.args[0]!);
   * console.log(state, error ?? "");
   * ```
   */
  async ended(id: string, signal?: AbortSignal): Promise<Job> {
    for (;;) {
      for await (const job of this.events(id, signal)) {
        if (job.finishedAt !== null) return job;
      }
      await pause(LISTEN_AGAIN_MS, undefined, { ...(signal && { signal }) });
    }
  }

  /**
   * Reads the result of a job that classified an image.
   *
   * @throws {ServerError} If the job has not succeeded.
   *
   * @example
   * ```ts
   * import { Client } from "@zoomin/zoomin/client";
   *
   * const client = new Client("http://127.0.0.1:8000");
   * const { label, subTiles } = await client.result(Deno.args[0]!);
   * console.log(label, subTiles.length);
   * ```
   */
  async result(id: string): Promise<Classification> {
    const response = await this.#fetch(`/v1/jobs/${id}/result`);
    return await response.json() as Classification;
  }

  async #post(
    image: ImageInput,
    { signal, ...options }: ClassifyOptions,
    headers: Record<string, string>,
  ): Promise<Response> {
    const init = { method: "POST", ...(signal && { signal }) };
    if (!(image instanceof Uint8Array) && !(image instanceof Blob)) {
      const named: ClassifyByName = { ...image, ...options };
      return await this.#fetch("/v1/classify", {
        ...init,
        headers: { "content-type": "application/json", ...headers },
        body: JSON.stringify(named),
      });
    }
    const query = new URLSearchParams(
      Object.entries(options satisfies ClassifyQuery)
        .filter(([, value]) => value !== undefined) // as JSON omits it
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

/**
 * Reads the body of a failure, which a proxy may have written in another form.
 */
async function failureOf(response: Response): Promise<Failure> {
  const { status, statusText, headers } = response;
  try {
    return await response.json() as Failure;
  } catch {
    return {
      error: `The server answered ${status} ${statusText}`.trim(),
      requestId: headers.get("x-request-id") ?? "",
    };
  }
}
