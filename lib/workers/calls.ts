/**
 * Remote calls to a Worker: each gets an answer and can be aborted, and events
 * come back. An error keeps its class.
 *
 * @module
 */
import { type PlainError, plainError, revivedError } from "../errors.ts";

/** The functions of a Worker, by name, with their input and result. */
export type Methods = Record<string, (input: never) => unknown>;

type Input<M extends Methods, Name extends keyof M> = Parameters<M[Name]>[0];
type Output<M extends Methods, Name extends keyof M> = ReturnType<M[Name]>;

type ToWorker =
  | { type: "call"; id: number; method: string; input: unknown }
  | { type: "abort"; id: number };

type FromWorker<Event> =
  | { type: "value"; id: number; value: unknown }
  | { type: "error"; id: number; error: PlainError }
  | { type: "event"; event: Event };

/** Handlers of the calls, in the Worker. */
export type Handlers<M extends Methods> = {
  [Name in keyof M]: (
    input: Input<M, Name>,
    signal: AbortSignal,
  ) => Promise<Output<M, Name>> | Output<M, Name>;
};

interface Scope {
  onmessage: ((event: MessageEvent<ToWorker>) => void) | null;
  postMessage(message: FromWorker<unknown>): void;
}

/** Answers the calls to this Worker. Returns a function that sends an event. */
export function answerCalls<M extends Methods, Event>(
  handlers: Handlers<M>,
): (event: Event) => void {
  const scope = self as unknown as Scope;
  const running = new Map<number, AbortController>();
  scope.onmessage = async ({ data: message }) => {
    const { id } = message;
    if (message.type === "abort") {
      running.get(id)?.abort();
      return;
    }
    const controller = new AbortController();
    running.set(id, controller);
    try {
      const handler = handlers[message.method]!;
      const input = message.input as Input<M, string>;
      const value = await handler(input, controller.signal);
      scope.postMessage({ type: "value", id, value });
    } catch (error) {
      scope.postMessage({ type: "error", id, error: plainError(error) });
    } finally {
      running.delete(id);
    }
  };
  return (event) => scope.postMessage({ type: "event", event });
}

/** Options of {@linkcode WorkerCalls}. */
export interface WorkerCallsOptions<Event> {
  onEvent?: (event: Event) => void;
  /** Called if the Worker ends by an error outside any call. */
  onCrash: (reason: string) => void;
}

/** A Worker of ours, seen from outside. */
export class WorkerCalls<M extends Methods, Event = never> {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>();
  #lastId = 0;
  #closed: Error | undefined;

  constructor(module: URL, { onEvent, onCrash }: WorkerCallsOptions<Event>) {
    this.#worker = new Worker(module, { type: "module" });
    this.#worker.onmessage = ({ data }: MessageEvent<FromWorker<Event>>) => {
      if (data.type === "event") return onEvent?.(data.event);
      const call = this.#waiting.get(data.id);
      this.#waiting.delete(data.id);
      if (data.type === "value") call?.resolve(data.value);
      else call?.reject(revivedError(data.error));
    };
    this.#worker.onerror = (event) => {
      event.preventDefault(); // or it ends the process
      onCrash(event.message);
    };
  }

  /**
   * Calls `method`. When `signal` aborts, the Worker is notified, and the call ends
   * when the Worker has answered: it has then stopped its work.
   *
   * @throws The method's error; the signal's reason, if it aborted before.
   */
  async call<Name extends keyof M & string>(
    method: Name,
    input: Input<M, Name>,
    signal?: AbortSignal,
  ): Promise<Output<M, Name>> {
    signal?.throwIfAborted();
    if (this.#closed) throw this.#closed;
    const id = ++this.#lastId;
    const call = Promise.withResolvers<unknown>();
    this.#waiting.set(id, call);
    const abort = () => this.#send({ type: "abort", id });
    signal?.addEventListener("abort", abort);
    try {
      this.#send({ type: "call", id, method, input });
      return await call.promise as Output<M, Name>;
    } catch (error) {
      signal?.throwIfAborted();
      throw error;
    } finally {
      signal?.removeEventListener("abort", abort);
    }
  }

  /** Ends the Worker; calls that wait fail with `reason`. */
  close(reason: Error): void {
    this.#closed ??= reason;
    this.#worker.terminate();
    for (const call of this.#waiting.values()) call.reject(reason);
    this.#waiting.clear();
  }

  #send(message: ToWorker): void {
    if (!this.#closed) this.#worker.postMessage(message);
  }
}
