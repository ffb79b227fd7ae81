/**
 * The workers of one training run: this process and Workers beside it, each with
 * an engine of its own. The run holds the weights; each worker computes a share.
 *
 * @module
 */
import { EngineError } from "../../errors.ts";
import { type Config, isFrozen } from "../../model/config.ts";
import { WorkerCalls } from "../../workers/calls.ts";
import type { HostsOptions } from "../hosts/hosts.ts";
import { STUDENT_BATCH } from "../dense/student_gradients.ts";
import { isByImage } from "../step/passes.ts";
import type { ShareMethods, WorkerSetup } from "./protocol.ts";

/** How a run is computed by several workers. */
export interface Parallel {
  /** Workers, this process included. */
  workers: number;
  /** Module of the Workers: it calls `serveShares`. Ours if omitted. */
  module?: URL | undefined;
  /** How that module opens images: plain data. */
  opening?: unknown;
  /** Bytes of decoded images that each Worker keeps. */
  imageBytes: number;
  /**
   * Other hosts that compute images of the run. This process computes none then:
   * it hands them out, and as many Workers as `workers` says compute.
   */
  hosts?: HostsOptions | undefined;
}

/** One worker: this process. */
export const ALONE: Parallel = { workers: 1, imageBytes: 0 };

// Images that are computed in the time in which a Worker starts and warms up.
const REPAYING_IMAGES = 200;

/**
 * Workers that can share a run; of the number that is wanted, or if it is left
 * open one a core, if the run is long enough to repay their start.
 *
 * @param images that are trained on, at most.
 */
export function runWorkers(
  config: Config,
  { images, wanted }: { images: number; wanted?: number | undefined },
): number {
  const { epochs, dense } = config.training;
  const repaid = dense !== null || images * epochs >= REPAYING_IMAGES;
  const open = repaid ? navigator.hardwareConcurrency : 1;
  return Math.min(wanted ?? open, mostWorkers(config));
}

/**
 * As many as a batch has images; one on a GPU, under batch statistics, and if f is
 * frozen but trained with step by step: its network would be open in each.
 */
function mostWorkers({ network, training }: Config): number {
  if (!isByImage({ network })) return 1;
  if (training.dense) return STUDENT_BATCH; // f is open while features are read
  return isFrozen(network.features) ? 1 : training.batchSize;
}

type Input<Name extends keyof ShareMethods> = Parameters<ShareMethods[Name]>[0];
type Output<Name extends keyof ShareMethods> = ReturnType<ShareMethods[Name]>;

/** The module of Workers that open images as the command line does. */
export const WORKER = new URL("./worker.ts", import.meta.url);

/** Workers of a run that are ready. Close it when the run is done. */
export class Team {
  readonly #calls: readonly WorkerCalls<ShareMethods>[];

  private constructor(calls: readonly WorkerCalls<ShareMethods>[]) {
    this.#calls = calls;
  }

  /**
   * Starts Workers; none if there is nothing to share.
   *
   * @throws {EngineError} If a Worker ended.
   */
  static async start(
    { workers, module = WORKER, opening, imageBytes }: Parallel,
    setup: Omit<WorkerSetup, "opening" | "imageBytes">,
    signal?: AbortSignal,
  ): Promise<Team> {
    const team = new Team(
      Array.from({ length: workers - 1 }, () => startWorker(module)),
    );
    try {
      await team.tell("start", { ...setup, opening, imageBytes }, signal);
      return team;
    } catch (error) {
      team.close();
      throw error;
    }
  }

  /** Workers, this process included. */
  get workers(): number {
    return this.#calls.length + 1;
  }

  /**
   * Calls each Worker with an input of its own. A failure may be awaited late: it
   * is no unhandled one.
   *
   * @returns the results in the order of the inputs.
   * @throws The first error of a Worker.
   */
  ask<Name extends keyof ShareMethods>(
    method: Name,
    inputs: readonly Input<Name>[],
    signal?: AbortSignal,
  ): Promise<Output<Name>[]> {
    const answers = Promise.all(
      this.#calls.map((calls, i) => calls.call(method, inputs[i]!, signal)),
    );
    answers.catch(() => {});
    return answers;
  }

  /** Calls each Worker with the same input. */
  async tell<Name extends "start" | "learn">(
    method: Name,
    input: Input<Name>,
    signal?: AbortSignal,
  ): Promise<void> {
    await this.ask(method, this.#calls.map(() => input), signal);
  }

  /** Does `work` with each Worker, at its own pace; see {@linkcode ask}. */
  each(
    work: (call: WorkerCalls<ShareMethods>["call"]) => Promise<void>,
  ): Promise<unknown> {
    const all = Promise.all(
      this.#calls.map((calls) => work(calls.call.bind(calls))),
    );
    all.catch(() => {});
    return all;
  }

  /** Ends the Workers. */
  close(): void {
    for (const calls of this.#calls) {
      calls.close(new EngineError("A training worker was ended"));
    }
  }
}

/** Starts a Worker of a run. */
export function startWorker(module: URL): WorkerCalls<ShareMethods> {
  const calls = new WorkerCalls<ShareMethods>(module, {
    onCrash: (reason) =>
      calls.close(
        new EngineError(
          `A training worker ended by an error outside its work: ${reason}; resume the run, or give --workers 1`,
        ),
      ),
  });
  return calls;
}
