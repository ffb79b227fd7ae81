/**
 * Tasks side by side: one Worker a core, each with an engine of its own. A task
 * depends on nothing but itself, so the results are those of a serial run. The
 * other end is worker_loop.ts.
 *
 * @module
 */
import { EngineError, revivedError } from "../errors.ts";
import type { FromWorker, ToWorker } from "./worker_loop.ts";

/** How a pool runs; Setup is what every worker starts with. */
export interface PoolOptions<Setup, Task, Result, Progress> {
  /** Module of the Worker: it calls `serveTasks`. */
  module: URL;
  setup: Setup;
  workers: number;
  onProgress?: (task: Task, progress: Progress) => void;
  /** Called as tasks end, in any order. */
  onResult: (result: Result, index: number) => void | Promise<void>;
  signal: AbortSignal;
}

/**
 * Runs all tasks and returns their results in the order of the tasks. The
 * Workers end with the process: a GPU's driver may crash where it ends while a
 * Worker does.
 *
 * @throws What the first task that fails throws; the others are stopped.
 */
export async function runTasks<Setup, Task, Result, Progress = never>(
  tasks: readonly Task[],
  options: PoolOptions<Setup, Task, Result, Progress>,
): Promise<Result[]> {
  const { module, setup, signal, onResult } = options;
  const results = new Array<Result>(tasks.length);
  const queue = [...tasks.entries()].values();
  const send = (worker: Worker, message: ToWorker<Setup, Task>) =>
    worker.postMessage(message);
  const workers = Array.from(
    { length: Math.min(options.workers, tasks.length) },
    () => new Worker(module, { type: "module" }),
  );
  const stop = () => {
    for (const worker of workers) send(worker, { type: "stop" });
  };
  signal.addEventListener("abort", stop);
  const serve = async (worker: Worker) => {
    send(worker, { type: "setup", setup });
    for (const [index, task] of queue) {
      signal.throwIfAborted();
      const pending = resultOf<Task, Result, Progress>(worker, task, options);
      send(worker, { type: "run", task });
      const result = results[index] = await pending;
      await onResult(result, index);
    }
  };
  try {
    await Promise.all(workers.map((worker) => serve(worker)));
    return results;
  } catch (error) {
    stop();
    throw error;
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

/** What a worker makes of a task that it is about to be given. */
function resultOf<Task, Result, Progress>(
  worker: Worker,
  task: Task,
  { onProgress, signal }: {
    onProgress?: (task: Task, progress: Progress) => void;
    signal: AbortSignal;
  },
): Promise<Result> {
  const { promise, resolve, reject } = Promise.withResolvers<Result>();
  worker.onmessage = ({ data }: MessageEvent<FromWorker<Result, Progress>>) => {
    switch (data.type) {
      case "progress":
        return onProgress?.(task, data.progress);
      case "result":
        return resolve(data.result);
      case "error":
        return reject(
          data.error.name === "InterruptError"
            ? signal.reason
            : revivedError(data.error),
        );
      default:
        data satisfies never;
    }
  };
  worker.onerror = (event) => {
    event.preventDefault(); // or it ends the process, past our one line
    reject(new EngineError(`A worker ended: ${event.message}`));
  };
  return promise;
}
