/**
 * Trains in a Worker with its own engine. See train.ts.
 *
 * @module
 */
import { dirname, join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import {
  type Manifest,
  type ManifestEntry,
  readManifest,
} from "../../data/manifest.ts";
import { startEngine } from "../../engine/select.ts";
import { exists } from "../../files.ts";
import { Memory } from "../../memory.ts";
import { LAST } from "../../model/checkpoint.ts";
import { trainRun } from "../../train/runs/run.ts";
import { checkReference, DEFAULT_TEST } from "../../train/runs/run_data.ts";
import { writeReportOf } from "../../report/report.ts";
import type { BoxOptions } from "../../train/boxes.ts";
import { allowedRois } from "../annotations/rois.ts";
import { Sources } from "../intake/allowed_sources.ts";
import { guardedOpening } from "../intake/guarded_opening.ts";
import { Messages } from "../redaction.ts";
import { scoreRun } from "./scores.ts";
import type {
  RunResult,
  TrainEvent,
  TrainMethods,
  TrainTask,
} from "./train_protocol.ts";
import { answerCalls } from "../../workers/calls.ts";

const YIELD_MS = 2;

const SHARE_WORKER = new URL("./share_worker.ts", import.meta.url);

const send = answerCalls<TrainMethods, TrainEvent>({ train: run });

async function run(
  task: TrainTask,
  signal: AbortSignal,
): Promise<RunResult> {
  const { data, config, seed, folder, pending, allowedHosts } = task;
  const memory = new Memory(task.memoryBytes);
  const engine = await startEngine(task.backend);
  const manifest = await readManifest(data);
  checkReference(config, manifest);
  const resume = await exists(join(folder, LAST));
  const allowed = { allowedHosts, maxPixels: task.maxPixels };
  const opening = guardedOpening(allowed);
  let validation: readonly ManifestEntry[] = [];
  const { warnings: _, ...result } = await trainRun(engine, {
    manifest,
    config,
    seed,
    folder,
    test: DEFAULT_TEST,
    resume,
    boxes: await boxesOf(manifest, task),
    memory,
    opening,
    workers: task.workers,
    workerModule: { module: SHARE_WORKER, opening: allowed },
    onStart: (images) => validation = images.validation,
    onProgress: send,
    turn: turns(pending),
    signal,
  });
  const scores = await scoreRun(validation, {
    folder,
    data,
    engine,
    seed,
    memory,
    opening,
    signal,
  });
  // The run is of use without it, and its figures are in the result.
  const messages = new Messages([...task.roots, dirname(folder)]);
  const told = (text: string) => messages.told(text);
  await writeReportOf(folder, { signal, shared: { name: task.name, told } })
    .catch(() => signal.throwIfAborted());
  return { ...result, ...(scores && { scores }) };
}

/** The annotated objects to train on, if any are asked for. */
async function boxesOf(
  manifest: Manifest,
  { drawn, roots, allowedHosts: hosts }: TrainTask,
): Promise<BoxOptions | undefined> {
  if (drawn === undefined) return undefined;
  const sources = await Sources.open({ roots, hosts });
  return {
    source: await allowedRois(manifest, drawn, sources),
    name: "rois",
  };
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
