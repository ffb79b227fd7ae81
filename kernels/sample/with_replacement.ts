/**
 * Counts of draws per location: by N draws with replacement, or the counts that
 * N draws are expected to give.
 *
 * With replacement. Location i has weight w_i and a clock that first rings at
 * T_i = E_i / w_i (sample.ts). Let each clock ring again and again: a Poisson
 * process of rate w_i per location. The superposition of the processes is a
 * Poisson process whose arrivals belong to i with probability w_i / sum w,
 * independently of each other: the N earliest arrivals are N i.i.d. draws.
 * Arrival m of location i comes at
 *
 *     T_i,m = (E_i,1 + ... + E_i,m) / w_i = exp(-value_i) (E_i,1 + ... + E_i,m) / E_i,1,
 *
 * so `value_i` and the location's own noise are enough, and only the N
 * locations that ring first can be among the N earliest arrivals:
 * `topGumbel` with k = min(N, locations), then `drawWithReplacement`.
 *
 * Source: Kingman, "Poisson Processes", 1993, section 2.2 (superposition).
 *
 * @module
 */
import { exponential, type Key, pcg4d } from "../random.ts";
import type { MapPlacement, TopDraws } from "./sample.ts";
import { Top } from "./top_k.ts";

/** No location has a weight above 0, or the weights are NaN. */
export class NothingToDrawError extends RangeError {
  static readonly NAME = "NothingToDrawError";
  override name = NothingToDrawError.NAME;
}

/**
 * Draws `samples` locations with replacement from the result of `topGumbel` for
 * one row with k = min(samples, locations), and with the same key and
 * placement.
 *
 * @returns the distinct locations in the order of their first draw, and how
 * often each was drawn; the counts add up to `samples`.
 * @throws {NothingToDrawError} If no location can be drawn.
 */
export function drawWithReplacement(
  { indices, values }: TopDraws<ArrayLike<number>, ArrayLike<number>>,
  { samples, key, columns, offset = { row: 0, column: 0 } }: MapPlacement & {
    samples: number;
    key: Key;
  },
): { indices: number[]; counts: number[] } {
  if (!(indices[0]! >= 0)) {
    throw new NothingToDrawError(
      `Cannot draw ${samples} samples because no location has a weight above 0`,
    );
  }
  const clocks: Clock[] = []; // of the locations drawn so far
  let candidate = clockAt(0);
  for (let n = 0; n < samples; n++) {
    let next = candidate;
    for (const clock of clocks) {
      if (!next || clock.time < next.time) next = clock;
    }
    if (next === candidate) {
      clocks.push(candidate!);
      candidate = clockAt(clocks.length);
    }
    next!.ring();
  }
  return {
    indices: clocks.map((clock) => clock.index),
    counts: clocks.map((clock) => clock.count),
  };

  /** The candidate at `rank`, its clock set to its first arrival. */
  function clockAt(rank: number): Clock | undefined {
    const index = indices[rank] ?? -1;
    if (index < 0) return undefined;
    return new Clock(index, {
      firstTime: Math.exp(values[0]! - values[rank]!), // in units of the first
      row: offset.row + Math.floor(index / columns),
      column: offset.column + (index % columns),
      key,
    });
  }
}

/** The Poisson process of one location. */
class Clock {
  count = 0;
  time: number;
  #sum: number; // of the exponentials so far
  readonly #perUnit: number; // 1 / w, in units of the earliest arrival

  constructor(
    readonly index: number,
    private readonly place: {
      firstTime: number;
      row: number;
      column: number;
      key: Key;
    },
  ) {
    this.#sum = this.#noise(1);
    this.#perUnit = place.firstTime / this.#sum;
    this.time = place.firstTime;
  }

  /** Counts the arrival at `time` and sets the next one. */
  ring(): void {
    this.count++;
    this.#sum += this.#noise(this.count + 1);
    this.time = this.#perUnit * this.#sum;
  }

  /** The exponential before arrival `m`; the one of topGumbel for m = 1. */
  #noise(m: number): number {
    const { row, column, key } = this.place;
    const [first, second] = m === 1 ? key : pcg4d(m, 0, key[0], key[1]);
    return exponential(pcg4d(row, column, first, second)[0]);
  }
}

/**
 * The counts that N draws are expected to give: N alpha rounded by largest
 * remainder (ties to the lower index), so that they add up to N. Deterministic.
 *
 * A location with a count is among the N of the largest attention: of those
 * with N alpha >= 1 there are at most N, and where N alpha < 1 it is the
 * remainder. So the result of `topValues` for one row with k = min(N,
 * locations) suffices.
 *
 * @returns the locations with a count above 0, in order of index.
 * @throws {NothingToDrawError} If no location can be drawn.
 */
export function drawExpected(
  { indices, values }: TopDraws<ArrayLike<number>, ArrayLike<number>>,
  samples: number,
): { indices: number[]; counts: number[] } {
  if (!(indices[0]! >= 0 && values[0]! > 0)) {
    throw new NothingToDrawError(
      `Cannot expect ${samples} samples because no location has a weight above 0`,
    );
  }
  const draws = new ExpectedDraws(samples);
  for (let rank = 0; rank < indices.length; rank++) {
    if (indices[rank]! >= 0) draws.offer(values[rank]!, indices[rank]!);
  }
  return draws.draw();
}

/** {@linkcode drawExpected} of attention that sums to 1 and arrives in pieces. */
export class ExpectedDraws {
  readonly #counts = new Map<number, number>();
  readonly #rests: Top;
  #left: number;

  constructor(readonly samples: number) {
    this.#rests = new Top(samples);
    this.#left = samples;
  }

  /** Offers a location; returns false if it cannot be among those drawn. */
  offer(attention: number, index: number): boolean {
    const expected = attention * this.samples;
    const whole = Math.floor(expected);
    if (whole > 0) this.#counts.set(index, whole);
    this.#left -= whole;
    const rest = expected - whole;
    return this.#rests.offer(rest, index) || whole > 0;
  }

  /** The locations that may be among those drawn; at most 2 N. */
  candidates(): Set<number> {
    return new Set([...this.#counts.keys(), ...this.#rests.indices]);
  }

  /** The locations with a count above 0, in order of index. */
  draw(): { indices: number[]; counts: number[] } {
    const winners = new Int32Array(this.#rests.k);
    this.#rests.drain(new Float64Array(this.#rests.k), winners);
    for (const index of winners.subarray(0, Math.max(0, this.#left))) {
      if (index < 0) break;
      this.#counts.set(index, (this.#counts.get(index) ?? 0) + 1);
    }
    const indices = [...this.#counts.keys()].sort((a, b) => a - b);
    return { indices, counts: indices.map((i) => this.#counts.get(i)!) };
  }
}
