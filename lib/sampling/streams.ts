/**
 * State of draws from a map, accumulated block by block: its size does not grow
 * with the map. A location's random number depends only on its row and column,
 * so the result is that of the whole map.
 *
 * @module
 */
import {
  drawWithReplacement,
  ExpectedDraws,
} from "../../kernels/sample/with_replacement.ts";
import type { Key } from "../../kernels/random.ts";
import { topGumbelReference } from "../../kernels/sample/sample.ts";
import { Top } from "../../kernels/sample/top_k.ts";
import { entropySlope, entropyTerm } from "../../kernels/entropy/entropy.ts";
import type { Entropy } from "./entropy.ts";

/** A rectangle of locations of a map. */
export interface LocationBlock {
  row: number;
  column: number;
  rows: number;
  columns: number;
}

/** Drawn locations, with the count and logit of each. */
export interface StreamedDraws {
  indices: number[]; // in the whole map
  counts: number[];
  logits: number[];
}

/** Running log-sum-exp of the added values, the normaliser of attention. */
export class LogSumExp {
  #max = -Infinity;
  #sum = 0; // of exp(value - max)

  add(values: Float32Array): void {
    for (const value of values) {
      if (value > this.#max) {
        this.#sum = this.#sum * Math.exp(this.#max - value) + 1;
        this.#max = value;
      } else if (value !== -Infinity) {
        this.#sum += Math.exp(value - this.#max); // a NaN passes, and shows
      }
    }
  }

  /** The log-sum-exp; -Infinity if no location can be drawn. */
  get value(): number {
    return this.#max === -Infinity
      ? -Infinity
      : this.#max + Math.log(this.#sum);
  }
}

/** N draws with replacement from the blocks of one map. */
export class GumbelDraws {
  readonly #options: { samples: number; key: Key; columns: number };
  readonly #top: Top;
  readonly #k: number;
  readonly #logits = new Map<number, number>(); // of the candidates

  /** @param options.columns of the whole map. */
  constructor(
    options: { samples: number; key: Key; columns: number; locations: number },
  ) {
    this.#options = options;
    this.#k = Math.min(options.samples, options.locations);
    this.#top = new Top(this.#k);
  }

  /**
   * @param logWeights of the block's locations, up to a constant of the map.
   * @param logits values to return for drawn locations.
   */
  add(
    block: LocationBlock,
    logWeights: Float32Array,
    logits = logWeights,
  ): void {
    const { key, columns } = this.#options;
    const { indices, values } = topGumbelReference(logWeights, {
      k: Math.min(this.#k, logWeights.length),
      keys: Uint32Array.from(key),
      columns: block.columns,
      offset: block,
    });
    for (const [rank, index] of indices.entries()) {
      if (index < 0) break;
      const inMap = indexInMap(block, index, columns);
      if (!this.#top.offer(values[rank]!, inMap)) break; // nor those after it
      this.#logits.set(inMap, logits[index]!);
    }
    keepOnly(this.#logits, new Set(this.#top.indices));
  }

  /**
   * @param samples how many of the N draws, if not all of them; at least 1.
   * @throws {NothingToDrawError} If no location can be drawn.
   */
  draw(samples: number = this.#options.samples): StreamedDraws {
    const values = new Float32Array(this.#k), indices = new Int32Array(this.#k);
    this.#top.drain(values, indices);
    const drawn = drawWithReplacement(
      { indices, values },
      { ...this.#options, samples },
    );
    return {
      ...drawn,
      logits: drawn.indices.map((index) => this.#logits.get(index)!),
    };
  }
}

/** Expected counts of N draws, from the blocks of one map. */
export class ExpectedCounts {
  readonly #draws: ExpectedDraws;
  readonly #columns: number;
  readonly #logNormaliser: number;
  readonly #logits = new Map<number, number>(); // of the candidates

  constructor(
    { samples, columns, logNormaliser }: {
      samples: number;
      columns: number;
      logNormaliser: number;
    },
  ) {
    this.#draws = new ExpectedDraws(samples);
    this.#columns = columns;
    this.#logNormaliser = logNormaliser;
  }

  add(block: LocationBlock, logits: Float32Array): void {
    for (const [i, logit] of logits.entries()) {
      const attention = Math.fround(Math.exp(logit - this.#logNormaliser));
      const index = indexInMap(block, i, this.#columns);
      if (this.#draws.offer(attention, index)) this.#logits.set(index, logit);
    }
    keepOnly(this.#logits, this.#draws.candidates());
  }

  draw(): StreamedDraws {
    const drawn = this.#draws.draw();
    return {
      ...drawn,
      logits: drawn.indices.map((index) => this.#logits.get(index)!),
    };
  }
}

/** Drops the locations that better ones have displaced. */
function keepOnly(
  logits: Map<number, number>,
  kept: ReadonlySet<number>,
): void {
  for (const index of logits.keys()) {
    if (!kept.has(index)) logits.delete(index);
  }
}

/** Running sums over all locations of a map, for its entropy. */
export class EntropySums implements Entropy {
  negative = 0;
  /** sum p d(p log(p + 1e-6))/dp. */
  slope = 0;
  entropy = 0;
  readonly #logNormaliser: number;

  constructor(logNormaliser: number) {
    this.#logNormaliser = logNormaliser;
  }

  add(logits: Float32Array): void {
    for (const logit of logits) {
      if (logit === -Infinity) continue;
      const log = logit - this.#logNormaliser, p = Math.exp(log);
      this.negative += entropyTerm(p);
      this.slope += p * entropySlope(p);
      this.entropy -= p * log;
    }
  }
}

/**
 * Log-weights of the contrastive draws, 1 - attention; -Infinity for a location
 * without foreground. A map of one location keeps its logit.
 */
export function contrastiveLogWeightsOf(
  logits: Float32Array,
  { logNormaliser, locations }: { logNormaliser: number; locations: number },
): Float32Array {
  if (locations === 1) return logits;
  return logits.map((logit) =>
    logit === -Infinity
      ? -Infinity
      : Math.log(Math.max(0, 1 - Math.exp(logit - logNormaliser)))
  );
}

/** Index in a map of `columns` of the location at `index` of a block of it. */
export function indexInMap(
  block: LocationBlock,
  index: number,
  columns: number,
): number {
  const row = block.row + Math.floor(index / block.columns);
  return row * columns + block.column + index % block.columns;
}
