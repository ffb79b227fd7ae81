/**
 * A job that trains in its own Worker, then adds the model to the folder; one that
 * cross-validates makes no model.
 *
 * @module
 */
import { join } from "node:path";
import type { AnnotatedImage } from "../../data/annotations/object.ts";
import type { BackendChoice } from "../../engine/select.ts";
import {
  EngineError,
  NamedError,
  oneLine,
  TrainingError,
} from "../../errors.ts";
import { moveFolder, writeJson } from "../../files.ts";
import { storageFault } from "../intake/disk.ts";
import type { Config } from "../../model/config.ts";
import type { Log } from "../logging.ts";
import type { EnginePool } from "../engine/pool.ts";
import { ConflictError } from "../errors.ts";
import type { FeaturePlace } from "./features.ts";
import { RESULT_FILE } from "./files.ts";
import type { JobContext, JobWork } from "./runner.ts";
import type { Job } from "./store.ts";
import type { SharedModels } from "./shared_models.ts";
import type { ModelRegistry } from "../models.ts";
import type { FoldChoice } from "../../train/runs/fold_plan.ts";
import {
  type ProtocolChoice,
  protocolsOf,
} from "../../train/runs/fold_task.ts";
import type { TrainEvent, TrainMethods, TrainTask } from "./train_protocol.ts";
import type { Tables } from "../tables/tables.ts";
import { WorkerCalls } from "../../workers/calls.ts";

/** Request of a training job, checked when it was accepted. */
export interface TrainJobRequest {
  data: string;
  /** Name of the new model, or of the cross-validation. */
  name: string;
  config: Config;
  seed: number;
  /** Takes labels that look like slips. */
  labelsAsTheyAre?: boolean;
  /** Trains on annotated objects as well; those drawn are in the job's folder. */
  boxes?: boolean;
  /** Cross-validates: a number of new folds, or those of the table. */
  folds?: FoldChoice["folds"];
  protocol?: ProtocolChoice;
}

/** The folds of a request, if it is one for a cross-validation. */
export function foldChoice(
  { folds, seed, protocol }: TrainJobRequest,
): FoldChoice | undefined {
  if (folds === undefined) return undefined;
  return { folds, seed, protocols: protocolsOf(protocol) };
}

/** True for a cross-validation. */
export function isOfFolds(
  { kind, request }: Pick<Job, "kind" | "request">,
): boolean {
  return kind === "train" &&
    foldChoice(request as TrainJobRequest) !== undefined;
}

/** Trainings of this process, which has memory for one. */
export class Trainings {
  #running = 0;

  /** True while none runs. */
  get isFree(): boolean {
    return this.#running === 0;
  }

  /** Begins one; dispose of it when it has ended. */
  begin(): Disposable {
    this.#running++;
    return { [Symbol.dispose]: () => void this.#running-- };
  }
}

/** Parts of the server that training jobs use. */
export interface TrainWorkOptions {
  backend: BackendChoice;
  /** Most workers of a run; one a core if omitted. */
  workers: number | undefined;
  allowedHosts: readonly string[];
  /** Folders of the files that a table may name. */
  roots: readonly string[];
  maxPixels: number;
  memoryBytes: number;
  engine: EnginePool;
  models: ModelRegistry;
  tables: Tables;
  /** Brings the models to other hosts. */
  sharedModels: Pick<SharedModels, "offer">;
  trainings: Trainings;
  /** Frozen features, if hosts share them. */
  features: FeaturePlace | undefined;
  log: Log;
  /** Longest that a step may run after the job was asked to stop, ms. */
  stopMs: number;
  /** Module of the training Worker; a test may replace it. */
  module?: URL | undefined;
}

/** Folder of the run, inside the job's folder. */
export const RUN_FOLDER = "run";
// In the run's folder: the id of the job that made it.
const JOB_FILE = "job.json";
// In the job's folder: the objects that were drawn when it was accepted.
export const DRAWN_FILE = "drawn.json";

const WORKER = new URL("./train_worker.ts", import.meta.url);

/** Trains or cross-validates, as the request says. */
export function trainWork(options: TrainWorkOptions): JobWork {
  return async function trainJob(context) {
    const request = context.job.request as TrainJobRequest;
    const choice = foldChoice(request);
    await (choice === undefined
      ? trainModel(request, context, options)
      : crossValidate({ ...request, choice }, context, options));
  };
}

/** Trains, then moves the finished run to the folder of models. */
async function trainModel(
  request: TrainJobRequest,
  context: JobContext,
  options: TrainWorkOptions,
): Promise<void> {
  const { job, folder, signal } = context;
  const { models, tables } = options;
  const { name, data, config, labelsAsTheyAre } = request;
  if (!await isPublished(models.placeOf(name), job.id)) {
    if (models.isTaken(name)) throw nameTaken(name);
    // The table may have changed after the job was accepted.
    await tables.checkTraining(data, { config, labelsAsTheyAre, signal });
    const run = join(folder, RUN_FOLDER);
    const result = await inWorker(
      request,
      { context, options },
      (calls, task) => calls.call("train", task, signal),
    );
    tellWarnings(result, context, options);
    await writeJson(join(folder, RESULT_FILE), { name, ...result });
    await writeJson(join(run, JOB_FILE), { id: job.id });
    if (models.isTaken(name)) throw nameTaken(name); // taken meanwhile
    await context.assertHeld();
    await moveFolder(run, models.placeOf(name));
  }
  await models.refresh();
  await options.sharedModels.offer(name);
}

/** Checks the table of a cross-validation, which may have changed. */
export async function checkTable(
  request: TrainJobRequest,
  { context: { signal }, options: { tables } }: {
    context: JobContext;
    options: TrainWorkOptions;
  },
): Promise<void> {
  const { data, config, labelsAsTheyAre } = request;
  const choice = foldChoice(request);
  await tables.checkTraining(data, { config, choice, labelsAsTheyAre, signal });
}

/** Trains and tests the folds, whose runs stay in the job's folder. */
async function crossValidate(
  { choice, ...request }: TrainJobRequest & { choice: FoldChoice },
  context: JobContext,
  options: TrainWorkOptions,
): Promise<void> {
  const { folder, signal } = context;
  await checkTable(request, { context, options });
  const result = await inWorker(
    request,
    { context, options },
    (calls, task) => calls.call("crossValidate", { ...task, choice }, signal),
  );
  tellWarnings(result, context, options);
  await writeJson(join(folder, RESULT_FILE), result);
}

/** Logs what a result lacks. */
export function tellWarnings(
  { warnings = [] }: { warnings?: readonly string[] | undefined },
  { job }: JobContext,
  { log }: TrainWorkOptions,
): void {
  for (const warning of warnings) {
    log("warn", "job incomplete", { job: job.id, warning });
  }
}

/** Starts the training Worker, calls it, and ends it. */
export async function inWorker<Result>(
  { name, data, config, seed, boxes = false }: TrainJobRequest,
  { context: { folder, report, signal }, options }: {
    context: JobContext;
    options: TrainWorkOptions;
  },
  call: (
    calls: WorkerCalls<TrainMethods, TrainEvent>,
    task: TrainTask,
  ) => Promise<Result>,
): Promise<Result> {
  const { engine, module, stopMs, trainings, features } = options;
  using _training = trainings.begin();
  const { backend, workers, allowedHosts, roots, maxPixels, memoryBytes } =
    options;
  const calls = new WorkerCalls<TrainMethods, TrainEvent>(module ?? WORKER, {
    onEvent: (progress) => report({ ...progress }),
    onCrash: (reason) =>
      calls.close(new EngineError(`The training Worker ended: ${reason}`)),
  });
  let late: ReturnType<typeof setTimeout> | undefined;
  const stop = () => {
    // A Worker gets no messages during a step; saved checkpoints stay.
    late = setTimeout(
      () =>
        calls.close(
          new EngineError(
            "The training Worker did not stop in time and was ended",
          ),
        ),
      stopMs,
    );
  };
  signal.addEventListener("abort", stop);
  try {
    return await call(calls, {
      name,
      data,
      config,
      seed,
      folder: join(folder, RUN_FOLDER),
      drawn: boxes ? await drawnIn(folder) : undefined,
      backend,
      workers,
      allowedHosts,
      roots,
      maxPixels,
      memoryBytes,
      features,
      pending: engine.pending,
    });
  } catch (error) {
    throw toldOf(error, signal);
  } finally {
    signal.removeEventListener("abort", stop);
    clearTimeout(late);
    calls.close(new EngineError("The training Worker was ended"));
  }
}

async function drawnIn(folder: string): Promise<AnnotatedImage[]> {
  return JSON.parse(await Deno.readTextFile(join(folder, DRAWN_FILE)));
}

// What V8 and WebAssembly say if sizes exceed what they can hold.
const TOO_LARGE =
  /Invalid typed array length|allocation failed|out of memory|out of bounds|Maximum .*size exceeded/i;

/**
 * `error` for the answer about the job: a fault that nobody foresaw has mostly
 * to do with the sizes that were chosen, and says more than that there was one.
 */
function toldOf(error: unknown, signal: AbortSignal): unknown {
  const isTold = signal.aborted || error instanceof NamedError ||
    storageFault(error) !== undefined;
  if (isTold || !(error instanceof Error)) return error;
  const fault = oneLine(error.message);
  return new TrainingError(
    TOO_LARGE.test(fault)
      ? `Cannot train: the sizes of the configuration need more memory than an engine has (${fault}); lower view.tileSize, view.subTileSize, view.samples or training.batchSize`
      : `Cannot train, for a reason that was not foreseen: ${fault}; compare view and training with a preset's, and report it if they fit`,
    { cause: error },
  );
}

/** True if an earlier attempt had already moved the run to the models. */
async function isPublished(place: string, id: string): Promise<boolean> {
  const text = await Deno.readTextFile(join(place, JOB_FILE))
    .catch(() => undefined);
  return text !== undefined && JSON.parse(text).id === id;
}

function nameTaken(name: string): ConflictError {
  return new ConflictError(
    `The model name "${name}" is taken: delete that model, then resume this job`,
  );
}
