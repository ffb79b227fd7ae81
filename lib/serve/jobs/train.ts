/**
 * A job that trains: a Worker of its own, then a model among the others.
 *
 * @module
 */
import { join } from "node:path";
import type { BackendChoice } from "../../engine/select.ts";
import { EngineError } from "../../errors.ts";
import { moveIntoPlace, writeJson } from "../../files.ts";
import type { Config } from "../../model/config.ts";
import type { TrainResult } from "../../train/trainer.ts";
import type { EnginePool } from "../engine/pool.ts";
import { ConflictError } from "../errors.ts";
import { RESULT_FILE } from "./files.ts";
import type { JobContext, JobWork } from "./runner.ts";
import type { ModelRegistry } from "../models.ts";
import type { TrainEvent, TrainMethods } from "./train_protocol.ts";
import type { Sources } from "../intake/allowed_sources.ts";
import { WorkerCalls } from "../../workers/calls.ts";

/** What to train, checked when it was accepted. */
export interface TrainJobRequest {
  data: string;
  /** What the model will be called. */
  name: string;
  config: Config;
  seed: number;
}

/** What training works with. */
export interface TrainWorkOptions {
  backend: BackendChoice;
  allowedHosts: readonly string[];
  maxPixels: number;
  memoryBytes: number;
  engine: EnginePool;
  models: ModelRegistry;
  sources: Sources;
  /** How long a step may go on once the job is to stop. */
  stopMs: number;
  /** The Worker that trains, where it is not ours. */
  module?: URL | undefined;
}

/** Folder of the run, in the job's. */
export const RUN_FOLDER = "run";
// In the run's folder: which job made it.
const JOB_FILE = "job.json";

const WORKER = new URL("./train_worker.ts", import.meta.url);

/** Trains, and puts the finished run among the models. */
export function trainWork(options: TrainWorkOptions): JobWork {
  const { models, sources } = options;
  return async function trainJob(context) {
    const { job, folder } = context;
    const { name, config, ...request } = job.request as TrainJobRequest;
    if (!await isPublished(models.placeOf(name), job.id)) {
      if (models.isTaken(name)) throw nameTaken(name);
      // It may have been changed since it was accepted.
      await sources.readManifest(request.data);
      const run = join(folder, RUN_FOLDER);
      const result = await train(
        { name, config, ...request },
        run,
        context,
        options,
      );
      await writeJson(join(folder, RESULT_FILE), { name, ...result });
      await writeJson(join(run, JOB_FILE), { id: job.id });
      if (models.isTaken(name)) throw nameTaken(name); // meanwhile
      await context.assertHeld();
      await moveIntoPlace(run, models.placeOf(name));
    }
    await models.refresh();
  };
}

async function train(
  { data, config, seed }: TrainJobRequest,
  folder: string,
  { report, signal }: JobContext,
  { engine, backend, allowedHosts, maxPixels, memoryBytes, stopMs, module }:
    TrainWorkOptions,
): Promise<TrainResult> {
  const calls = new WorkerCalls<TrainMethods, TrainEvent>(module ?? WORKER, {
    onEvent: (progress) => report({ ...progress }),
    onCrash: (reason) =>
      calls.close(new EngineError(`The Worker that trains ended: ${reason}`)),
  });
  let late: ReturnType<typeof setTimeout> | undefined;
  const stop = () => {
    // In the midst of a step it hears nothing; what it has kept stays.
    late = setTimeout(
      () => calls.close(new EngineError("The Worker that trains did not stop")),
      stopMs,
    );
  };
  signal.addEventListener("abort", stop);
  try {
    return await calls.call("train", {
      ...{ data, config, seed, folder },
      ...{ backend, allowedHosts, maxPixels, memoryBytes },
      pending: engine.pending,
    }, signal);
  } finally {
    signal.removeEventListener("abort", stop);
    clearTimeout(late);
    calls.close(new EngineError("The Worker that trains was ended"));
  }
}

/** Whether an earlier attempt came as far as the folder of models. */
async function isPublished(place: string, id: string): Promise<boolean> {
  const text = await Deno.readTextFile(join(place, JOB_FILE))
    .catch(() => undefined);
  return text !== undefined && JSON.parse(text).id === id;
}

function nameTaken(name: string): ConflictError {
  return new ConflictError(
    `Cannot call the model "${name}": there is one of that name; delete it, then resume this job`,
  );
}
