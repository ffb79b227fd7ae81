/**
 * One engine: a Worker that restarts after a failure and loads its models again.
 * See pool.ts.
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
import { abandonRoom } from "../../image/decoding_room.ts";
import { withSignal } from "../../image/bytes/with_signal.ts";
import { EngineStoppedError, NotReadyError } from "../errors.ts";
import { WorkerCalls } from "../../workers/calls.ts";

/** Options of {@linkcode EngineClient}. */
export interface EngineClientOptions extends EngineSetup {
  /** Longest that the Worker may run on after its work was given up, ms. */
  stopMs: number;
  /** Module of the Worker; a test may replace it by one that fails. */
  module?: URL;
  /** Called with the reason when the engine is lost. */
  onLost?: (reason: string) => void;
  /** Called when the engine is ready, at first or again. */
  onReady?: (status: EngineStatus) => void;
}

// Delays between attempts to start: a driver may need time after a reset.
const FIRST_RETRY_MS = 500, LAST_RETRY_MS = 30_000;

const WORKER = new URL("./worker.ts", import.meta.url);

/** One engine in a Worker. */
export class EngineClient {
  readonly #options: EngineClientOptions;
  readonly #models = new Map<string, string>(); // path by SHA-256
  #busy = 0;
  #givenUp = 0;
  #calls: WorkerCalls<EngineMethods, EngineEvent> | undefined;
  #status: EngineStatus | undefined;
  #failure: string | undefined;
  #retryMs = FIRST_RETRY_MS;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #closed = false;

  constructor(options: EngineClientOptions) {
    this.#options = options;
  }

  /**
   * Status of the engine after its self-test; undefined while it is not ready.
   */
  get status(): EngineStatus | undefined {
    return this.#status;
  }

  /** Reason of the failure if the engine was lost or does not start. */
  get failure(): string | undefined {
    return this.#failure;
  }

  /** Number of unanswered classifications. */
  get busy(): number {
    return this.#busy;
  }

  /** True while it computes what nobody waits for. */
  get isGivenUp(): boolean {
    return this.#givenUp > 0;
  }

  /**
   * Starts the engine; rejects if that fails. After a later loss it restarts by
   * itself.
   */
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
      const { backend, trial, allowedHosts, encoderFiles, memoryBytes } =
        this.#options;
      const { room, worker } = this.#options;
      abandonRoom(room, worker); // of a Worker that was lost
      const status = await calls.call("start", {
        backend,
        trial,
        allowedHosts,
        encoderFiles,
        memoryBytes,
        room,
        worker,
      });
      for (const [sha256, path] of this.#models) {
        // A model that was changed or removed meanwhile must not stop the
        // engine.
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
   * Loads a checkpoint whose hash must be `sha256`: now, or once the engine is
   * back.
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

  async run(
    task: ClassifyTask,
    signal: AbortSignal,
  ): Promise<ClassifiedImage> {
    this.#busy++;
    const answer = this.#call((calls) => calls.call("classify", task, signal))
      .finally(() => this.#busy--); // only once the Worker is done with it
    const giveUp = () => this.#endLater(answer);
    signal.addEventListener("abort", giveUp);
    try {
      return await withSignal(answer, signal);
    } finally {
      signal.removeEventListener("abort", giveUp);
    }
  }

  /** Ends the Worker if work that was given up does not end in time. */
  async #endLater(work: Promise<unknown>): Promise<void> {
    const calls = this.#calls;
    const { stopMs } = this.#options;
    const timer = setTimeout(() => {
      if (calls) {
        this.#lose(calls, "it did not stop in time", EngineStoppedError);
      }
    }, stopMs);
    this.#givenUp++;
    await work.catch(() => {}); // nobody waits for it
    this.#givenUp--;
    clearTimeout(timer);
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
    if (!isEnd) {
      this.#calls?.close(
        new NotReadyError("The server is stopping: try again in a few seconds"),
      );
    }
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

  /** Drops a Worker that cannot continue and starts another. */
  #lose(
    calls: WorkerCalls<EngineMethods, EngineEvent>,
    reason: string,
    Lost = NotReadyError,
  ): void {
    if (this.#calls !== calls || this.#closed) return; // already replaced
    if (!this.#status) return calls.close(new EngineError(reason)); // makes start() fail
    this.#calls = undefined;
    this.#status = undefined;
    this.#failure = reason;
    calls.close(new Lost(`The engine was lost: ${reason}`));
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
