/**
 * All who compute the images of a run: Workers of this machine, and hosts that
 * come and go. This process hands out the images and moves the weights.
 *
 * @module
 */
import { EngineError, UsageError } from "../../errors.ts";
import { type Config, isFrozen } from "../../model/config.ts";
import { hasBatchStatistics } from "../../model/networks.ts";
import type { WorkerCalls } from "../../workers/calls.ts";
import type { ShareMethods } from "../parallel/protocol.ts";
import { type Parallel, startWorker, WORKER } from "../parallel/team.ts";
import { type Host, Hosts, type HostsOptions } from "./hosts.ts";
import type {
  HostSetup,
  PieceInput,
  PieceOutput,
  ShareMethod,
} from "./protocol.ts";
import { type Hand, type Pace, Round } from "./round.ts";

/** @throws {UsageError} If hosts cannot share the steps of such a run. */
export function assertShareable({ network, training }: Config): void {
  const reason = training.dense !== null
    ? "training.dense reads the features of an image once"
    : hasBatchStatistics[network.features]
    ? `${network.features} looks at the images of a step together`
    : isFrozen(network.features)
    ? `${network.features} would be open on every host`
    : training.batchSize === 1
    ? "a step has one image (training.batchSize)"
    : undefined;
  if (reason === undefined) return;
  throw new UsageError(
    `Cannot share this run between hosts, because ${reason}: leave out --jobs`,
  );
}

/** Those who compute. Close it when the run is done. */
export class Crew {
  readonly #workers: readonly WorkerCalls<ShareMethods>[];
  readonly #hosts: Hosts;
  readonly #pace: Pace = {};
  /** The last work of each hand. */
  readonly #work = new WeakMap<Hand, Promise<void>>();
  #hands: Hand[];
  #enter: ((hand: Hand) => void) | undefined;

  private constructor(
    workers: readonly WorkerCalls<ShareMethods>[],
    setup: HostSetup,
    options: HostsOptions,
  ) {
    this.#workers = workers;
    this.#hands = workers.map((calls) => ({ call: calls.call.bind(calls) }));
    this.#hosts = new Hosts(options, setup, (host) => this.#admit(host));
  }

  /**
   * Starts the Workers of this machine, one at least, and calls for hosts.
   *
   * @throws {EngineError} If a Worker ended.
   */
  static async start(
    { workers, module = WORKER, opening, imageBytes }: Parallel,
    setup: HostSetup,
    { signal, ...options }: HostsOptions & { signal?: AbortSignal | undefined },
  ): Promise<Crew> {
    const calls = Array.from(
      { length: Math.max(1, workers) },
      () => startWorker(module),
    );
    try {
      const all = { ...setup, opening, imageBytes };
      await Promise.all(calls.map((one) => one.call("start", all, signal)));
      return new Crew(calls, setup, options);
    } catch (error) {
      end(calls);
      throw error;
    }
  }

  /**
   * Has pieces done by whoever is free.
   *
   * @param homes of the images of each input: the same one is given to the same
   *   Worker again where that can be.
   * @returns the results in the order of the inputs: the same bits, whoever did them.
   * @throws The first error of a Worker of this machine.
   */
  async each<Name extends ShareMethod>(
    method: Name,
    inputs: readonly PieceInput<Name>[],
    { homes, signal }: {
      homes: readonly number[];
      signal: AbortSignal | undefined;
    },
  ): Promise<PieceOutput<Name>[]> {
    signal?.throwIfAborted();
    const round = new Round(method, inputs, {
      homes,
      pace: this.#pace,
      onFalse: (host, reason) => this.#hosts.dismiss(host, reason),
    });
    this.#enter = (hand) => {
      const before = this.#work.get(hand) ?? Promise.resolve();
      const place = () => this.#placeOf(hand);
      this.#work.set(hand, before.then(() => round.work(hand, place)));
    };
    this.#hands = this.#hands.filter(({ host }) => !host?.isGone);
    this.#hands.forEach(this.#enter);
    const stop = () => round.fail(signal!.reason);
    signal?.addEventListener("abort", stop);
    try {
      return await round.results;
    } finally {
      this.#enter = undefined;
      signal?.removeEventListener("abort", stop);
    }
  }

  /** Ends the Workers, and the run for its hosts. */
  close(): void {
    this.#hosts.close();
    end(this.#workers);
  }

  #admit(host: Host): void {
    const hands = Array.from({ length: host.workers }, (): Hand => ({
      host,
      call: host.call.bind(host),
    }));
    this.#hands.push(...hands);
    if (this.#enter) hands.forEach(this.#enter);
  }

  #placeOf(hand: Hand): [place: number, of: number] {
    return [this.#hands.indexOf(hand), this.#hands.length];
  }
}

function end(workers: readonly WorkerCalls<ShareMethods>[]): void {
  for (const calls of workers) {
    calls.close(new EngineError("A training worker was ended"));
  }
}
