/**
 * AdamW (Loshchilov & Hutter, ICLR 2019): Adam with weight decay apart from
 * the gradient, so that a parameter without a gradient does not move.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { adamW } from "../../kernels/adamw/adamw.ts";

/** The moments of the parameters that take steps together. */
interface PackedMoments {
  names: readonly string[];
  /** Values of each. */
  sizes: readonly number[];
  /** First and second moments of all, one after the other. */
  moments: tf.Tensor2D; // [2, sum of sizes]
}

/** The state of an optimizer as a checkpoint holds it. */
export interface OptimizerState {
  /** Steps taken by each parameter. */
  steps: Record<string, number>;
  /** Moments by `NAME/first` and `NAME/second`. */
  moments: Map<string, Float32Array>;
}

/** One parameter's part of a step. */
export interface ParameterStep {
  variable: tf.Variable;
  gradient: tf.Tensor;
  learningRate: number;
  weightDecay: number;
}

/** Holds the moments; only parameters that are given to a step move. */
export class AdamW {
  /** Steps that each parameter has taken part in. */
  readonly #steps = new Map<string, number>();
  /** Each parameter is in one of them, or apart. */
  readonly #packs = new Set<PackedMoments>();
  /** Moments of single parameters, `[2, size]`. */
  readonly #apart = new Map<string, tf.Tensor2D>();

  /** Moves each parameter named in `steps`. */
  step(steps: ReadonlyMap<string, ParameterStep>): void {
    this.clippedStep(steps, Infinity).dispose();
  }

  /**
   * Moves each parameter named in `steps`, with the norm of all gradients
   * together cut to `clipNorm`.
   *
   * @returns the squared norm of each gradient before the cut, `[parameters]`.
   */
  clippedStep(
    steps: ReadonlyMap<string, ParameterStep>,
    clipNorm: number,
  ): tf.Tensor1D {
    return tf.tidy(() => {
      const pack = this.#packOf(steps);
      const parameters = [...steps].map(([name, step]) => {
        const taken = (this.#steps.get(name) ?? 0) + 1;
        this.#steps.set(name, taken);
        return { ...step, value: step.variable, steps: taken };
      });
      const stepped = adamW(parameters, pack.moments, clipNorm);
      parameters.forEach(({ variable }, i) =>
        variable.assign(stepped.values[i]!)
      );
      pack.moments.dispose();
      pack.moments = tf.keep(stepped.moments);
      return stepped.squares;
    });
  }

  /** Copies the state out of the engine. */
  async save(): Promise<OptimizerState> {
    const state: OptimizerState = {
      steps: Object.fromEntries(this.#steps),
      moments: new Map(),
    };
    const packs = [
      ...this.#packs,
      ...[...this.#apart].map(([name, moments]) => ({
        names: [name],
        sizes: [moments.shape[1]],
        moments,
      })),
    ];
    for (const { names, sizes, moments } of packs) {
      const values = await moments.data() as Float32Array;
      const half = values.length / 2;
      startsOf(sizes).forEach((start, i) => {
        const end = start + sizes[i]!;
        const name = names[i]!;
        state.moments.set(`${name}/first`, values.slice(start, end));
        state.moments.set(
          `${name}/second`,
          values.slice(half + start, half + end),
        );
      });
    }
    return state;
  }

  /** Continues from a saved state. */
  restore({ steps, moments }: OptimizerState): void {
    this.dispose();
    for (const [name, count] of Object.entries(steps)) {
      const first = moments.get(`${name}/first`)!;
      const second = moments.get(`${name}/second`)!;
      const both = new Float32Array(2 * first.length);
      both.set(first);
      both.set(second, first.length);
      this.#steps.set(name, count);
      this.#apart.set(name, tf.tensor2d(both, [2, first.length]));
    }
  }

  dispose(): void {
    tf.dispose([...this.#packs].map(({ moments }) => moments));
    tf.dispose([...this.#apart.values()]);
    this.#packs.clear();
    this.#apart.clear();
    this.#steps.clear();
  }

  /** The moments of these parameters as one tensor; zeros at the start. */
  #packOf(steps: ReadonlyMap<string, ParameterStep>): PackedMoments {
    const names = [...steps.keys()];
    for (const pack of this.#packs) {
      if (pack.names.join() === names.join()) return pack;
      if (pack.names.some((name) => steps.has(name))) this.#takeApart(pack);
    }
    const sizes = [...steps.values()].map(({ variable }) => variable.size);
    const parts = names.map((name, i) =>
      this.#apart.get(name) ?? tf.zeros<tf.Rank.R2>([2, sizes[i]!])
    );
    const moments = tf.keep(tf.concat2d(parts, 1));
    for (const name of names) {
      this.#apart.get(name)?.dispose();
      this.#apart.delete(name);
    }
    const pack = { names, sizes, moments };
    this.#packs.add(pack);
    return pack;
  }

  #takeApart(pack: PackedMoments): void {
    const { names, sizes, moments } = pack;
    startsOf(sizes).forEach((start, i) => {
      const own = tf.slice2d(moments, [0, start], [2, sizes[i]!]);
      this.#apart.set(names[i]!, tf.keep(own));
    });
    moments.dispose();
    this.#packs.delete(pack);
  }
}

/** Where each part begins, of parts one after the other. */
function startsOf(sizes: readonly number[]): number[] {
  let end = 0;
  return sizes.map((size) => (end += size) - size);
}
