import assert from "node:assert/strict";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { CheckpointError, ImageError } from "../../../lib/errors.ts";
import { readCheckpointInfo } from "../../../lib/model/checkpoint.ts";
import { EnginePool } from "../../../lib/serve/engine/pool.ts";
import type { ClassifyTask } from "../../../lib/serve/engine/protocol.ts";
import { NotReadyError } from "../../../lib/serve/errors.ts";
import { drawAndTrain, folderOfFile } from "../../commands/process.ts";
import { ignoreGpu } from "../../engines.ts";
import { eventually, LONGEST_MS, within } from "../../waiting.ts";

const folder = folderOfFile(drawAndTrain);
const signal = new AbortController().signal;
const TRIAL = { models: folder, file: join(folder, "engines.json") };

async function task(more: Partial<ClassifyTask> = {}): Promise<ClassifyTask> {
  const { sha256 } = await readCheckpointInfo(join(folder, "run"));
  return {
    model: sha256,
    path: join(folder, "set", "images", "test_00000.png"),
    name: "the image",
    alone: false,
    seed: 0,
    heatmap: false,
    maps: false,
    maxPixels: 2 ** 20,
    maxBlocks: 2 ** 20,
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
    trial: TRIAL,
    allowedHosts: [],
    encoderFiles: [],
    memoryBytes: 256e6,
    stopMs: LONGEST_MS,
    workers: 2,
  });
  try {
    await assert.rejects(pool.dispatch(await task(), signal), NotReadyError);
    await pool.start();
    assert.equal(pool.status?.backend, "wasm");
    await assert.rejects(pool.dispatch(await task(), signal), CheckpointError);
    await load(pool);
    const answers = await Promise.all(
      Array.from(
        { length: 6 },
        async (_, seed) => await pool.dispatch(await task({ seed }), signal),
      ),
    );
    for (const { classification } of answers) {
      assert.ok(classification.subTiles.length > 0);
    }
    assert.equal(Atomics.load(pool.pending, 0), 0);
    await assert.rejects(
      pool.dispatch(await task({ path: "absent" }), signal),
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
    trial: TRIAL,
    allowedHosts: [],
    encoderFiles: [],
    memoryBytes: 256e6,
    stopMs: LONGEST_MS,
    workers: 1,
  });
  try {
    await pool.start();
    await load(pool);
    const leaving = new AbortController();
    const slow = pool.dispatch(await task({ samples: 4096 }), leaving.signal);
    let isTold = false;
    const refused = assert.rejects(slow, /enough/).then(() => isTold = true);
    leaving.abort(new Error("enough"));
    await setImmediate(); // before the Worker can have answered
    assert.ok(isTold);
    await refused;
    // The engine continues with other images.
    await pool.dispatch(await task(), signal);
  } finally {
    pool.close();
  }
});

// From the first call to the GPU to one of the last: some 220 are made.
const LOSSES = [0, 2, 16, 60, 120, 180];

Deno.test({
  name: "whenever a device is lost, it is told as that, and comes back",
  ignore: ignoreGpu,
  async fn() {
    const file = join(folder, "loss");
    const module = new URL("../lossy_engine.ts", import.meta.url);
    module.searchParams.set("file", file);
    const lost: string[] = [];
    const pool = new EnginePool({
      backend: "webgpu",
      trial: TRIAL,
      allowedHosts: [],
      encoderFiles: [],
      memoryBytes: 256e6,
      stopMs: LONGEST_MS,
      module,
      onLost: (reason) => lost.push(reason),
    });
    try {
      await pool.start();
      await load(pool);
      const classify = async () =>
        await pool.dispatch(await task({ heatmap: true }), signal);
      const before = await classify();
      assert.ok(await pool.gpuBytes() > 0);
      for (const calls of LOSSES) {
        await Deno.writeTextFile(file, String(calls));
        await assert.rejects(classify(), {
          name: "NotReadyError",
          message: /^The engine was lost: .* lost its device/,
        }, `lost after ${calls} calls`);
        assert.equal(pool.status, undefined);
        assert.match(pool.failure!, /lost its device/);
        await eventually("it is back", () => pool.status !== undefined);
        assert.equal(pool.failure, undefined);
      }
      const after = await classify();
      assert.deepEqual(
        after.classification.probabilities,
        before.classification.probabilities,
      );
      assert.equal(lost.length, LOSSES.length);
    } finally {
      pool.close();
    }
  },
});

/** A pool whose engines compute an image named "endless" without end. */
function poolOfStuck(options: { workers: number; stopMs: number }) {
  const lost: string[] = [];
  const pool = new EnginePool({
    backend: "wasm",
    trial: TRIAL,
    allowedHosts: [],
    encoderFiles: [],
    memoryBytes: 256e6,
    module: new URL("../stuck_engine.ts", import.meta.url),
    onLost: (reason) => lost.push(reason),
    ...options,
  });
  return { pool, lost };
}

async function giveUpEndless(
  pool: EnginePool,
  name = "endless",
): Promise<void> {
  const given = new AbortController();
  const endless = pool.dispatch(await task({ name }), given.signal);
  setTimeout(() => given.abort(), 100);
  await assert.rejects(endless, { name: "AbortError" });
}

Deno.test("an engine that computes what was given up gets nothing more", async () => {
  const { pool } = poolOfStuck({ workers: 2, stopMs: 10 * LONGEST_MS });
  try {
    await pool.start();
    await load(pool);
    await giveUpEndless(pool);
    const others = Array.from(
      { length: 4 },
      async (_, seed) => await pool.dispatch(await task({ seed }), signal),
    );
    await within("all are classified", Promise.all(others));
  } finally {
    pool.close();
  }
});

Deno.test("an engine that does not stop is ended, and what waits for it moves", async () => {
  const { pool, lost } = poolOfStuck({ workers: 2, stopMs: 1000 });
  try {
    await pool.start();
    await load(pool);
    const given = new AbortController();
    const one = await task();
    const endless = pool.dispatch({ ...one, name: "endless" }, given.signal);
    // While nothing tells that the engine is stuck, it gets its share.
    const others = [0, 1, 2, 3].map((seed) =>
      pool.dispatch({ ...one, seed }, signal)
    );
    given.abort();
    await assert.rejects(endless, { name: "AbortError" });
    await within("all are classified", Promise.all(others));
    assert.deepEqual(lost, ["it did not stop in time"]);
    await eventually("it is back", () => pool.failure === undefined);
    await within("it classifies", pool.dispatch(await task(), signal));
  } finally {
    pool.close();
  }
});

Deno.test("what waits for the only engine goes on once it is restarted", async () => {
  const { pool, lost } = poolOfStuck({ workers: 1, stopMs: 1000 });
  try {
    await pool.start();
    await load(pool);
    await giveUpEndless(pool);
    const leaving = new AbortController();
    const left = pool.dispatch(await task(), leaving.signal);
    const waiting = pool.dispatch(await task(), signal);
    await eventually("it is ended", () => lost.length > 0);
    leaving.abort(new Error("left"));
    await assert.rejects(left, { message: "left" });
    await within("it is classified", waiting);
  } finally {
    pool.close();
  }
});

Deno.test("a classification that is under way stops when its caller leaves", async () => {
  const lost: string[] = [];
  const pool = new EnginePool({
    backend: "wasm",
    trial: TRIAL,
    allowedHosts: [],
    encoderFiles: [],
    memoryBytes: 256e6,
    stopMs: LONGEST_MS,
    workers: 1,
    onLost: (reason) => lost.push(reason),
  });
  try {
    await pool.start();
    await load(pool);
    const leaving = new AbortController();
    const long = await task({ samples: 100_000, heatmap: true }); // minutes
    const left = pool.dispatch(long, leaving.signal);
    setTimeout(() => leaving.abort(new Error("left")), 2000); // it computes
    await assert.rejects(left, { message: "left" });
    assert.equal(pool.busy, 1, "until the Worker has stopped");
    await within("the next is classified", pool.dispatch(await task(), signal));
    assert.equal(pool.busy, 0);
    assert.deepEqual(lost, [], "the engine stopped by itself");
  } finally {
    pool.close();
  }
});

Deno.test("an engine that is ended gives back its room for pictures", async () => {
  const { pool, lost } = poolOfStuck({ workers: 2, stopMs: 1000 });
  try {
    await pool.start();
    await load(pool);
    await giveUpEndless(pool, "endless picture");
    const other = pool.dispatch(await task(), signal);
    await within("another engine has the room", other);
    assert.deepEqual(lost, ["it did not stop in time"]);
  } finally {
    pool.close();
  }
});
