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
import type { FoldTask } from "../../train/runs/fold_task.ts";
import type { FeatureCache } from "../../train/runs/training.ts";
import { trainRun } from "../../train/runs/run.ts";
import { checkReference, DEFAULT_TEST } from "../../train/runs/run_data.ts";
import { writeReportOf } from "../../report/report.ts";
import type { BoxOptions } from "../../train/boxes.ts";
import { allowedRois } from "../annotations/rois.ts";
import { Sources } from "../intake/allowed_sources.ts";
import { guardedOpening } from "../intake/guarded_opening.ts";
import { Messages } from "../redaction.ts";
import type { CrossValidatedDocument } from "../documents.ts";
import {
  beginFolds,
  crossValidated,
  recordPieces,
  trainFolds,
  trainPiece,
} from "./cross_validation.ts";
import { openFeatures } from "./features.ts";
import { scoreRun } from "./scores.ts";
import type {
  FoldsTask,
  PieceTask,
  RunResult,
  TrainEvent,
  TrainMethods,
  TrainTask,
} from "./train_protocol.ts";
import { answerCalls } from "../../workers/calls.ts";

const YIELD_MS = 2;

const SHARE_WORKER = new URL("./share_worker.ts", import.meta.url);

const send = answerCalls<TrainMethods, TrainEvent>({
  train: run,
  crossValidate,
  beginFolds: begin,
  trainPiece: piece,
  endFolds: end,
});

async function run(
  task: TrainTask,
  signal: AbortSignal,
): Promise<RunResult> {
  const { data, config, seed, folder } = task;
  const { turn, ...ready } = await readyFor(task);
  const { engine, memory, opening } = ready;
  const resume = await exists(join(folder, LAST));
  let validation: readonly ManifestEntry[] = [];
  const { warnings: _, skipped: _none, ...result } = await trainRun(engine, {
    ...ready,
    config,
    seed,
    folder,
    test: DEFAULT_TEST,
    absolutePaths: true, // it may continue on another host, and moves
    resume,
    onStart: (images) => validation = images.validation,
    onProgress: send,
    turn,
    signal,
  });
  // The model is of use without its scores and its report.
  const { attempt, warnings } = attemptsOf(task, signal);
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
  await attempt("write its report", () => writeReport(task, signal));
  return {
    ...result,
    ...(scores && { scores }),
    ...(warnings.length > 0 && { warnings }),
  };
}

async function crossValidate(
  { choice, ...task }: FoldsTask,
  signal: AbortSignal,
): Promise<CrossValidatedDocument> {
  const ready = await readyFor(task);
  await trainFolds(task, { ...ready, choice, onProgress: send, signal });
  return await reportedFolds(task, signal);
}

async function begin(
  { choice, ...task }: FoldsTask,
  signal: AbortSignal,
): Promise<FoldTask[][]> {
  const ready = await readyFor(task);
  const options = { ...ready, choice, onProgress: send, signal };
  return (await beginFolds(task, options)).turns;
}

async function piece(
  { choice, tasks, ...task }: PieceTask,
  signal: AbortSignal,
): Promise<void> {
  const ready = await readyFor(task);
  const folds = { choice, tasks, features: await featuresOf(task) };
  await trainPiece(task, { ...ready, ...folds, onProgress: send, signal });
}

async function end(
  task: TrainTask,
  signal: AbortSignal,
): Promise<CrossValidatedDocument> {
  await recordPieces(task.folder);
  return await reportedFolds(task, signal);
}

/** The result of a cross-validation, with its report in the folder. */
async function reportedFolds(
  task: TrainTask,
  signal: AbortSignal,
): Promise<CrossValidatedDocument> {
  const { attempt, warnings } = attemptsOf(task, signal);
  await attempt("write its report", () => writeReport(task, signal));
  const result = await crossValidated(task.folder, task.name);
  return { ...result, ...(warnings.length > 0 && { warnings }) };
}

/** The features that hosts share, of folds that are trained on some. */
async function featuresOf(
  { config, features }: TrainTask,
): Promise<FeatureCache | undefined> {
  if (features === undefined || config.training.dense === null) {
    return undefined;
  }
  return await openFeatures(features);
}

/** What every training needs. */
async function readyFor(task: TrainTask) {
  const { data, config, pending, roots, allowedHosts } = task;
  const engine = await startEngine(task.backend);
  const allowed = { allowedHosts, maxPixels: task.maxPixels };
  const sources = await Sources.open({ roots, hosts: allowedHosts });
  const manifest = await sources.readManifest(data, config.target);
  checkReference(config, manifest);
  return {
    engine,
    manifest,
    boxes: await boxesOf(manifest, task, sources),
    memory: new Memory(task.memoryBytes),
    opening: guardedOpening(allowed),
    workers: task.workers,
    workerModule: { module: SHARE_WORKER, opening: allowed },
    turn: turns(pending),
  };
}

/** Work whose failure costs only what it makes: a line of `warnings` says why. */
function attemptsOf(task: TrainTask, signal: AbortSignal) {
  const warnings: string[] = [];
  return {
    warnings,
    async attempt<T>(aim: string, work: () => Promise<T>) {
      try {
        return await work();
      } catch (error) {
        signal.throwIfAborted();
        const { message } = error as Error;
        warnings.push(
          `Cannot ${aim}: ${messagesOf(task).told(oneLine(message))}`,
        );
        return undefined;
      }
    },
  };
}

function messagesOf({ roots, folder }: TrainTask): Messages {
  return new Messages([...roots, dirname(folder)]);
}

/** Writes the report of a task, as its callers may see it. */
async function writeReport(
  task: TrainTask,
  signal: AbortSignal,
): Promise<void> {
  const messages = messagesOf(task);
  const shared = {
    name: task.name,
    told: (text: string) => messages.told(text),
  };
  await writeReportOf(task.folder, { signal, shared });
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
