/**
 * The Worker's end of a pool: one task at a time. See worker_pool.ts.
 *
 * @module
 */
import { type PlainError, plainError } from "../errors.ts";
import { InterruptError } from "./terminal.ts";

/** Does one task and tells how far it is. */
export type DoTask<Task, Result, Progress = never> = (
  task: Task,
  onProgress: (progress: Progress) => void,
) => Promise<Result>;

/** What the pool tells a worker. */
export type ToWorker<Setup, Task> =
  | { type: "setup"; setup: Setup }
  | { type: "run"; task: Task }
  | { type: "stop" };

/** What a worker tells the pool. */
export type FromWorker<Result, Progress> =
  | { type: "progress"; progress: Progress }
  | { type: "result"; result: Result }
  | { type: "error"; error: PlainError };

/**
 * Serves a pool's tasks.
 *
 * @param start makes the worker ready; `signal` is the pool's.
 */
export function serveTasks<Setup, Task, Result, Progress = never>(
  start: (
    setup: Setup,
    signal: AbortSignal,
  ) => Promise<DoTask<Task, Result, Progress>>,
): void {
  const scope = self as unknown as {
    onmessage: (event: MessageEvent<ToWorker<Setup, Task>>) => void;
    postMessage(message: FromWorker<Result, Progress>): void;
  };
  const controller = new AbortController();
  let ready: Promise<DoTask<Task, Result, Progress>>;
  scope.onmessage = async ({ data: message }) => {
    switch (message.type) {
      case "setup":
        ready = start(message.setup, controller.signal);
        ready.catch(() => {}); // what fails is told to the first task
        break;
      case "stop":
        controller.abort(new InterruptError());
        break;
      case "run":
        try {
          const result = await (await ready)(
            message.task,
            (progress) => scope.postMessage({ type: "progress", progress }),
          );
          scope.postMessage({ type: "result", result });
        } catch (error) {
          scope.postMessage({ type: "error", error: plainError(error) });
        }
        break;
      default:
        message satisfies never;
    }
  };
}
