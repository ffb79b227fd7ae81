/** Requests that cost their sender little, and must cost the server little. */
import assert from "node:assert/strict";
import { assertRefused, post, serverOfFile } from "../serve/served.ts";

const server = serverOfFile("--workers", "1");

const training = { data: "manifest.csv", name: "second" };

Deno.test("a configuration of thousands of keys is refused", async () => {
  const junk = Object.fromEntries(
    Array.from({ length: 4000 }, (_, i) => [`junk${i}`, 1]),
  );
  for (const field of ["config", "settings"]) {
    await assertRefused(
      await post(`${server.url}/v1/train`, { ...training, [field]: junk }),
      { status: 400, field, error: /more than 1000 keys and elements/ },
    );
  }
});

Deno.test("a value of thousands of levels is refused", async () => {
  const nested = "[".repeat(1e5) + "]".repeat(1e5);
  for (const field of ["config", "settings"]) {
    const response = await fetch(`${server.url}/v1/train`, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        "idempotency-key": `nested ${field}`,
      },
      body: JSON.stringify({ ...training, [field]: { seed: 0 } })
        .replace('"seed":0', `"seed":${nested}`),
    });
    await assertRefused(response, {
      status: 400,
      field,
      error: /more than 1000 keys and elements/,
    });
  }
});

Deno.test("a tensor's parameters of many levels are refused", async () => {
  const nested = "[".repeat(1e6) + "]".repeat(1e6);
  const input =
    '{"name": "uri", "datatype": "BYTES", "shape": [1], "data": ["a"]}';
  const parameters = `"parameters": {"x": ${nested}}`;
  for (
    const [field, body] of [
      [
        "inputs.0.parameters",
        `{"inputs": [${input.replace("}", `, ${parameters}}`)}]}`,
      ],
      [
        "outputs.0.parameters",
        `{"inputs": [${input}], "outputs": [{"name": "label", ${parameters}}]}`,
      ],
    ] as const
  ) {
    const response = await fetch(`${server.url}/v2/models/first/infer`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body,
    });
    await assertRefused(response, {
      status: 400,
      field,
      error: /more than 1000 keys and elements/,
    });
  }
});

Deno.test("JSON without images is small on every route", async () => {
  const path = "x".repeat(300 * 2 ** 10);
  for (const route of ["classify", "batch", "train", "jobs", "nothing"]) {
    await assertRefused(await post(`${server.url}/v1/${route}`, { path }), {
      status: 413,
      error: /more than 262144 bytes/,
    });
  }
});

Deno.test("a word of megabytes is not sent back", async () => {
  const response = await post(`${server.url}/v1/batch`, {
    ["x".repeat(2e5)]: 1,
    manifest: "manifest.csv",
  });
  assert.equal(response.status, 400);
  assert.ok((await response.text()).length < 1000);
});
