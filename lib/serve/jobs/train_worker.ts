/**
 * Trains in a Worker with its own engine. See train.ts.
 *
 * @module
 */
import { dirname, join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { Manifest, ManifestEntry } from "../../data/manifest.ts";
import { startEngine } from "../../engine/select.ts";
import { oneLine } from "../../errors.ts";
import { exists } from "../../files.ts";
import { Memory } from "../../memory.ts";
import { LAST } from "../../model/checkpoint.ts";
import { trainRun } from "../../train/runs/run.ts";
import { checkReference, DEFAULT_TEST } from "../../train/runs/run_data.ts";
import { writeReportOf } from "../../report/report.ts";
import type { BoxOptions } from "../../train/boxes.ts";
import { allowedRois } from "../annotations/rois.ts";
import { Sources } from "../intake/allowed_sources.ts";
import { guardedFetch } from "../intake/guarded_fetch.ts";
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

const send = answerCalls<TrainMethods, TrainEvent>({ train: run });

async function run(
  task: TrainTask,
  signal: AbortSignal,
): Promise<RunResult> {
  const { data, config, seed, folder, pending, roots, allowedHosts } = task;
  const memory = new Memory(task.memoryBytes);
  const engine = await startEngine(task.backend);
  const turn = turns(pending);
  const sources = await Sources.open({ roots, hosts: allowedHosts });
  const manifest = await sources.readManifest(data);
  checkReference(config, manifest);
  const resume = await exists(join(folder, LAST));
  const opening = {
    fetch: guardedFetch(allowedHosts),
    maxPixels: task.maxPixels,
  };
  let validation: readonly ManifestEntry[] = [];
  const { warnings: _, ...result } = await trainRun(engine, {
    manifest,
    config,
    seed,
    folder,
    test: DEFAULT_TEST,
    resume,
    boxes: await boxesOf(manifest, task, sources),
    memory,
    opening,
    onStart: (images) => validation = images.validation,
    onProgress: send,
    turn,
    signal,
  });
  // The model is of use without its scores and its report.
  const messages = new Messages([...roots, dirname(folder)]);
  const told = (text: string) => messages.told(text);
  const warnings: string[] = [];
  const attempt = async <T>(aim: string, work: () => Promise<T>) => {
    try {
      return await work();
    } catch (error) {
      signal.throwIfAborted();
      warnings.push(
        `Cannot ${aim}: ${told(oneLine((error as Error).message))}`,
      );
      return undefined;
    }
  };
  const scores = await attempt("score the run", () =>
    scoreRun(validation, {
      folder,
      data,
      engine,
      seed,
      memory,
      opening,
      turn,
      signal,
    }));
  await attempt(
    "write its report",
    () => writeReportOf(folder, { signal, shared: { name: task.name, told } }),
  );
  return {
    ...result,
    ...(scores && { scores }),
    ...(warnings.length > 0 && { warnings }),
  };
}

/** The annotated objects to train on, if any are asked for. */
async function boxesOf(
  manifest: Manifest,
  { drawn }: TrainTask,
  sources: Sources,
): Promise<BoxOptions | undefined> {
  if (drawn === undefined) return undefined;
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
