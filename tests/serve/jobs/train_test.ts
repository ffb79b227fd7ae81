import assert from "node:assert/strict";
import { join } from "node:path";
import { DEFAULT_LIMITS } from "../../../lib/serve/limits.ts";
import { folderOfFile } from "../../commands/process.ts";
import { ignoreGpu } from "../../engines.ts";
import {
  drawModels,
  ended,
  post,
  SMALL_SETTINGS,
  until,
  withServer,
} from "../served.ts";

const folder = folderOfFile(drawModels);

Deno.test("training refuses images that classification refuses as too large", async () => {
  const limits = { ...DEFAULT_LIMITS, maxPixels: 100 * 100 }; // they have 128
  await withServer(folder, { limits }, async (url) => {
    const response = await post(`${url}/v1/train`, {
      data: "manifest.csv",
      name: "large",
      preset: "needle",
      epochs: 1,
      settings: SMALL_SETTINGS,
    });
    const { id } = await response.json();
    const { state, error } = await ended(url, id);
    assert.equal(state, "failed");
    assert.match(error!, /images\/\w+.png.* more than the 10000 px allowed/);
  });
});

Deno.test("a job that workers share trains the same bits", async () => {
  const models: Uint8Array[] = [];
  for (const workers of [1, 2]) {
    await withServer(folder, { workers, backend: "wasm" }, async (url) => {
      const name = `workers-${workers}`;
      const response = await post(`${url}/v1/train`, {
        data: "manifest.csv",
        name,
        preset: "needle",
        epochs: 1,
        settings: SMALL_SETTINGS,
      });
      const { id } = await response.json();
      const { state, error } = await ended(url, id);
      assert.deepEqual({ state, error }, { state: "succeeded", error: null });
      const file = join(folder, "models", name, "best.safetensors");
      models.push(await Deno.readFile(file));
    });
  }
  assert.deepEqual(models[1], models[0]);
});

Deno.test("a run is cancelled in the midst of a step that has no end", async () => {
  const options = {
    limits: { ...DEFAULT_LIMITS, stopMs: 200 },
    trainModule: new URL("../stuck_trainer.ts", import.meta.url),
  };
  await withServer(folder, options, async (url) => {
    const response = await post(`${url}/v1/train`, {
      data: "manifest.csv",
      name: "stuck",
      preset: "needle",
      epochs: 9,
      settings: SMALL_SETTINGS,
    });
    const { id } = await response.json();
    await until(url, id, ({ progress }) => progress?.epoch === 2);
    const cancelled = await fetch(`${url}/v1/jobs/${id}/cancel`, {
      method: "POST",
    });
    await cancelled.body?.cancel();
    assert.equal((await ended(url, id)).state, "cancelled");
    const run = join(folder, "models", ".server", "jobs", id, "run");
    assert.ok((await Deno.stat(join(run, "last.safetensors"))).isFile);
  });
});

Deno.test("a trained job stays done, and says why its scores and report are missing", async () => {
  const models = join(folder, "models");
  const trainModule = new URL("../unscored_trainer.ts", import.meta.url);
  trainModule.searchParams.set("jobs", join(models, ".server", "jobs"));
  const told: unknown[] = [];
  const options = {
    trainModule,
    log(_: string, event: string, { warning }: { warning?: unknown } = {}) {
      if (event === "job incomplete") told.push(warning);
    },
  };
  await withServer(folder, options, async (url) => {
    const response = await post(`${url}/v1/train`, {
      data: "manifest.csv",
      name: "unscored",
      preset: "needle",
      epochs: 1,
      settings: SMALL_SETTINGS,
    });
    const { id } = await response.json();
    const { state, error, links } = await ended(url, id);
    assert.deepEqual({ state, error }, { state: "succeeded", error: null });
    const { scores, warnings } = await (await fetch(url + links.result))
      .json();
    assert.equal(scores, undefined);
    assert.equal(warnings.length, 2);
    assert.match(warnings[0], /^Cannot score the run: .*run\/evaluations/);
    assert.match(warnings[1], /^Cannot write its report: .*run\/evaluations/);
    assert.deepEqual(told, warnings);
    for (const line of warnings) {
      assert.ok(!line.includes(folder) && !line.includes("\n"), line);
    }
    const model = await fetch(`${url}/v1/models/unscored`);
    assert.equal(model.status, 200);
    await model.body?.cancel();
  });
});

Deno.test({
  name: "a run whose GPU is lost continues once it is back",
  ignore: ignoreGpu,
  async fn() {
    const file = join(folder, "loss");
    await Deno.writeTextFile(file, "400");
    const trainModule = new URL("../lossy_trainer.ts", import.meta.url);
    trainModule.searchParams.set("file", file);
    const waits: unknown[] = [];
    const options = {
      backend: "webgpu",
      trainModule,
      log(_: string, event: string, { error }: { error?: unknown } = {}) {
        if (event === "job waits") waits.push(error);
      },
    } as const;
    await withServer(folder, options, async (url) => {
      const response = await post(`${url}/v1/train`, {
        data: "manifest.csv",
        name: "lost",
        preset: "needle",
        epochs: 1,
        settings: SMALL_SETTINGS,
      });
      const { id } = await response.json();
      const { state, attempts, error } = await ended(url, id);
      assert.deepEqual({ state, attempts, error }, {
        state: "succeeded",
        attempts: 2,
        error: null,
      });
      assert.equal(waits.length, 1);
      assert.match(`${waits[0]}`, /^The webgpu engine lost its device/);
    });
  },
});
