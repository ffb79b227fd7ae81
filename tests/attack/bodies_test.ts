/** Bodies that are large, or never end: the server's memory is bounded. */
import assert from "node:assert/strict";
import { DEFAULT_LIMITS } from "../../lib/serve/limits.ts";
import {
  assertRefused,
  drawModels,
  post,
  serverOfFile,
  withServer,
} from "../serve/served.ts";
import { eventually } from "../waiting.ts";
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
  const limits = { ...DEFAULT_LIMITS, heldBytes: 2 ** 20 };
  await withServer(folder, { limits }, async (url, { bodies }) => {
    const part = " ".repeat(400_000);
    const stalled = await Promise.all([0, 1].map(() => begin(url, part)));
    await eventually("both are held", () => bodies.bytes === 800_000);
    const path = "/v2/models/first/infer";
    const large = { id: part.slice(0, 150_000) };
    const refused = await post(url + path, large);
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
    await assertRefused(await post(`${url}/v1/classify`, large), {
      status: 400,
      field: "id",
    });
    for (const connection of stalled) connection.close();
    await eventually("nothing is held", () => bodies.bytes === 0);
  });
  await Deno.remove(folder, { recursive: true });
});

/** Begins to send JSON that does not end. */
async function begin(url: string, part: string): Promise<Deno.TcpConn> {
  const { port, host } = new URL(url);
  const connection = await Deno.connect({ port: Number(port) });
  const writer = connection.writable.getWriter();
  await writer.write(
    new TextEncoder().encode(
      `POST /v2/models/first/infer HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\nContent-Length: ${
        2 * part.length
      }\r\n\r\n${part}`,
    ),
  );
  writer.releaseLock();
  return connection;
}
