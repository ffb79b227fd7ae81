/**
 * Tasks in parallel: one Worker a core, each with an engine of its own. Tasks are
 * independent, so the results are those of a serial run.
 *
 * @module
 */
import { EngineError } from "../errors.ts";
import { answerCalls, WorkerCalls } from "./calls.ts";

/** Signal and progress of a running task. */
export interface TaskContext<Progress> {
  signal: AbortSignal;
  onProgress: (progress: Progress) => void;
}

/** Does one task. */
export type DoTask<Task, Result, Progress = never> = (
  task: Task,
  context: TaskContext<Progress>,
) => Promise<Result>;

/** The functions of a pool's Worker. */
type PoolMethods<Setup, Task, Result> = {
  start(setup: Setup): void;
  run(task: Task): Result;
};

/**
 * The Worker's end of a pool.
 *
 * @param start makes the Worker ready; its failure is that of the first task.
 */
export function serveTasks<Setup, Task, Result, Progress = never>(
  start: (setup: Setup) => Promise<DoTask<Task, Result, Progress>>,
): void {
  let doTask: DoTask<Task, Result, Progress>;
  const onProgress = answerCalls<PoolMethods<Setup, Task, Result>, Progress>({
    async start(setup) {
      doTask = await start(setup);
    },
    async run(task, signal): Promise<Result> {
      return await doTask(task, { signal, onProgress });
    },
  });
}

/** Options of a pool; every Worker starts with `setup`. */
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
 * Runs all tasks and returns their results in the order of the tasks. The Workers
 * end with the process: a GPU driver may crash if the process ends while a Worker
 * is ending.
 *
 * @throws The error of the first task that fails, or the reason of `signal`; the
 *   other tasks are stopped.
 */
export async function runTasks<Setup, Task, Result, Progress = never>(
  tasks: readonly Task[],
  options: PoolOptions<Setup, Task, Result, Progress>,
): Promise<Result[]> {
  const { module, setup, onProgress, onResult } = options;
  const failed = new AbortController();
  const signal = AbortSignal.any([options.signal, failed.signal]);
  const results = new Array<Result>(tasks.length);
  const queue = [...tasks.entries()].values();
  async function work(): Promise<void> {
    let current: Task;
    const calls = new WorkerCalls<PoolMethods<Setup, Task, Result>, Progress>(
      module,
      {
        onEvent: (progress) => onProgress?.(current, progress),
        onCrash: (reason) =>
          calls.close(
            new EngineError(
              `A worker ended by an error outside its task: ${reason}`,
            ),
          ),
      },
    );
    await calls.call("start", setup, signal);
    for (const [index, task] of queue) {
      signal.throwIfAborted();
      current = task;
      const result = results[index] = await calls.call("run", task, signal);
      await onResult(result, index);
    }
  }
  const count = Math.min(options.workers, tasks.length);
  try {
    await Promise.all(Array.from({ length: count }, work));
    return results;
  } catch (error) {
    failed.abort();
    throw error;
  }
}
