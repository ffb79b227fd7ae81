import assert from "node:assert/strict";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { CheckpointError, ImageError } from "../../lib/errors.ts";
import { readCheckpointInfo } from "../../lib/model/checkpoint.ts";
import { EnginePool } from "../../lib/serve/engine_pool.ts";
import type { ClassifyTask } from "../../lib/serve/engine_protocol.ts";
import { NotReadyError } from "../../lib/serve/errors.ts";
import { drawAndTrain, folderOfFile } from "../commands/process.ts";
import { ignoreGpu } from "../engines.ts";

const folder = folderOfFile(drawAndTrain);
const signal = new AbortController().signal;

async function task(more: Partial<ClassifyTask> = {}): Promise<ClassifyTask> {
  const { sha256 } = await readCheckpointInfo(join(folder, "run"));
  return {
    model: sha256,
    path: join(folder, "set", "images", "test_00000.png"),
    name: "the image",
    alone: false,
    seed: 0,
    heatmap: false,
    maxPixels: 2 ** 20,
    urgent: true,
    ...more,
  };
}

async function load(pool: EnginePool): Promise<void> {
  const { path, sha256 } = await readCheckpointInfo(join(folder, "run"));
  await pool.load(path, sha256);
}

Deno.test("engines share the work, and each holds every model", async () => {
  const pool = new EnginePool({
    backend: "wasm",
    allowedHosts: [],
    memoryBytes: 256e6,
    workers: 2,
  });
  try {
    await assert.rejects(pool.classify(await task(), signal), NotReadyError);
    await pool.start();
    assert.equal(pool.status?.backend, "wasm");
    await assert.rejects(pool.classify(await task(), signal), CheckpointError);
    await load(pool);
    const answers = await Promise.all(
      Array.from(
        { length: 6 },
        async (_, seed) => await pool.classify(await task({ seed }), signal),
      ),
    );
    for (const { classification } of answers) {
      assert.ok(classification.subTiles.length > 0);
    }
    assert.equal(Atomics.load(pool.pending, 0), 0);
    await assert.rejects(
      pool.classify(await task({ path: "absent" }), signal),
      (error: Error) =>
        error instanceof ImageError && /the image/.test(error.message) &&
        !/absent/.test(error.message),
    );
    const { path } = await readCheckpointInfo(join(folder, "run"));
    await assert.rejects(pool.load(path, "0".repeat(64)), CheckpointError);
  } finally {
    pool.close();
  }
});

Deno.test("who gives up does not wait", async () => {
  const pool = new EnginePool({
    backend: "wasm",
    allowedHosts: [],
    memoryBytes: 256e6,
    workers: 1,
  });
  try {
    await pool.start();
    await load(pool);
    const started = performance.now();
    const slow = pool.classify(
      await task({ samples: 4096 }),
      AbortSignal.timeout(20),
    );
    await assert.rejects(slow, { name: "TimeoutError" });
    assert.ok(performance.now() - started < 1000);
    // And the engine goes on with others.
    await pool.classify(await task(), signal);
  } finally {
    pool.close();
  }
});

Deno.test({
  name: "a lost device is asked for again, and the models come back",
  ignore: ignoreGpu,
  async fn() {
    const loss = join(folder, "loss");
    Deno.env.set("ZOOMIN_TEST_LOSS", loss);
    const lost: string[] = [];
    const pool = new EnginePool({
      backend: "webgpu",
      allowedHosts: [],
      memoryBytes: 256e6,
      module: new URL("./lossy_engine.ts", import.meta.url),
      onLost: (reason) => lost.push(reason),
    });
    try {
      await pool.start();
      await load(pool);
      const before = await pool.classify(await task(), signal);
      assert.ok(await pool.gpuBytes() > 0);
      await Deno.writeTextFile(loss, "");
      while (lost.length === 0) {
        await pool.classify(await task(), signal).catch((error) => {
          assert.ok(error instanceof NotReadyError, String(error));
        });
        await pause(20);
      }
      assert.match(lost[0]!, /lost its device/);
      assert.equal(pool.status, undefined);
      assert.match(pool.failure!, /lost its device/);
      while (!pool.status) await pause(50);
      assert.equal(pool.failure, undefined);
      const after = await pool.classify(await task(), signal);
      assert.equal(
        after.classification.label,
        before.classification.label,
      );
      assert.equal(lost.length, 1);
    } finally {
      pool.close();
      Deno.env.delete("ZOOMIN_TEST_LOSS");
    }
  },
});
