/**
 * Classifies what requests and jobs bring, within the bounds of the queue and
 * of time.
 *
 * @module
 */
import type { ModelClassification } from "../eval/classification.ts";
import type { EnginePool } from "./engine/pool.ts";
import { BusyError, DeadlineError, NotReadyError } from "./errors.ts";
import type { Limits } from "./limits.ts";
import type { ModelEntry, ModelRegistry } from "./models.ts";

export type { ModelClassification };

/** How to look at an image; the configuration's own values where left out. */
export interface ClassifyOptions {
  samples?: number | undefined;
  draws?: "seeded" | "topN" | undefined;
  seed: number;
  mpp?: number | undefined;
  /** Also draw the heat map. */
  heatmap?: boolean;
}

/** An image: where it lies, and what messages call it. */
export interface NamedImage {
  /** A file, or a URL of an allowed host. */
  path: string;
  name: string;
  /** It was sent: no file beside it may be read. */
  alone: boolean;
}

/** A classification, and its heat map if one was asked for. */
export interface ServedClassification {
  result: ModelClassification;
  heatmap?: Uint8Array<ArrayBuffer>;
}

/** A place among the classifications under way; give it back once. */
export type Place = Disposable;

/** What a predictor works with. */
export interface PredictorOptions {
  engine: EnginePool;
  models: ModelRegistry;
  limits: Limits;
  /** Hears of every image that was classified. */
  onClassified: (result: ModelClassification) => void;
}

// Weight of the latest image in the mean time of one.
const MEMORY = 0.1;

/** One queue before one engine. */
export class Predictor {
  readonly #options: PredictorOptions;
  #places = 0;
  #meanMs = 100;
  #draining = false;

  constructor(options: PredictorOptions) {
    this.#options = options;
  }

  /** Requests that wait or run; one of several images holds one place. */
  get pending(): number {
    return this.#places;
  }

  /** From now on no place is given. */
  drain(): void {
    this.#draining = true;
  }

  /**
   * A place in the queue, before anything is read.
   *
   * @throws {BusyError | NotReadyError}
   */
  enter(): Place {
    const { limits, engine } = this.#options;
    if (this.#draining) throw new NotReadyError("The server is about to stop");
    if (!engine.status) {
      throw new NotReadyError(
        `The engine is not ready: ${engine.failure ?? "it is being started"}`,
      );
    }
    if (this.#places >= limits.pending) {
      const seconds = Math.ceil(this.#places * this.#meanMs / 1000);
      throw new BusyError(
        `Cannot take more than ${limits.pending} classifications at a time`,
        Math.max(1, seconds),
      );
    }
    this.#places++;
    let left = false;
    return {
      [Symbol.dispose]: () => {
        if (!left) this.#places--;
        left = true;
      },
    };
  }

  /**
   * Classifies an image of someone who waits.
   *
   * @throws {DeadlineError} If it takes too long.
   */
  async classify(
    image: NamedImage,
    model: ModelEntry,
    options: ClassifyOptions,
    signal: AbortSignal,
  ): Promise<ServedClassification> {
    const { timeoutMs } = this.#options.limits;
    const deadline = AbortSignal.timeout(timeoutMs);
    try {
      return await this.#run(image, model, {
        ...options,
        urgent: true,
        signal: AbortSignal.any([signal, deadline]),
      });
    } catch (error) {
      if (!deadline.aborted || signal.aborted) throw error;
      throw new DeadlineError(
        `Cannot classify within ${
          timeoutMs / 1000
        } s: ask for a job with "Prefer: respond-async"`,
      );
    }
  }

  /** Classifies an image of a job, after all that someone waits for. */
  async classifyLater(
    image: NamedImage,
    model: ModelEntry,
    options: ClassifyOptions,
    signal: AbortSignal,
  ): Promise<ServedClassification> {
    return await this.#run(image, model, { ...options, urgent: false, signal });
  }

  async #run(
    { path, name, alone }: NamedImage,
    { name: model, version, info: { sha256 } }: ModelEntry,
    { signal, heatmap = false, ...options }: ClassifyOptions & {
      urgent: boolean;
      signal: AbortSignal;
    },
  ): Promise<ServedClassification> {
    const { engine, limits, onClassified } = this.#options;
    const started = performance.now();
    const answer = await engine.classify({
      ...options,
      model: sha256,
      ...{ path, name, alone },
      heatmap,
      maxPixels: limits.maxPixels,
    }, signal);
    const totalMs = performance.now() - started;
    const timings = { ...answer.classification.timings, totalMs };
    const result = {
      model: { name: model, version, sha256 },
      ...answer.classification,
      timings,
    };
    onClassified(result);
    this.#meanMs += MEMORY *
      (totalMs / Math.max(1, this.#places) - this.#meanMs);
    return { result, ...(answer.heatmap && { heatmap: answer.heatmap }) };
  }
}
