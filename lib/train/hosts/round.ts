/**
 * The pieces of one step, given out one at a time to whoever is free. Each is
 * counted once, whoever did it and however often.
 *
 * @module
 */
import { serialize } from "node:v8";
import { Buffer } from "node:buffer";
import { type Host, NotDoneError } from "./hosts.ts";
import {
  NO_WEIGHTS,
  type PieceInput,
  type PieceOutput,
  type ShareMethod,
} from "./protocol.ts";

/** One who does a piece at a time: a Worker of this machine, or of a host. */
export interface Hand {
  /** Its host; this machine if omitted. */
  host?: Host;
  call<Name extends ShareMethod>(
    method: Name,
    input: PieceInput<Name>,
    signal: AbortSignal,
  ): Promise<PieceOutput<Name>>;
}

/** The longest that a piece of each kind took this machine, over all rounds, ms. */
export type Pace = Partial<Record<ShareMethod, number>>;

interface Piece<Name extends ShareMethod> {
  input: PieceInput<Name>;
  /** Prefers the same hand again, which may keep its image. */
  home: number;
  /** Those who do it, and since when, by performance.now(). */
  by: Map<Hand, number>;
  /** What a host on trial made of it: this machine does it as well. */
  claim?: Claim;
  result?: { value: PieceOutput<Name> };
}

interface Claim {
  host: Host;
  outcome: { value: unknown } | { error: Error };
}

/** Options of {@linkcode Round}. */
export interface RoundOptions {
  pace: Pace;
  /** Given a host that did not do as this machine does, and why. */
  onFalse: (host: Host, reason: string) => void;
}

// A piece that a host has had for so many times the longest is done here as well,
// or at least so long, ms.
const PATIENCE = 2, MIN_PATIENCE_MS = 5000;
const LOOK_EVERY_MS = 250;

/** Pieces that are being done. */
export class Round<Name extends ShareMethod> {
  readonly #method: Name;
  readonly #pieces: Piece<Name>[];
  readonly #options: RoundOptions;
  readonly #over = new AbortController();
  readonly #done = Promise.withResolvers<PieceOutput<Name>[]>();
  readonly #look: ReturnType<typeof setInterval>;
  /** Hosts that are given no more until this machine has done their piece too. */
  readonly #onTrial = new Set<Host>();
  #news = Promise.withResolvers<void>();

  /** @param homes of each input, the same for the same image. */
  constructor(
    method: Name,
    inputs: readonly PieceInput<Name>[],
    { homes, ...options }: RoundOptions & { homes: readonly number[] },
  ) {
    this.#method = method;
    this.#options = options;
    this.#pieces = inputs.map((input, i) => ({
      input,
      home: homes[i]!,
      by: new Map(),
    }));
    this.#look = setInterval(() => this.#tell(), LOOK_EVERY_MS);
    this.#done.promise.catch(() => {}); // awaited late
    this.#endIfDone();
  }

  /** The results in the order of the inputs. */
  get results(): Promise<PieceOutput<Name>[]> {
    return this.#done.promise;
  }

  /** Ends the round without results. */
  fail(error: unknown): void {
    this.#done.reject(error);
    this.#end();
  }

  /**
   * Does pieces until there are none.
   *
   * @param index of `hand` among all of them, to give it the same images again.
   */
  async work(
    hand: Hand,
    index: () => [place: number, of: number],
  ): Promise<void> {
    while (!this.#isOver && !hand.host?.isGone) {
      const piece = this.#take(hand, index());
      if (piece) await this.#do(piece, hand);
      else await this.#news.promise;
    }
  }

  async #do(piece: Piece<Name>, hand: Hand): Promise<void> {
    const started = performance.now();
    piece.by.set(hand, started);
    const { host } = hand;
    if (host && !host.isProven) this.#onTrial.add(host);
    try {
      const value = await hand.call(
        this.#method,
        piece.input,
        this.#over.signal,
      );
      if (!host) this.#note(performance.now() - started);
      if (host && !host.isProven) this.#claim(piece, host, { value });
      else this.#answer(piece, value);
    } catch (error) {
      this.#failed(piece, hand, error as Error);
    } finally {
      piece.by.delete(hand);
      this.#tell();
    }
  }

  #note(ms: number): void {
    const { pace } = this.#options;
    pace[this.#method] = Math.max(pace[this.#method] ?? 0, ms);
  }

  /** Takes what came first. */
  #answer(piece: Piece<Name>, value: PieceOutput<Name>): void {
    if (piece.result || this.#isOver) return;
    piece.result = { value };
    if (piece.claim) this.#judge(piece.claim, value);
    this.#endIfDone();
  }

  #claim(piece: Piece<Name>, host: Host, outcome: Claim["outcome"]): void {
    if (this.#isOver) return; // another time
    piece.claim = { host, outcome };
    if (piece.result) this.#judge(piece.claim, piece.result.value);
  }

  #judge({ host, outcome }: Claim, value: unknown): void {
    this.#onTrial.delete(host);
    if ("error" in outcome) {
      this.#options.onFalse(host, outcome.error.message);
    } else if (isSame(outcome.value, value)) host.isProven = true;
    else {
      this.#options.onFalse(
        host,
        "it does not compute the same bits; give it the same zoomin and the same processor",
      );
    }
  }

  #failed(piece: Piece<Name>, { host }: Hand, error: Error): void {
    if (this.#isOver) return;
    if (!host) {
      if (!piece.result) this.fail(error);
    } else if (error instanceof NotDoneError || error.name === NO_WEIGHTS) {
      host.weights = 0; // they are sent again
      this.#onTrial.delete(host);
    } else {
      this.#onTrial.add(host);
      this.#claim(piece, host, { error });
    }
  }

  #take(
    hand: Hand,
    [place, of]: [place: number, of: number],
  ): Piece<Name> | undefined {
    if (hand.host && this.#onTrial.has(hand.host)) return undefined;
    const open = this.#pieces.filter(({ result }) => !result);
    const claimed = open.find(({ claim, by }) => claim && !isDoneHere(by));
    if (claimed && !hand.host) return claimed;
    const free = open.filter(({ by, claim }) => by.size === 0 && !claim);
    const next = free.find(({ home }) => home % of === place) ?? free[0];
    return next ?? (hand.host ? undefined : this.#late(open));
  }

  /** A piece that a host has had for too long. */
  #late(open: readonly Piece<Name>[]): Piece<Name> | undefined {
    const longest = this.#options.pace[this.#method];
    if (longest === undefined) return undefined;
    const patience = Math.max(MIN_PATIENCE_MS, PATIENCE * longest);
    const before = performance.now() - patience;
    return open.find(({ by }) =>
      !isDoneHere(by) && [...by.values()].every((since) => since < before)
    );
  }

  get #isOver(): boolean {
    return this.#over.signal.aborted;
  }

  #endIfDone(): void {
    if (!this.#pieces.every(({ result }) => result)) return;
    this.#done.resolve(this.#pieces.map(({ result }) => result!.value));
    this.#end();
  }

  #end(): void {
    clearInterval(this.#look);
    this.#over.abort();
    this.#tell();
  }

  /** Wakes those who wait for pieces. */
  #tell(): void {
    this.#news.resolve();
    this.#news = Promise.withResolvers();
  }
}

function isDoneHere(by: ReadonlyMap<Hand, unknown>): boolean {
  return [...by.keys()].some(({ host }) => !host);
}

function isSame(a: unknown, b: unknown): boolean {
  return Buffer.compare(serialize(a), serialize(b)) === 0;
}
