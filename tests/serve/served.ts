/**
 * The server as its users meet it: a process of its own with the permissions
 * of its task, over a real port.
 *
 * @module
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { serveHttp } from "../../lib/serve/http/server.ts";
import { DEFAULT_LIMITS } from "../../lib/serve/limits.ts";
import {
  type Server,
  type ServerOptions,
  startServer,
} from "../../lib/serve/server.ts";
import { createApp } from "../../routes/app.ts";
import { drawAndTrain, SMALL, start } from "../commands/process.ts";
import { within } from "../waiting.ts";

/** A server that listens. */
export interface Served extends AsyncDisposable {
  url: string;
  process: Deno.ChildProcess;
  /** Log lines so far. */
  readonly log: readonly Record<string, unknown>[];
  /** Everything it has written to stderr so far. */
  readonly stderr: string;
  /** Asks it to stop and waits for its end. */
  stop(): Promise<Deno.CommandStatus>;
  /** Ends it as a power cut does. */
  kill(): Promise<void>;
}

/** Starts `deno task serve` in `folder` on a free port of loopback. */
export async function serve(
  folder: string,
  ...argv: string[]
): Promise<Served> {
  return await listening(start(
    folder,
    ...["serve", "--port", "0", "--backend", "wasm", ...argv],
  ));
}

/** Waits until a server that was started listens. */
export async function listening(process: Deno.ChildProcess): Promise<Served> {
  let stderr = "";
  const logged = process.stderr.pipeThrough(new TextDecoderStream())
    .pipeTo(
      new WritableStream({
        write(text) {
          stderr += text;
        },
      }),
    );
  const url = await within("the server starts", addressIn(process.stdout));
  if (url === undefined) {
    await logged;
    throw new Error(`The server did not start: ${stderr}`);
  }
  const end = async (signal: Deno.Signal) => {
    try {
      process.kill(signal);
    } catch { // it has ended
    }
    const status = await within("the server ends", process.status);
    await logged;
    return status;
  };
  return {
    url,
    process,
    get stderr() {
      return stderr;
    },
    get log() {
      return stderr.split("\n").slice(0, -1) // the last is not whole yet
        .filter((line) => line.startsWith("{"))
        .map((line) => JSON.parse(line));
    },
    stop: () => end("SIGTERM"),
    async kill() {
      await end("SIGKILL");
    },
    async [Symbol.asyncDispose]() {
      await end("SIGTERM");
    },
  };
}

/** The first line that is an address; the log may be among them. */
async function addressIn(
  stdout: ReadableStream<Uint8Array>,
): Promise<string | undefined> {
  let text = "";
  for await (const chunk of stdout.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    const address = /^http\S+(?=\n)/m.exec(text)?.[0];
    if (address !== undefined) return address;
  }
  return undefined;
}

/** A server of FOLDER's models in this process, over a real port. */
export async function withServer(
  folder: string,
  options: Partial<ServerOptions>,
  test: (url: string, server: Server) => Promise<void>,
): Promise<void> {
  const server = await startServer({
    models: join(folder, "models"),
    dataRoots: [join(folder, "set")],
    allowedHosts: [],
    backend: "wasm",
    workers: 1,
    limits: DEFAULT_LIMITS,
    log() {},
    ...options,
  });
  const http = await serveHttp(createApp(server).fetch, {
    hostname: "127.0.0.1",
    port: 0,
    limits: { ...server.limits, stallMs: server.limits.pace.stallMs },
    onError(error) {
      throw error;
    },
    onReopened() {},
  });
  try {
    await test(`http://127.0.0.1:${http.port}`, server);
  } finally {
    await server.drain();
    await http.shutdown();
    server.close();
  }
}

/** Draws a set into FOLDER/set and a model into FOLDER/models/first. */
export async function drawModels(folder: string): Promise<void> {
  await drawAndTrain(folder);
  await Deno.mkdir(join(folder, "models"));
  await Deno.rename(join(folder, "run"), join(folder, "models", "first"));
}

/** A server for all tests of a file, with a model and a set to classify. */
export function serverOfFile(...argv: string[]): {
  readonly served: Served;
  readonly folder: string;
  readonly url: string;
} {
  let served: Served;
  const folder = Deno.makeTempDirSync({ prefix: "zoomin-" });
  Deno.test.beforeAll(async () => {
    await drawModels(folder);
    served = await serve(
      folder,
      ...["--models", "models", "--data-root", "set", ...argv],
    );
  });
  Deno.test.afterAll(async () => {
    await served?.stop();
    await Deno.remove(folder, { recursive: true });
    // Whatever the tests sent, it was foreseen.
    const bugs = served?.log.filter(({ event }) => event === "bug");
    assert.deepEqual(bugs, []);
  });
  return {
    folder,
    get served() {
      return served;
    },
    get url() {
      return served.url;
    },
  };
}

/** An image of the set, as bytes. */
export async function imageOf(
  folder: string,
  name = "test_00000.png",
): Promise<Uint8Array<ArrayBuffer>> {
  return await Deno.readFile(join(folder, "set", "images", name));
}

/** Files that were uploaded into `folder` and are still there. */
export async function filesIn(folder: string): Promise<string[]> {
  const files: string[] = [];
  for await (const { name } of Deno.readDir(folder)) {
    for await (const file of Deno.readDir(join(folder, name))) {
      if (file.name !== ".lock") files.push(join(name, file.name));
    }
  }
  return files;
}

/** Settings with which an epoch takes a third of a second, as JSON. */
export const SMALL_SETTINGS: Record<string, unknown> = Object.fromEntries(
  SMALL.filter((word) => word.includes("=")).map((word) => {
    const [key, value] = word.split("=") as [string, string];
    return [key, key.endsWith("draws") ? value : JSON.parse(value)];
  }),
);

/** Posts JSON. */
export function post(
  url: string,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<Response> {
  return fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify(body),
  });
}

/** Body of a failed request. */
export interface Failure {
  error: string;
  field?: string;
  requestId: string;
}

/** Checks that a request failed with `status`, and how it was told. */
export async function assertRefused(
  response: Response,
  expected: { status: number; error?: RegExp; field?: string },
): Promise<Failure> {
  const failure = await response.json() as Failure;
  assert.equal(response.status, expected.status, JSON.stringify(failure));
  assert.match(failure.error, expected.error ?? /./);
  assert.equal(failure.field, expected.field);
  assert.equal(failure.requestId, response.headers.get("x-request-id"));
  return failure;
}

/** JSON document of a job. */
export interface JobDocument {
  id: string;
  kind: string;
  state: string;
  progress: Record<string, number> | null;
  attempts: number;
  error: string | null;
  links: Record<string, string>;
}

// Far more than the longest takes on a busy machine.
const LONGEST_JOB_MS = 120_000;

/** Waits until a job ends, and returns it. */
export async function ended(
  url: string,
  id: string,
  mostMs = LONGEST_JOB_MS,
): Promise<JobDocument> {
  return await until(
    url,
    id,
    ({ state }) => ["succeeded", "failed", "cancelled"].includes(state),
    mostMs,
  );
}

/** Waits until a job is as it should be, and returns it. */
export async function until(
  url: string,
  id: string,
  isThere: (job: JobDocument) => boolean,
  mostMs = LONGEST_JOB_MS,
): Promise<JobDocument> {
  const deadline = performance.now() + mostMs;
  for (;;) {
    const response = await fetch(`${url}/v1/jobs/${id}`);
    const job = await response.json() as JobDocument;
    assert.equal(response.status, 200, JSON.stringify(job));
    if (isThere(job)) return job;
    assert.ok(performance.now() < deadline, JSON.stringify(job));
    await new Promise((done) => setTimeout(done, 50));
  }
}
