/** Answers while the engine is not ready or the server is stopping. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { folderOfFile } from "../commands/process.ts";
import { DEFAULT_LIMITS } from "../../lib/serve/limits.ts";
import { ignoreGpu } from "../engines.ts";
import {
  assertRefused,
  drawModels,
  ended,
  post,
  withServer,
} from "../serve/served.ts";
import { eventually, LONGEST_MS, within } from "../waiting.ts";

const folder = folderOfFile(drawModels);

const image = { path: "images/test_00000.png" };

async function statusOf(url: string): Promise<number> {
  const response = await fetch(url);
  await response.body?.cancel();
  return response.status;
}

Deno.test("a server that is about to stop takes nothing more", async () => {
  await withServer(folder, { backend: "wasm" }, async (url, server) => {
    assert.equal(await statusOf(`${url}/readyz`), 200);
    await server.drain();
    assert.equal(await statusOf(`${url}/livez`), 200);
    for (const path of ["/readyz", "/v2/health/ready"]) {
      assert.equal(await statusOf(url + path), 503);
    }
    const requests = [
      post(`${url}/v1/classify`, image),
      post(`${url}/v1/classify`, image, { prefer: "respond-async" }),
      post(`${url}/v1/jobs`, { kind: "classify", ...image }),
      post(`${url}/v1/batch`, { manifest: "manifest.csv" }),
    ];
    for (const response of await Promise.all(requests)) {
      assert.match(response.headers.get("retry-after")!, /^\d+$/);
      await assertRefused(response, { status: 503, error: /is stopping/ });
    }
  });
});

Deno.test("where the default model is damaged no other takes its place", async () => {
  const models = join(folder, "models");
  const state = join(models, ".server", "default");
  const file = join(models, "chosen.safetensors");
  await Deno.writeTextFile(file, "damaged");
  await Deno.mkdir(join(models, ".server"), { recursive: true });
  await Deno.writeTextFile(state, "chosen");
  try {
    await withServer(folder, {}, async (url) => {
      const ready = await fetch(`${url}/readyz`);
      assert.equal(ready.status, 503);
      assert.match((await ready.json()).reason, /^Cannot use chosen/);
      await assertRefused(await post(`${url}/v1/classify`, image), {
        status: 503,
        error:
          /^The default model cannot be used: Cannot use chosen.safetensors/,
      });
      const named = { ...image, model: "first" };
      const answer = await post(`${url}/v1/classify`, named);
      assert.equal((await answer.json()).model.name, "first");
    });
  } finally {
    await Deno.remove(state);
    await Deno.remove(file);
  }
});

Deno.test("a refusal of a full queue is held back, but for no stop", async () => {
  const limits = { ...DEFAULT_LIMITS, pending: 0, refusalMs: 10 * LONGEST_MS };
  await withServer(folder, { limits }, async (url, server) => {
    let isTold = false;
    const refused = post(`${url}/v1/classify`, image)
      .finally(() => isTold = true);
    for (let i = 0; i < 20; i++) await statusOf(`${url}/livez`);
    assert.equal(isTold, false);
    await server.drain();
    const response = await within("it is told", refused);
    await assertRefused(response, { status: 429, error: /queue is full/ });
  });
});

Deno.test("a refusal that is held back holds no body", async () => {
  const limits = { ...DEFAULT_LIMITS, pending: 0, refusalMs: 10 * LONGEST_MS };
  await withServer(folder, { limits }, async (url, server) => {
    const { bodies, predictor } = server;
    const enter = predictor.enter.bind(predictor);
    let heldThen = 0;
    predictor.enter = () => { // once the body was read
      heldThen = bodies.bytes;
      return enter();
    };
    const refused = fetch(`${url}/v1/classify`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(image).padEnd(100_000),
    });
    await eventually("the body was read", () => heldThen >= 100_000);
    await eventually("its room is free", () => bodies.bytes === 0);
    await server.drain();
    await assertRefused(await within("it is told", refused), {
      status: 429,
      error: /queue is full/,
    });
  });
});

Deno.test("without a usable model the server is not ready", async () => {
  await withServer(folder, {}, async (url) => {
    const ready = async () => {
      const response = await fetch(`${url}/readyz`);
      return { status: response.status, ...await response.json() };
    };
    await post(`${url}/v1/models/first/unload`, {})
      .then((response) => response.body?.cancel());
    const unloaded = await ready();
    assert.equal(unloaded.status, 503);
    assert.equal(unloaded.reason, 'the model "first" is not loaded');
    await post(`${url}/v1/models/first/load`, {})
      .then((response) => response.body?.cancel());
    assert.equal((await ready()).status, 200);
  });
  const damaged = join(folder, "damaged");
  await Deno.mkdir(damaged);
  await Deno.writeTextFile(join(damaged, "a.safetensors"), "damaged");
  await withServer(folder, { models: damaged }, async (url) => {
    const response = await fetch(`${url}/readyz`);
    assert.equal(response.status, 503);
    assert.match(
      (await response.json()).reason,
      /^no model can be used: Cannot/,
    );
  });
});

Deno.test({
  name: "a lost GPU is 503 until it is back, and its jobs go on",
  ignore: ignoreGpu,
  async fn() {
    const loss = join(folder, "loss"), hold = `${loss}.hold`;
    const engineModule = new URL("../serve/lossy_engine.ts", import.meta.url);
    engineModule.searchParams.set("file", loss);
    const options = { backend: "webgpu", engineModule } as const;
    await withServer(folder, options, async (url, server) => {
      const classify = () => post(`${url}/v1/classify`, image);
      assert.equal((await classify()).status, 200);
      const batch = { manifest: "manifest.csv", samples: 64 };
      const accepted = await post(`${url}/v1/batch`, batch);
      const { id } = await accepted.json();
      await Deno.writeTextFile(hold, "");
      await Deno.writeTextFile(loss, "20");
      const refused = [await classify(), await classify()];
      for (const response of refused) {
        assert.match(response.headers.get("retry-after")!, /^\d+$/);
        await assertRefused(response, { status: 503, error: /lost/ });
      }
      assert.equal(await statusOf(`${url}/readyz`), 503);
      await Deno.remove(hold);
      await eventually(
        "it is ready",
        async () => await statusOf(`${url}/readyz`) === 200,
      );
      const answer = await classify();
      assert.equal((await answer.json()).model.name, "first");
      const job = await ended(url, id);
      assert.equal(job.state, "succeeded", job.error ?? "");
      assert.equal(job.progress!.failures, 0);
      const text = await server.metrics.text();
      assert.match(text, /^gpu_device_lost_total 1$/m);
      assert.match(text, /^gpu_buffer_bytes [1-9]\d*$/m);
    });
  },
});
