/**
 * Folds side by side: one Worker a core, each with an engine of its own. A fold
 * depends on nothing but its task, so the results are those of a serial run.
 *
 * @module
 */
import * as errors from "../errors.ts";
import type { FoldResult, FoldTask } from "../train/crossval.ts";
import type { Progress } from "../train/trainer.ts";
import type { FoldSetup, FromWorker, ToWorker } from "./fold_worker.ts";

/** How a pool runs. */
export interface FoldPoolOptions {
  workers: number;
  onProgress: (task: FoldTask, progress: Progress) => void;
  /** Called as folds end, in any order. */
  onResult: (result: FoldResult) => Promise<void>;
  signal: AbortSignal;
}

/**
 * Runs all tasks and returns their results in the order of the tasks.
 *
 * @throws What the first fold that fails throws; the others are stopped.
 */
export async function runFolds(
  tasks: readonly FoldTask[],
  setup: FoldSetup,
  options: FoldPoolOptions,
): Promise<FoldResult[]> {
  const results = new Array<FoldResult>(tasks.length);
  const queue = [...tasks.entries()];
  const workers = Array.from(
    { length: Math.min(options.workers, tasks.length) },
    () => startWorker(setup),
  );
  const stop = () =>
    workers.forEach((worker) => send(worker, { type: "stop" }));
  options.signal.addEventListener("abort", stop);
  const serve = async (worker: Worker) => {
    for (let next = queue.shift(); next; next = queue.shift()) {
      const [index, task] = next;
      results[index] = await runTask(worker, task, options);
      await options.onResult(results[index]);
    }
  };
  try {
    await Promise.all(workers.map((worker) => serve(worker)));
    return results;
  } finally {
    options.signal.removeEventListener("abort", stop);
    for (const worker of workers) worker.terminate();
  }
}

function startWorker(setup: FoldSetup): Worker {
  const worker = new Worker(new URL("./fold_worker.ts", import.meta.url), {
    type: "module",
  });
  send(worker, { type: "setup", setup });
  return worker;
}

function send(worker: Worker, message: ToWorker): void {
  worker.postMessage(message);
}

function runTask(
  worker: Worker,
  task: FoldTask,
  { onProgress, signal }: FoldPoolOptions,
): Promise<FoldResult> {
  const { promise, resolve, reject } = Promise.withResolvers<FoldResult>();
  worker.onmessage = ({ data }: MessageEvent<FromWorker>) => {
    switch (data.type) {
      case "progress":
        return onProgress(task, data.progress);
      case "result":
        return resolve(data.result);
      case "error":
        return reject(
          data.name === "InterruptError" ? signal.reason : revived(data),
        );
      default:
        data satisfies never;
    }
  };
  worker.onerror = (event) => {
    event.preventDefault(); // or it ends the process, past our one line
    reject(new errors.EngineError(`A worker ended: ${event.message}`));
  };
  send(worker, { type: "run", task });
  return promise;
}

/** The error as it was thrown: an error's class does not cross to a Worker. */
function revived(
  { name, message, stack }: FromWorker & { type: "error" },
): Error {
  const known =
    (errors as Record<string, new (message: string) => Error>)[name];
  const error = known ? new known(message) : new Error(message);
  error.stack = stack;
  return error;
}
