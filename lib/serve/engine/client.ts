/**
 * One engine: a Worker that is started again when it fails, with the models
 * that were loaded. See pool.ts.
 *
 * @module
 */
import { EngineError } from "../../errors.ts";
import type { ClassifiedImage } from "../../eval/classify.ts";
import type {
  ClassifyTask,
  EngineEvent,
  EngineMethods,
  EngineSetup,
  EngineStatus,
} from "./protocol.ts";
import { withSignal } from "../../image/bytes/with_signal.ts";
import { NotReadyError } from "../errors.ts";
import { WorkerCalls } from "../../workers/calls.ts";

/** How to keep an engine. */
export interface EngineClientOptions extends EngineSetup {
  /** The Worker's module; a test may put a frail engine in its place. */
  module?: URL;
  /** Called when the engine was lost, with the reason. */
  onLost?: (reason: string) => void;
  /** Called when it is there, at first or again. */
  onReady?: (status: EngineStatus) => void;
}

// Waits between attempts to start: a driver may need a while after a reset.
const FIRST_RETRY_MS = 500, LAST_RETRY_MS = 30_000;

const WORKER = new URL("./worker.ts", import.meta.url);

/** One engine in a Worker. */
export class EngineClient {
  readonly #options: EngineClientOptions;
  readonly #models = new Map<string, string>(); // path by SHA-256
  #busy = 0;
  #calls: WorkerCalls<EngineMethods, EngineEvent> | undefined;
  #status: EngineStatus | undefined;
  #failure: string | undefined;
  #retryMs = FIRST_RETRY_MS;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #closed = false;

  constructor(options: EngineClientOptions) {
    this.#options = options;
  }

  /** The engine, once it passed its self-test; undefined while it is not there. */
  get status(): EngineStatus | undefined {
    return this.#status;
  }

  /** Why the engine is not there, if it was lost or does not start. */
  get failure(): string | undefined {
    return this.#failure;
  }

  /** Classifications that it was given and has not answered. */
  get busy(): number {
    return this.#busy;
  }

  /** Starts the engine. Fails as it fails; a later loss is mended by itself. */
  async start(): Promise<void> {
    const calls = new WorkerCalls<EngineMethods, EngineEvent>(
      this.#options.module ?? WORKER,
      {
        onEvent: ({ failure }) => this.#lose(calls, failure),
        onCrash: (reason) => this.#lose(calls, reason),
      },
    );
    this.#calls = calls;
    try {
      const { backend, allowedHosts, memoryBytes } = this.#options;
      const setup = { backend, allowedHosts, memoryBytes };
      const status = await calls.call("start", setup);
      for (const [sha256, path] of this.#models) {
        // One that was changed or removed meanwhile must not keep the engine.
        await calls.call("load", { path, sha256 }).catch((error) => {
          if (error instanceof EngineError) throw error;
          this.#models.delete(sha256);
        });
      }
      this.#status = status;
      this.#failure = undefined;
      this.#retryMs = FIRST_RETRY_MS;
      this.#options.onReady?.(status);
    } catch (error) {
      calls.close(error as Error);
      throw error;
    }
  }

  /**
   * Loads a checkpoint, whose hash must be `sha256`: now, or with the engine
   * when it is back.
   */
  async load(path: string, sha256: string): Promise<void> {
    this.#models.set(sha256, path);
    if (!this.#status) return;
    try {
      await this.#call((calls) => calls.call("load", { path, sha256 }));
    } catch (error) {
      if (error instanceof NotReadyError) return;
      this.#models.delete(sha256);
      throw error;
    }
  }

  async unload(sha256: string): Promise<void> {
    this.#models.delete(sha256);
    if (!this.#status) return;
    await this.#call((calls) => calls.call("unload", { sha256 }));
  }

  async classify(
    task: ClassifyTask,
    signal: AbortSignal,
  ): Promise<ClassifiedImage> {
    this.#busy++;
    const answer = this.#call((calls) => calls.call("classify", task, signal))
      .finally(() => this.#busy--); // not before the Worker is done with it
    return await withSignal(answer, signal);
  }

  /** Bytes of GPU buffers in use. */
  async gpuBytes(): Promise<number> {
    if (!this.#status) return 0;
    const { gpuBytes } = await this.#call((calls) => calls.call("usage", {}));
    return gpuBytes;
  }

  /** As {@linkcode EnginePool.close}. */
  close(isEnd: boolean): void {
    this.#closed = true;
    clearTimeout(this.#retry);
    this.#status = undefined;
    if (!isEnd) this.#calls?.close(new NotReadyError("The server stops"));
  }

  async #call<T>(
    work: (calls: WorkerCalls<EngineMethods, EngineEvent>) => Promise<T>,
  ): Promise<T> {
    const calls = this.#calls;
    if (!calls || !this.#status) {
      throw new NotReadyError(
        `The engine is not ready: ${this.#failure ?? "it is being started"}`,
      );
    }
    try {
      return await work(calls);
    } catch (error) {
      if (!(error instanceof EngineError)) throw error;
      this.#lose(calls, error.message);
      throw new NotReadyError(`The engine was lost: ${error.message}`, {
        cause: error,
      });
    }
  }

  /** Drops a Worker that cannot go on, and asks for another. */
  #lose(calls: WorkerCalls<EngineMethods, EngineEvent>, reason: string): void {
    if (this.#calls !== calls || this.#closed) return; // another took its place
    if (!this.#status) return calls.close(new EngineError(reason)); // start fails
    this.#calls = undefined;
    this.#status = undefined;
    this.#failure = reason;
    calls.close(new NotReadyError(`The engine was lost: ${reason}`));
    this.#options.onLost?.(reason);
    this.#startLater();
  }

  #startLater(): void {
    this.#retry = setTimeout(async () => {
      try {
        await this.start();
      } catch (error) {
        this.#failure = (error as Error).message;
        this.#retryMs = Math.min(2 * this.#retryMs, LAST_RETRY_MS);
        if (!this.#closed) this.#startLater();
      }
    }, this.#retryMs);
  }
}
