/** Jobs and files after a crash, a stop and an impatient client. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { randomKey, RandomStream } from "../../kernels/random.ts";
import { folderOfFile } from "../commands/process.ts";
import {
  assertRefused,
  drawModels,
  ended,
  filesIn,
  imageOf,
  type JobDocument,
  post,
  serve,
  type Served,
  SMALL_SETTINGS,
  until,
} from "./served.ts";
import { eventually, within } from "../waiting.ts";

const folder = folderOfFile(drawModels);
const FLAGS = ["--models", "models", "--data-root", "set", "--workers", "1"];

// By hand: ZOOMIN_RESTARTS=20 deno task test tests/serve/restart_test.ts
const RESTARTS = Number(Deno.env.get("ZOOMIN_RESTARTS") ?? 3);

// Epochs of hours: such a run ends because it is stopped.
const ENDLESS = 100_000;

const PENDING = "inference_pending_requests";

async function accepted(response: Response): Promise<JobDocument> {
  const job = await response.json();
  assert.equal(response.status, 202, JSON.stringify(job));
  return job;
}

function train(
  url: string,
  name: string,
  epochs: number,
  headers: Record<string, string> = {},
): Promise<Response> {
  return post(`${url}/v1/train`, {
    data: "manifest.csv",
    name,
    preset: "needle",
    epochs,
    settings: SMALL_SETTINGS,
  }, headers);
}

Deno.test("kill -9 at any moment loses no accepted job, and repeats none", async () => {
  const random = new RandomStream(randomKey(RESTARTS));
  const ids = new Map<string, string>(); // job by key
  let served = await serve(folder, ...FLAGS);
  const image = await imageOf(folder);
  const epochs = 4 * RESTARTS;
  /** Asks under a key until there is an answer, as a careful client does. */
  const ask = async (key: string, send: () => Promise<Response>) => {
    try {
      ids.set(key, (await accepted(await send())).id);
    } catch (error) {
      // Killed, perhaps during its answer, which is then not JSON.
      if (error instanceof assert.AssertionError) throw error;
    }
  };
  const askAll = async (round: number) => {
    const { url } = served;
    const asked = [
      ask(
        "train",
        () => train(url, "survivor", epochs, { "idempotency-key": "train" }),
      ),
    ];
    for (let i = 0; i < 4; i++) {
      const key = `upload ${round}.${i}`;
      asked.push(ask(key, () =>
        fetch(`${url}/v1/classify?seed=${i}`, {
          method: "POST",
          headers: {
            "content-type": "image/png",
            prefer: "respond-async",
            "idempotency-key": key,
          },
          body: image,
        })));
    }
    const key = `batch ${round}`;
    asked.push(
      ask(
        key,
        () =>
          post(`${url}/v1/batch`, { manifest: "manifest.csv", seed: round }, {
            "idempotency-key": key,
          }),
      ),
    );
    await Promise.all(asked);
  };
  for (let round = 0; round < RESTARTS; round++) {
    const asking = askAll(round);
    // At times in the middle of accepting, at times in the middle of training.
    const ms = random.below(2) === 0 ? random.below(60) : random.below(4000);
    await new Promise((done) => setTimeout(done, ms));
    await served.kill();
    await asking;
    served = await serve(folder, ...FLAGS);
  }
  await using last = served;
  await askAll(RESTARTS);
  assert.ok(ids.size > 5, "all that the last round asked for was accepted");
  for (const [key, id] of ids) {
    const job = await ended(last.url, id, 120_000);
    assert.equal(job.state, "succeeded", `${key}: ${job.error}`);
    const result = await fetch(last.url + job.links.result!);
    const text = await result.text();
    assert.equal(result.status, 200);
    if (job.kind === "batch") assert.equal(text.trim().split("\n").length, 20);
  }
  assert.equal(new Set(ids.values()).size, ids.size, "each its own job");
  // The run was done once: every epoch, in order, and one model.
  const log = await Deno.readTextFile(
    join(folder, "models", "survivor", "log.jsonl"),
  );
  const done = log.trim().split("\n").map((line) => JSON.parse(line))
    .filter(({ type }) => type === "epoch").map(({ epoch }) => epoch);
  assert.deepEqual(done, Array.from({ length: epochs }, (_, i) => i + 1));
});

Deno.test("SIGTERM lets what runs end, and gives jobs back", async () => {
  const served = await serve(folder, ...FLAGS);
  const { url } = served;
  const { id } = await accepted(await train(url, "drained", ENDLESS));
  await until(url, id, ({ progress }) => (progress?.epoch ?? 0) > 1);
  const response = await fetch(`${url}/v1/jobs/${id}/events`);
  const events = response.body!.pipeThrough(new TextDecoderStream())
    .getReader();
  const { value } = await within("the first event", events.read());
  assert.match(value!, /^event: progress/);
  const answers = Array.from(
    { length: 6 },
    (_, i) =>
      post(`${url}/v1/classify`, {
        path: `images/test_0000${i}.png`,
        samples: 200,
      }),
  );
  let answered = 0;
  for (const answer of answers) answer.then(() => answered++);
  await eventually(
    "all are on their way",
    async () => answered + await metric(served, PENDING) >= answers.length,
  );
  const { code } = await served.stop();
  assert.equal(code, 0);
  for (const answer of await Promise.all(answers)) {
    await answer.body?.cancel();
    assert.equal(answer.status, 200);
  }
  while (!(await within("the events end", events.read())).done);

  await using again = await serve(folder, ...FLAGS);
  const job = await until(
    again.url,
    id,
    ({ state, progress }) => state === "running" && progress!.epoch! > 2,
  );
  assert.equal(job.attempts, 2);
  const cancelled = await fetch(`${again.url}/v1/jobs/${id}/cancel`, {
    method: "POST",
  });
  await cancelled.body?.cancel();
  assert.equal((await ended(again.url, id)).state, "cancelled");
});

/** Value of a metric of the server. */
async function metric({ url }: Served, name: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const line = text.split("\n").find((line) => line.startsWith(`${name} `))!;
  return Number(line.split(" ")[1]);
}

/** A request that never sends all that it announces. */
async function openUpload(url: string): Promise<Deno.Conn> {
  const { port } = new URL(url);
  const connection = await Deno.connect({
    hostname: "127.0.0.1",
    port: Number(port),
  });
  await connection.write(new TextEncoder().encode(
    "POST /v1/classify HTTP/1.1\r\nhost: localhost\r\n" +
      "content-type: image/png\r\ncontent-length: 1000\r\n\r\nabc",
  ));
  return connection;
}

/** A host of an image that never comes: what classifies it cannot end. */
function silentHost() {
  const asked = Promise.withResolvers<void>();
  const left = Promise.withResolvers<void>();
  const host = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    async () => {
      asked.resolve();
      await left.promise;
      return new Response(null, { status: 404 });
    },
  );
  const address = `127.0.0.1:${host.addr.port}`;
  return {
    uri: `http://${address}/a.png`,
    flags: ["--allow-host", address],
    /** Resolves once it is asked for the image. */
    asked: asked.promise,
    async [Symbol.asyncDispose]() {
      left.resolve();
      await host.shutdown();
    },
  };
}

Deno.test("a full queue says when to come again; who goes away frees a place", async () => {
  await using host = silentHost();
  await using served = await serve(
    folder,
    ...[...FLAGS, ...host.flags, "--queue", "2"],
  );
  const { url } = served;
  const classify = () =>
    post(`${url}/v1/classify`, { path: "images/test_00000.png" });
  const slow = [await openUpload(url), await openUpload(url)];
  const pending = (count: number) =>
    eventually(
      `${count} pending`,
      async () => await metric(served, PENDING) === count,
    );
  await pending(2);
  const response = await classify();
  assert.match(response.headers.get("retry-after")!, /^[1-9]\d*$/);
  await assertRefused(response, {
    status: 429,
    error: /queue is full \(2 classifications\)/,
  });
  for (const connection of slow) connection.close();
  await pending(0);
  assert.equal((await (await classify()).json()).model.name, "first");
  const left = await filesIn(join(folder, "models", ".server", "uploads"));
  assert.deepEqual(left, [], "what was half uploaded is gone");

  // Or while it is being classified.
  const gone = new AbortController();
  const aborted = fetch(`${url}/v1/classify`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ uri: host.uri }),
    signal: gone.signal,
  });
  const refused = assert.rejects(aborted, { name: "AbortError" });
  await within("it is being classified", host.asked);
  await pending(1);
  gone.abort();
  await refused;
  await pending(0);
});

Deno.test("what takes too long ends with 504", async () => {
  await using host = silentHost();
  await using served = await serve(
    folder,
    ...[...FLAGS, ...host.flags, "--timeout", "1"],
  );
  const answer = await within(
    "it is answered",
    post(`${served.url}/v1/classify`, { uri: host.uri }),
  );
  await assertRefused(answer, { status: 504, error: /respond-async/ });
});
