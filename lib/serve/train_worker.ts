/**
 * Trains in a Worker with an engine of its own. See train_job.ts.
 *
 * @module
 */
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { readManifest } from "../data/manifest.ts";
import { environment } from "../engine/environment.ts";
import { startEngine } from "../engine/select.ts";
import { exists } from "../files.ts";
import { imageCache } from "../image/cache.ts";
import { Memory } from "../memory.ts";
import { LAST } from "../model/checkpoint.ts";
import { checkReference, DEFAULT_TEST, runData } from "../train/run_data.ts";
import { train, type TrainResult } from "../train/trainer.ts";
import { guardedFetch } from "./guarded_fetch.ts";
import type { TrainEvent, TrainMethods, TrainTask } from "./train_protocol.ts";
import { answerCalls } from "./worker_calls.ts";

const YIELD_MS = 2;

const stopping = new AbortController();

const send = answerCalls<TrainMethods, TrainEvent>({
  train: run,
  stop: () => stopping.abort(),
});

async function run(task: TrainTask): Promise<TrainResult> {
  const { config, seed, folder, backend, pending, allowedHosts } = task;
  const memory = new Memory(task.memoryBytes);
  const engine = await startEngine(backend);
  const manifest = await readManifest(task.data);
  checkReference(config, manifest);
  const resume = await exists(join(folder, LAST));
  const data = await runData({
    manifest,
    config,
    seed,
    folder,
    test: DEFAULT_TEST,
    resume,
  });
  const cache = imageCache(memory, memory.imageCacheBytes, {
    fetch: guardedFetch(allowedHosts),
    maxPixels: task.maxPixels,
  });
  try {
    return await engine.whileAlive(() =>
      train(data, {
        folder,
        config,
        seed,
        cache,
        memory,
        resume,
        environment: environment(engine),
        onProgress(progress) {
          engine.assertAlive(); // before weights of a failed engine are saved
          send(progress);
        },
        turn: turns(pending),
        signal: stopping.signal,
      })
    );
  } finally {
    cache.close();
  }
}

/**
 * Lets classifications go first: a step waits while there are any, but no
 * longer than the last step took, so that training keeps half of the time.
 */
function turns(pending: Int32Array<SharedArrayBuffer>): () => Promise<void> {
  let started = performance.now();
  return async function turn() {
    const stepMs = performance.now() - started;
    const waitUntil = performance.now() + stepMs;
    while (Atomics.load(pending, 0) > 0 && performance.now() < waitUntil) {
      await pause(YIELD_MS);
    }
    started = performance.now();
  };
}
