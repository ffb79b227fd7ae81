/**
 * Classifies the images of requests and jobs, within the limits of the queue
 * and of time.
 *
 * @module
 */
import { ImageError } from "../errors.ts";
import type { ModelClassification } from "../eval/classification.ts";
import { drawsFault } from "../model/look/draw/proposal.ts";
import type { MapsDocument } from "./documents.ts";
import type { EnginePool } from "./engine/pool.ts";
import {
  BusyError,
  DeadlineError,
  InputError,
  NotReadyError,
} from "./errors.ts";
import type { Isolation } from "./jobs/isolation.ts";
import type { Limits } from "./limits.ts";
import { mapsDocument } from "./map_document.ts";
import type { ModelEntry, ModelRegistry } from "./models.ts";
import type { Outcome } from "./prometheus.ts";

export type { ModelClassification };

/** Options of a classification; the configuration's values if omitted. */
export interface HowToClassify {
  samples?: number | undefined;
  draws?: "seeded" | "topN" | undefined;
  seed: number;
  mpp?: number | undefined;
  /** Also draw the heat map. */
  heatmap?: boolean;
  /** Also return the heat maps of each stage. */
  maps?: boolean | undefined;
}

/** An image: its place, and its name in messages. */
export interface NamedImage {
  /** A file, or a URL of an allowed host. */
  path: string;
  name: string;
  /** Uploaded: no file beside it may be read. */
  alone: boolean;
}

/** A classification, with its heat map if requested. */
export interface ServedClassification {
  result: ModelClassification & { maps?: MapsDocument };
  heatmap?: Uint8Array<ArrayBuffer>;
}

/** A place in the queue; dispose of it once. */
export type QueuePlace = Disposable;

/** Parts of the server that a predictor uses. */
export interface PredictorOptions {
  engine: EnginePool;
  models: ModelRegistry;
  isolation: Isolation;
  limits: Limits;
  /** Called for every classified image. */
  onClassified: (result: ModelClassification) => void;
  /** Called for every image, however its classification ended. */
  onEnd: (model: string, outcome: Outcome) => void;
}

// Weight of the latest image in the running mean of the time.
const MEMORY = 0.1;

/** One queue in front of the engines. */
export class Predictor {
  readonly #options: PredictorOptions;
  #places = 0;
  #meanMs = 100;
  #draining = false;

  constructor(options: PredictorOptions) {
    this.#options = options;
  }

  /** Requests that wait or run; a request of several images holds one place. */
  get pending(): number {
    return this.#places;
  }

  /** Stops giving places. */
  drain(): void {
    this.#draining = true;
  }

  /**
   * Takes a place in the queue, before anything is read.
   *
   * @throws {BusyError | NotReadyError}
   */
  enter(): QueuePlace {
    const { limits, engine } = this.#options;
    if (this.#draining) {
      throw new NotReadyError(
        "The server is stopping: try again in a few seconds",
      );
    }
    if (!engine.status) {
      throw new NotReadyError(
        `The engine is not ready: ${engine.failure ?? "it is being started"}`,
      );
    }
    if (this.#places >= limits.pending) {
      const seconds = Math.ceil(this.#places * this.#meanMs / 1000);
      throw new BusyError(
        `The queue is full (${limits.pending} classifications): try again later`,
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
   * Classifies an image for a caller who waits.
   *
   * @throws {DeadlineError} If it exceeds the time limit.
   */
  async classify(
    image: NamedImage,
    model: ModelEntry,
    options: HowToClassify,
    signal: AbortSignal,
  ): Promise<ServedClassification> {
    const { timeoutMs } = this.#options.limits;
    return await this.#inTime(model, timeoutMs, {
      work: (signal) =>
        this.#run(image, model, { ...options, urgent: true, signal }),
      remedy: 'ask for a job with "Prefer: respond-async"',
      signal,
    });
  }

  /**
   * Classifies an image of a job; while callers wait, in a quarter of the time.
   *
   * @throws {DeadlineError} If it exceeds the time limit.
   */
  async classifyLater(
    image: NamedImage,
    model: ModelEntry,
    options: HowToClassify,
    signal: AbortSignal,
  ): Promise<ServedClassification> {
    return await this.#inTime(model, this.#options.limits.jobImageMs, {
      work: (signal) =>
        this.#run(image, model, { ...options, urgent: false, signal }),
      remedy: "check the server of the image, or store it here",
      signal,
    });
  }

  /** @throws {DeadlineError} If `work` takes longer than `mostMs`. */
  async #inTime<T>(
    { name }: ModelEntry,
    mostMs: number,
    { work, remedy, signal }: {
      work: (signal: AbortSignal) => Promise<T>;
      remedy: string;
      signal: AbortSignal;
    },
  ): Promise<T> {
    const { onEnd } = this.#options;
    // An AbortSignal.timeout would hold all that a request has made until then.
    const ending = new AbortController();
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      ending.abort();
    }, mostMs);
    const leave = () => ending.abort(signal.reason);
    if (signal.aborted) leave();
    signal.addEventListener("abort", leave);
    try {
      const result = await work(ending.signal);
      onEnd(name, "ok");
      return result;
    } catch (error) {
      isLate &&= !signal.aborted;
      onEnd(name, isLate ? "timeout" : outcomeOf(error, signal));
      if (!isLate) throw error;
      throw new DeadlineError(
        `The classification exceeded its limit of ${
          mostMs / 1000
        } s: ${remedy}`,
      );
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", leave);
    }
  }

  async #run(
    { path, name, alone }: NamedImage,
    entry: ModelEntry,
    { signal, heatmap = false, maps = false, ...options }: HowToClassify & {
      urgent: boolean;
      signal: AbortSignal;
    },
  ): Promise<ServedClassification> {
    const { engine, models, isolation, limits, onClassified } = this.#options;
    const { name: model, version, info: { sha256, config } } = entry;
    using _held = models.hold(entry);
    const fault = drawsFault(config, options.draws ?? "seeded");
    if (fault !== undefined) throw new InputError("draws", fault);
    using _place = options.urgent
      ? await isolation.enterCaller(signal)
      : undefined; // the job has entered
    const started = performance.now();
    const answer = await engine.dispatch({
      ...options,
      model: sha256,
      path,
      name,
      alone,
      heatmap,
      maps,
      maxPixels: limits.maxPixels,
      maxBlocks: options.urgent
        ? limits.viewBlocks.waited
        : limits.viewBlocks.ofJob,
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
    return {
      result: {
        ...result,
        ...(answer.maps && { maps: await mapsDocument(answer.maps) }),
      },
      ...(answer.heatmap && { heatmap: answer.heatmap }),
    };
  }
}

function outcomeOf(error: unknown, signal: AbortSignal): Outcome {
  if (signal.aborted) return "cancelled";
  if (error instanceof ImageError) return "image";
  return error instanceof NotReadyError ? "unavailable" : "error";
}
