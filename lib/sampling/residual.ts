/**
 * Residual sampling: a location that N draws are expected to hit n times or more
 * is drawn n times for sure; what is left of the N draws is drawn with replacement
 * by what is left of their expectation. Counts have the same means as those of N
 * draws with replacement, and vary less: what the proposal is sure of is not
 * missed.
 *
 * Source: Liu & Chen, "Sequential Monte Carlo methods for dynamic systems", JASA
 * 93, 1998, section 4.
 *
 * @module
 */
import {
  GumbelDraws,
  indexInMap,
  type LocationBlock,
  type StreamedDraws,
} from "./streams.ts";

// An expectation as little below a whole number is that number, whatever the
// rounding of the engine that the proposal comes from.
const ROUNDING = 1e-4;

type DrawOptions = ConstructorParameters<typeof GumbelDraws>[0];

/** N draws of a proposal from the blocks of one map. */
export type ProposalDraws = Pick<ResidualDraws, "add" | "draw">;

/**
 * Residual draws; in training draws with replacement, as attention that is still
 * wrong must not decide all of them: with residual draws a toy was learned under
 * one of three seeds, in the place of two.
 *
 * @param options.columns of the whole map.
 */
export function proposalDraws(
  { training, ...options }: DrawOptions & { training: boolean | undefined },
): ProposalDraws {
  if (!training) return new ResidualDraws(options);
  const draws = new GumbelDraws(options);
  return {
    add(block, proposal, logits) {
      draws.add(block, Float32Array.from(proposal, (q) => Math.log(q)), logits);
    },
    draw: () => draws.draw(),
  };
}

/** N residual draws of a proposal from the blocks of one map. */
export class ResidualDraws {
  readonly #samples: number;
  readonly #columns: number;
  readonly #sure = new Map<number, { count: number; logit: number }>();
  readonly #rest: GumbelDraws;
  #left: number;

  /** @param options.columns of the whole map. */
  constructor(options: DrawOptions) {
    this.#samples = options.samples;
    this.#columns = options.columns;
    this.#rest = new GumbelDraws(options);
    this.#left = options.samples;
  }

  /**
   * @param proposal of the block's locations, which adds to 1 over the whole map.
   * @param logits values to return for drawn locations.
   */
  add(
    block: LocationBlock,
    proposal: ArrayLike<number>,
    logits: Float32Array,
  ): void {
    const rest = logits.map((logit, i) => {
      const expected = this.#samples * proposal[i]!;
      const count = Math.floor(expected + ROUNDING);
      if (count > 0) {
        const index = indexInMap(block, i, this.#columns);
        this.#sure.set(index, { count, logit });
        this.#left -= count;
      }
      return Math.log(Math.max(0, expected - count));
    });
    this.#rest.add(block, rest, logits);
  }

  /**
   * The drawn locations, in order of index.
   *
   * @throws {NothingToDrawError} If no location can be drawn.
   */
  draw(): StreamedDraws {
    const drawn = new Map(this.#sure);
    if (this.#left > 0) {
      const { indices, counts, logits } = this.#rest.draw(this.#left);
      indices.forEach((index, i) =>
        drawn.set(index, {
          count: counts[i]! + (drawn.get(index)?.count ?? 0),
          logit: logits[i]!,
        })
      );
    }
    const all = [...drawn].sort(([a], [b]) => a - b);
    return {
      indices: all.map(([index]) => index),
      counts: all.map(([, { count }]) => count),
      logits: all.map(([, { logit }]) => logit),
    };
  }
}
