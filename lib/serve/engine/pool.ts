/**
 * The engine as the server sees it: one Worker on a GPU, one a core without.
 *
 * @module
 */
import { EngineClient, type EngineClientOptions } from "./client.ts";
import type { ClassifiedImage } from "../../eval/classify.ts";
import type { ClassifyTask, EngineStatus } from "./protocol.ts";
import { NotReadyError } from "../errors.ts";

/** How to keep engines. */
export interface EnginePoolOptions extends EngineClientOptions {
  /** Engines side by side; by the backend where left out. */
  workers?: number | undefined;
}

/** Engines that share the work; each holds every model. */
export class EnginePool {
  readonly #options: EnginePoolOptions;
  readonly #engines: EngineClient[] = [];
  // Shared with the Worker that trains: how many wait to be classified.
  readonly #pending = new Int32Array(new SharedArrayBuffer(4));

  constructor(options: EnginePoolOptions) {
    this.#options = options;
  }

  /** An engine that passed its self-test; undefined while there is none. */
  get status(): EngineStatus | undefined {
    return this.#engines.find(({ status }) => status)?.status;
  }

  /** Why an engine is not there, if one was lost or does not start. */
  get failure(): string | undefined {
    return this.#engines.find(({ failure }) => failure)?.failure;
  }

  /** Classifications under way, as a Worker that trains can watch them. */
  get pending(): Int32Array<SharedArrayBuffer> {
    return this.#pending;
  }

  /** Starts all engines. Fails as one fails; a later loss is mended by itself. */
  async start(): Promise<void> {
    await this.#startOne();
    const { backend } = this.status!;
    const { workers } = this.#options;
    const count = workers ??
      (backend === "webgpu" ? 1 : navigator.hardwareConcurrency);
    await Promise.all(
      Array.from({ length: count - 1 }, () => this.#startOne()),
    );
  }

  /** Loads a checkpoint, whose hash must be `sha256`, onto every engine. */
  async load(path: string, sha256: string): Promise<void> {
    await Promise.all(
      this.#engines.map((engine) => engine.load(path, sha256)),
    );
  }

  async unload(sha256: string): Promise<void> {
    await Promise.all(this.#engines.map((engine) => engine.unload(sha256)));
  }

  /** Classifies on the engine that has the least to do. */
  async classify(
    task: ClassifyTask,
    signal: AbortSignal,
  ): Promise<ClassifiedImage> {
    const [engine] = this.#engines
      .filter(({ status }) => status !== undefined)
      .sort((a, b) => a.busy - b.busy);
    if (!engine) {
      throw new NotReadyError(
        `The engine is not ready: ${this.failure ?? "it is being started"}`,
      );
    }
    Atomics.add(this.#pending, 0, 1);
    try {
      return await engine.classify(task, signal);
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
   * Ends the engines. A GPU's driver may crash where the process ends while a
   * Worker of it does: before the end of the process the Workers are left alone.
   *
   * @param isEnd if the process ends now.
   */
  close(isEnd = false): void {
    for (const engine of this.#engines) engine.close(isEnd);
  }

  async #startOne(): Promise<void> {
    const engine = new EngineClient(this.#options);
    this.#engines.push(engine);
    await engine.start();
  }
}
