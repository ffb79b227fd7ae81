/**
 * Trains in a Worker with its own engine. See train.ts.
 *
 * @module
 */
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { readManifest } from "../../data/manifest.ts";
import { startEngine } from "../../engine/select.ts";
import { exists } from "../../files.ts";
import { Memory } from "../../memory.ts";
import { LAST } from "../../model/checkpoint.ts";
import { trainRun } from "../../train/runs/run.ts";
import { checkReference, DEFAULT_TEST } from "../../train/runs/run_data.ts";
import type { TrainResult } from "../../train/trainer.ts";
import { guardedFetch } from "../intake/guarded_fetch.ts";
import type { TrainEvent, TrainMethods, TrainTask } from "./train_protocol.ts";
import { answerCalls } from "../../workers/calls.ts";

const YIELD_MS = 2;

const send = answerCalls<TrainMethods, TrainEvent>({ train: run });

async function run(
  task: TrainTask,
  signal: AbortSignal,
): Promise<TrainResult> {
  const { config, seed, folder, backend, pending, allowedHosts } = task;
  const memory = new Memory(task.memoryBytes);
  const engine = await startEngine(backend);
  const manifest = await readManifest(task.data);
  checkReference(config, manifest);
  const resume = await exists(join(folder, LAST));
  const { warnings: _, ...result } = await trainRun(engine, {
    manifest,
    config,
    seed,
    folder,
    test: DEFAULT_TEST,
    resume,
    memory,
    opening: { fetch: guardedFetch(allowedHosts), maxPixels: task.maxPixels },
    onProgress: send,
    turn: turns(pending),
    signal,
  });
  return result;
}

/**
 * Gives way to classifications: a step waits while any are pending, but no
 * longer than the previous step took, so that training keeps half of the time.
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
