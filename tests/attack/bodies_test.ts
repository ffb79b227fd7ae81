/** Bodies that are large, or never end: the server's memory is bounded. */
import assert from "node:assert/strict";
import { BusyError } from "../../lib/serve/errors.ts";
import { awaitRoom } from "../../lib/serve/inference/request.ts";
import { BodyRoom } from "../../lib/serve/intake/body_room.ts";
import { DEFAULT_LIMITS } from "../../lib/serve/limits.ts";
import {
  assertRefused,
  drawModels,
  imageOf,
  post,
  serverOfFile,
  withServer,
} from "../serve/served.ts";
import { eventually, within } from "../waiting.ts";
import { livezDuring } from "./livez.ts";

const server = serverOfFile("--workers", "1");

Deno.test("/livez answers while 15 MB of pixels are read as JSON", async () => {
  const count = 7.5e6;
  const asked = fetch(`${server.url}/v2/models/first/infer`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: `{"inputs": [{"name": "pixels", "datatype": "UINT8", "shape": [1, ${
      count / 3
    }, 1, 3], "data": [${"1,".repeat(count - 1)}256]}]}`,
  });
  const answers = await livezDuring(server.url, asked);
  await assertRefused(await asked, {
    status: 400,
    field: "inputs.0.data",
    error: /element 7499999: a pixel must be an integer/,
  });
  assert.ok(answers >= 20, `${answers} answers`);
});

Deno.test("the JSON of all requests together is bounded", async () => {
  const folder = await Deno.makeTempDir({ prefix: "zoomin-" });
  await drawModels(folder);
  const limits = { ...DEFAULT_LIMITS, heldBytes: 2 ** 20, bodyWaitMs: 100 };
  await withServer(folder, { limits }, async (url, { bodies }) => {
    const part = " ".repeat(400_000);
    const stalled = await Promise.all([0, 1].map(() => begin(url, part)));
    await eventually("both are held", () => bodies.bytes === 800_000);
    const path = "/v2/models/first/infer";
    const refused = await post(url + path, { id: part.slice(0, 300_000) });
    assert.equal(refused.headers.get("retry-after"), "1");
    await assertRefused(refused, {
      status: 429,
      error: /hold \d+ of 917504 bytes/,
    });
    // Small ones have room, and are answered.
    await assertRefused(await post(url + path, {}), {
      status: 400,
      field: "inputs",
    });
    const small = { id: part.slice(0, 150_000) };
    await assertRefused(await post(`${url}/v1/classify`, small), {
      status: 400,
      field: "id",
    });
    for (const connection of stalled) connection.close();
    await eventually("nothing is held", () => bodies.bytes === 0);
  });
  await Deno.remove(folder, { recursive: true });
});

Deno.test("of large bodies at once, those that fit are answered", async () => {
  const folder = await Deno.makeTempDir({ prefix: "zoomin-" });
  await drawModels(folder);
  const limits = { ...DEFAULT_LIMITS, heldBytes: 4e6, bodyWaitMs: 30_000 };
  await withServer(folder, { limits }, async (url, { bodies }) => {
    const body = pixels(400); // 1 MB: three fit at a time
    const answers = await Promise.all(
      Array.from({ length: 12 }, () => postPixels(url, body)),
    );
    for (const answer of answers) {
      const { outputs } = await answer.json();
      assert.equal(answer.status, 200);
      assert.equal(outputs[0].name, "label");
    }
    assert.equal(bodies.bytes, 0);
  });
  await Deno.remove(folder, { recursive: true });
});

Deno.test("room is kept for a while only for what is not sent", async () => {
  const room = new BodyRoom(800, 60_000);
  const { signal } = new AbortController();
  using slow = room.enter({ isLarge: true });
  await slow.reserve(600, signal);
  slow.add(50);
  assert.equal(room.bytes, 600);
  using next = room.enter({ isLarge: true });
  await within("the room lapses", next.reserve(600, signal));
  assert.equal(room.bytes, 650);
  slow.add(50); // it has room yet
  assert.throws(() => slow.add(500), BusyError);
  assert.equal(room.bytes, 700);
});

Deno.test("a body that waits for room leaves, and the next has it", async () => {
  const room = new BodyRoom(800, 60_000);
  const { signal } = new AbortController();
  const leaving = new AbortController();
  const first = room.enter({ isLarge: true });
  await first.reserve(400, signal);
  using large = room.enter({ isLarge: true });
  const left = large.reserve(700, leaving.signal);
  using small = room.enter({ isLarge: true });
  const fits = small.reserve(300, signal); // not before the one that came first
  assert.equal(room.bytes, 400);
  leaving.abort(new Error("it left"));
  await assert.rejects(left, /it left/);
  await fits;
  assert.equal(room.bytes, 700);
  first[Symbol.dispose]();
  assert.equal(room.bytes, 300);
});

Deno.test("no room is kept for JSON that is longer than its body", async () => {
  const room = new BodyRoom(2e6, 60_000);
  using held = room.enter({ isLarge: false });
  const { signal } = new AbortController();
  const incoming = { body: null, announced: 1000, held, signal };
  const headerLength = "900000";
  await awaitRoom({ ...incoming, headerLength }, DEFAULT_LIMITS);
  assert.equal(room.bytes, 0);
});

Deno.test("bodies that are announced and never come hold up nobody", async () => {
  const silent = await Promise.all(
    Array.from({ length: 200 }, (_, i) =>
      announce(server.url, {
        bytes: i % 2 ? 15e6 : 1000,
        path: i % 4 < 2 ? "/v1/classify" : "/v2/models/first/infer",
      })),
  );
  const [classified, inferred] = await Promise.all([
    fetch(`${server.url}/v1/classify`, {
      method: "POST",
      headers: { "content-type": "image/png" },
      body: await imageOf(server.folder),
    }),
    postPixels(server.url, pixels(400)), // large
  ]);
  assert.equal(classified.status, 200, await classified.text());
  assert.equal(inferred.status, 200, await inferred.text());
  for (const connection of silent) connection.close();
});

Deno.test("bodies that begin and pause keep no room for their rest", async () => {
  const folder = await Deno.makeTempDir({ prefix: "zoomin-" });
  await drawModels(folder);
  const limits = { ...DEFAULT_LIMITS, heldBytes: 2e6, bodyWaitMs: 30_000 };
  await withServer(folder, { limits }, async (url, { bodies }) => {
    const path = "/v2/models/first/infer";
    const paused = await Promise.all(
      Array.from(
        { length: 8 }, // of which one fits at a time
        () => announce(url, { bytes: 1e6, path, part: "{" }),
      ),
    );
    await eventually("room is kept", () => bodies.bytes > 0);
    const answer = await postPixels(url, pixels(400));
    assert.equal(answer.status, 200, await answer.text());
    for (const connection of paused) connection.close();
  });
  await Deno.remove(folder, { recursive: true });
});

/** An inference of an image of `side` x `side` px, as numbers in JSON. */
function pixels(side: number): string {
  const numbers = "7,".repeat(3 * side ** 2 - 1);
  return `{"inputs": [{"name": "pixels", "datatype": "UINT8", "shape": [1, ${side}, ${side}, 3], "data": [${numbers}7]}]}`;
}

function postPixels(url: string, body: string): Promise<Response> {
  return fetch(`${url}/v2/models/first/infer`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body,
  });
}

/** Announces a body, and sends `part` of it. */
async function announce(
  url: string,
  { path, bytes, part = "" }: { path: string; bytes: number; part?: string },
): Promise<Deno.TcpConn> {
  const { port, host } = new URL(url);
  const connection = await Deno.connect({ port: Number(port) });
  await connection.write(
    new TextEncoder().encode(
      `POST ${path} HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/octet-stream\r\nContent-Length: ${bytes}\r\n\r\n${part}`,
    ),
  );
  return connection;
}

/** Begins to send JSON that does not end. */
async function begin(url: string, part: string): Promise<Deno.TcpConn> {
  const { port, host } = new URL(url);
  const connection = await Deno.connect({ port: Number(port) });
  const writer = connection.writable.getWriter();
  await writer.write(
    new TextEncoder().encode(
      `POST /v2/models/first/infer HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n${
        (2 * part.length).toString(16)
      }\r\n${part}`,
    ),
  );
  writer.releaseLock();
  return connection;
}
