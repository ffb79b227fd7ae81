/**
 * Damaged HTTP requests to a real server.
 *
 * @module
 */
import { join } from "node:path";
import type { RandomStream } from "../../kernels/random.ts";
import { startEngine } from "../../lib/engine/select.ts";
import { encodePng } from "../../lib/image/formats/png.ts";
import { writeCheckpoint } from "../../lib/model/checkpoint.ts";
import { disposeParameters } from "../../lib/model/parameters.ts";
import { DEFAULT_LIMITS } from "../../lib/serve/limits.ts";
import { toyModel } from "../model/toy.ts";
import { withServer } from "../serve/served.ts";
import { damagedText, textOf } from "./mutate.ts";
import type { Target } from "./target.ts";

const WAIT_MS = 2000; // for an answer, then the connection is closed

// Of a server that drops slow and unfinished requests soon.
const LIMITS = {
  ...DEFAULT_LIMITS,
  pace: { stallMs: 300, leastBytesPerSecond: 1000 },
  timeoutMs: 10_000,
};

const json = (method: string, path: string, body: unknown) => {
  const text = JSON.stringify(body);
  return `${method} ${path} HTTP/1.1\r\nHost: localhost\r\n` +
    `Content-Type: application/json\r\nContent-Length: ${text.length}\r\n` +
    `Connection: close\r\n\r\n${text}`;
};

const get = (path: string) =>
  `GET ${path} HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\nConnection: close\r\n\r\n`;

const form = '--x\r\ncontent-disposition: form-data; name="seed"\r\n\r\n3\r\n' +
  '--x\r\ncontent-disposition: form-data; name="file"; filename="a.png"\r\n\r\n' +
  "not an image\r\n--x--\r\n";

const SEEDS = [
  json("POST", "/v1/classify", { path: "a.png", seed: 1, samples: 3 }),
  json("POST", "/v1/classify", { uri: "https://example.org/a.tif", seed: 0 }),
  json("POST", "/v1/batch", { manifest: "set.csv", model: "first", seed: 1 }),
  json("POST", "/v1/train", {
    name: "new",
    manifest: "set.csv",
    preset: "needle",
    seed: 1,
    settings: { "training.epochs": 0 },
  }),
  json("POST", "/v2/models/first/infer", {
    id: "1",
    inputs: [{ name: "image", shape: [1], datatype: "BYTES", data: ["aaaa"] }],
    outputs: [{ name: "probabilities" }],
  }),
  "POST /v1/classify?seed=1&model=first HTTP/1.1\r\nHost: localhost\r\n" +
  "Content-Type: application/octet-stream\r\nContent-Length: 12\r\n" +
  "Connection: close\r\nPrefer: respond-async\r\n\r\nnot an image",
  "POST /v1/classify HTTP/1.1\r\nHost: localhost\r\n" +
  "Content-Type: multipart/form-data; boundary=x\r\n" +
  `Content-Length: ${form.length}\r\nConnection: close\r\n` +
  `Idempotency-Key: key\r\n\r\n${form}`,
  get("/v1/jobs?state=queued&limit=10"),
  get("/v1/jobs/00000000-0000-0000-0000-000000000000/result"),
  get("/v1/models/first"),
  get("/v2/models/first/versions/1"),
  get("/openapi.json"),
  json("POST", "/v1/models/first/load", {}),
  get("/metrics"),
  get("/docs"),
  json("PUT", "/v1/models/default", { name: "first" }),
];

/** Requests, from their first byte to an answer that is none of a fault. */
export const requests: Target = {
  name: "requests",
  async open(folder) {
    await prepare(folder);
    const bugs: unknown[] = [];
    const ready = Promise.withResolvers<string>();
    const done = Promise.withResolvers<void>();
    const served = withServer(folder, {
      limits: LIMITS,
      log: (_, event, fields) => event === "bug" && bugs.push(fields),
    }, (url) => {
      ready.resolve(url);
      return done.promise;
    });
    served.catch(ready.reject);
    const url = new URL(await ready.promise);
    return {
      input: (random: RandomStream) => damagedText(SEEDS, random),
      async run(input) {
        const answer = await answerTo(url, input);
        const status = Number(/^HTTP\/1.1 (\d+)/.exec(answer)?.[1] ?? 0);
        const isFault = status >= 500 && ![503, 504].includes(status);
        if (bugs.length > 0 || isFault) {
          throw new Error(
            `${answer.slice(0, 500)} ${JSON.stringify(bugs.splice(0))}`,
          );
        }
        const health = await fetch(new URL("/livez", url));
        await health.body?.cancel();
        if (!health.ok) {
          throw new Error(`The server has status ${health.status}`);
        }
      },
      async [Symbol.asyncDispose]() {
        done.resolve();
        await served;
      },
    };
  },
};

/** Files of a server: a model, and a set of one image. */
async function prepare(folder: string): Promise<void> {
  await startEngine("wasm");
  for (const name of ["models", "set"]) await Deno.mkdir(join(folder, name));
  const model = toyModel();
  await writeCheckpoint(join(folder, "models", "first.safetensors"), {
    model,
    epoch: 1,
    seed: 1,
    metrics: {},
    trainer: null,
    trainerTensors: new Map(),
  });
  disposeParameters(model.parameters);
  const pixels = { data: new Uint8Array(64 * 64 * 4), width: 64, height: 64 };
  const png = await encodePng(pixels);
  await Deno.writeFile(join(folder, "set", "a.png"), png);
  await Deno.writeTextFile(
    join(folder, "set", "set.csv"),
    "image,label\na.png,negative\n",
  );
}

/** Sends bytes as they are, and returns what comes back within a while. */
async function answerTo(
  { hostname, port }: URL,
  input: Uint8Array,
): Promise<string> {
  using connection = await Deno.connect({ hostname, port: Number(port) });
  const parts: Uint8Array[] = [];
  const timer = setTimeout(
    () => connection.closeWrite().catch(() => {}),
    WAIT_MS,
  );
  const late = setTimeout(() => connection.close(), 4 * WAIT_MS);
  try {
    const writer = connection.writable.getWriter();
    await writer.write(input);
    for await (const part of connection.readable) parts.push(part);
  } catch { // whoever answers may close at any time
  } finally {
    clearTimeout(timer);
    clearTimeout(late);
  }
  return parts.map(textOf).join("");
}
