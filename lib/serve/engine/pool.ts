/**
 * The engines of the server: one Worker on a GPU, or one a core without a GPU.
 *
 * @module
 */
import { once } from "node:events";
import { EngineClient, type EngineClientOptions } from "./client.ts";
import type { ClassifiedImage } from "../../eval/classify.ts";
import {
  AHEAD,
  BATCH_SIZES,
  type ClassifyTask,
  type EngineStatus,
  type EngineTrial,
} from "./protocol.ts";
import { withSignal } from "../../image/bytes/with_signal.ts";
import { roomCounters } from "../../image/decoding_room.ts";
import { EngineStoppedError, NotReadyError } from "../errors.ts";

/** Options of {@linkcode EnginePool}. */
export interface EnginePoolOptions
  extends Omit<EngineClientOptions, "room" | "worker" | "trial"> {
  trial: Omit<EngineTrial, "workers">;
  /** Number of engines; if omitted, chosen by the backend. */
  workers?: number | undefined;
}

/** States of an engine: `stopping` computes what was given up. */
export type EngineState = "idle" | "busy" | "stopping" | "down";

// More than any machine has cores.
const MAX_ENGINES = 4096;

/** Engines that share the work; each holds all models. */
export class EnginePool {
  readonly #options: EnginePoolOptions;
  readonly #engines: EngineClient[] = [];
  readonly #room = roomCounters(MAX_ENGINES);
  /** Tells "news" when an engine is ready, and at the end. */
  readonly #news = new EventTarget();
  // Number of pending classifications, shared with the training Worker.
  readonly #pending = new Int32Array(new SharedArrayBuffer(4));

  constructor(options: EnginePoolOptions) {
    this.#options = options;
  }

  /** Status of a ready engine; undefined while there is none. */
  get status(): EngineStatus | undefined {
    return this.#engines.find(({ status }) => status)?.status;
  }

  /** Reason of the failure if an engine was lost or does not start. */
  get failure(): string | undefined {
    return this.#engines.find(({ failure }) => failure)?.failure;
  }

  /** Number of engines by state. */
  get states(): Record<EngineState, number> {
    const counts = { idle: 0, busy: 0, stopping: 0, down: 0 };
    for (const engine of this.#engines) counts[stateOf(engine)]++;
    return counts;
  }

  /** Images that the engines have use for at a time. */
  get places(): number {
    const { backend } = this.status ?? {};
    if (backend === undefined) return 0;
    return this.#engines.length * (BATCH_SIZES[backend] + AHEAD[backend]);
  }

  /** Number of classifications that the engines have not answered yet. */
  get busy(): number {
    return this.#engines.reduce((sum, { busy }) => sum + busy, 0);
  }

  /** Shared count of pending classifications, for the training Worker. */
  get pending(): Int32Array<SharedArrayBuffer> {
    return this.#pending;
  }

  /**
   * Starts all engines; rejects if one fails. After a later loss each restarts
   * by itself.
   */
  async start(): Promise<void> {
    await this.#startOne();
    const { backend } = this.status!;
    const count = this.#options.workers ??
      (backend === "webgpu" ? 1 : navigator.hardwareConcurrency);
    await Promise.all(
      Array.from({ length: count - 1 }, () => this.#startOne()),
    );
  }

  /** Loads a checkpoint whose hash must be `sha256` onto every engine. */
  async load(path: string, sha256: string): Promise<void> {
    await Promise.all(
      this.#engines.map((engine) => engine.load(path, sha256)),
    );
  }

  async unload(sha256: string): Promise<void> {
    await Promise.all(this.#engines.map((engine) => engine.unload(sha256)));
  }

  /**
   * Classifies on the least busy engine, none that computes what was given up
   * if there is another.
   */
  async dispatch(
    task: ClassifyTask,
    signal: AbortSignal,
  ): Promise<ClassifiedImage> {
    const [engine] = this.#engines
      .filter(({ status }) => status !== undefined)
      .sort((a, b) =>
        Number(a.isGivenUp) - Number(b.isGivenUp) || a.busy - b.busy
      );
    if (!engine) {
      throw new NotReadyError(
        `The engine is not ready: ${this.failure ?? "it is being started"}`,
      );
    }
    Atomics.add(this.#pending, 0, 1);
    try {
      return await engine.run(task, signal);
    } catch (error) {
      if (!(error instanceof EngineStoppedError)) throw error;
      await this.#restarted(signal);
      return await this.dispatch(task, signal);
    } finally {
      Atomics.sub(this.#pending, 0, 1);
    }
  }

  /** Bytes of GPU buffers in use. */
  async gpuBytes(): Promise<number> {
    const bytes = await Promise.all(
      this.#engines.map((engine) => engine.gpuBytes()),
    );
    return bytes.reduce((sum, bytes) => sum + bytes, 0);
  }

  /**
   * Ends the engines. A GPU's driver may crash if a Worker and the process end at
   * the same time, so before the end of the process the Workers are left running.
   *
   * @param isEnd true if the process ends now.
   */
  close(isEnd = false): void {
    this.#news.dispatchEvent(new Event("news"));
    for (const engine of this.#engines) engine.close(isEnd);
  }

  /** Waits for an engine, if the only one was ended because of other work. */
  async #restarted(signal: AbortSignal): Promise<void> {
    if (this.status) return;
    await withSignal(once(this.#news, "news"), signal);
  }

  async #startOne(): Promise<void> {
    const { trial, workers = navigator.hardwareConcurrency } = this.#options;
    const engine = new EngineClient({
      ...this.#options,
      trial: { ...trial, workers },
      onReady: (status) => {
        this.#news.dispatchEvent(new Event("news"));
        this.#options.onReady?.(status);
      },
      room: this.#room,
      worker: this.#engines.length,
    });
    this.#engines.push(engine);
    await engine.start();
  }
}

function stateOf({ status, isGivenUp, busy }: EngineClient): EngineState {
  if (!status) return "down";
  if (isGivenUp) return "stopping";
  return busy > 0 ? "busy" : "idle";
}
