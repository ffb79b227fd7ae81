/** Bodies that come too slowly, over a real port. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { DEFAULT_LIMITS } from "../../lib/serve/limits.ts";
import { folderOfFile } from "../commands/process.ts";
import { drawModels, filesIn, withServer } from "../serve/served.ts";

const folder = folderOfFile(drawModels);

const limits = {
  ...DEFAULT_LIMITS,
  pace: { stallMs: 1000, leastBytesPerSecond: 1000 },
};

/** Sends a byte now and then until there is an answer, which it returns. */
async function drip(
  url: string,
  { path, type, head = "", headers = "" }: {
    path: string;
    type: string;
    head?: string;
    headers?: string;
  },
): Promise<string> {
  const { hostname, port } = new URL(url);
  using connection = await Deno.connect({ hostname, port: Number(port) });
  const buffer = new Uint8Array(4096);
  const send = (text: string) =>
    connection.write(Uint8Array.from(text, (c) => c.charCodeAt(0)));
  await send(
    `POST ${path} HTTP/1.1\r\nhost: localhost\r\n` +
      `content-type: ${type}\r\ncontent-length: 100000\r\n${headers}\r\n${head}`,
  );
  const answered = connection.read(buffer);
  let isAnswered = false;
  answered.then(() => isAnswered = true);
  for (let sent = 0; !isAnswered && sent < 100; sent++) {
    await send(" ").catch(() => {}); // it may have hung up behind its answer
    await pause(50);
  }
  return new TextDecoder().decode(buffer.subarray(0, await answered ?? 0));
}

// A gzip stream whose first block holds 60000 bytes as they are.
const packed = {
  headers: "content-encoding: gzip\r\n",
  head: "\x1f\x8b\x08\0\0\0\0\0\0\xff" + "\0\x60\xea\x9f\x15",
};

Deno.test("a body that drips is a 408, and leaves no file and no place", async () => {
  await withServer(folder, { limits }, async (url, { predictor }) => {
    const form = "--x\r\ncontent-disposition: form-data; " +
      'name="file"; filename="a"\r\n\r\n';
    const bodies = [
      { path: "/v1/classify", type: "image/png" },
      { path: "/v1/classify", type: "multipart/form-data; boundary=x" },
      {
        path: "/v1/classify",
        type: "multipart/form-data; boundary=x",
        head: form,
      },
      { path: "/v1/classify", type: "application/json" },
      { path: "/v1/train", type: "application/json" },
      { path: "/v2/models/first/infer", type: "application/json" },
      { path: "/v2/models/first/infer", type: "application/octet-stream" },
      {
        path: "/v2/models/first/infer",
        type: "application/octet-stream",
        headers: "inference-header-content-length: 90000\r\n",
      },
      { path: "/v1/train", type: "application/json", ...packed },
      { path: "/v1/classify", type: "image/png", ...packed },
    ];
    const answers = await Promise.all(bodies.map((body) => drip(url, body)));
    for (const answer of answers) {
      assert.match(answer, /^HTTP\/1.1 408 /);
      // On a machine that is busy enough the drops are a second apart.
      assert.match(answer, /"error":"(The body is too slow|No bytes arrived)/);
    }
    const left = await filesIn(join(folder, "models", ".server", "uploads"));
    assert.deepEqual(left, []);
    assert.equal(predictor.pending, 0);
  });
});
