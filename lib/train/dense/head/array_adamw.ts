/**
 * AdamW (Loshchilov & Hutter, ICLR 2019) on arrays in main memory, for the small
 * head of frozen features; ../optimizer.ts is the same on the engine.
 *
 * @module
 */

// Adam's published constants (Kingma & Ba, ICLR 2015).
const BETA1 = 0.9, BETA2 = 0.999, EPSILON = 1e-8;

/** Named arrays: parameters, or their gradients. */
export type Arrays<Name extends string> = Readonly<Record<Name, Float64Array>>;

/** Holds the moments of the parameters that it moves. */
export class ArrayAdamW<Name extends string> {
  readonly #values: Arrays<Name>;
  readonly #moments: Record<string, Record<"first" | "second", Float64Array>>;
  #steps = 0;

  constructor(values: Arrays<Name>) {
    this.#values = values;
    this.#moments = Object.fromEntries(
      entriesOf(values).map(([name, { length }]) => [name, {
        first: new Float64Array(length),
        second: new Float64Array(length),
      }]),
    );
  }

  /** Moves all parameters. Only weights decay: biases should stay free. */
  step(
    gradients: Arrays<Name>,
    { learningRate, weightDecay }: {
      learningRate: number;
      weightDecay: number;
    },
  ): void {
    this.#steps++;
    const scale = learningRate / (1 - BETA1 ** this.#steps);
    const correction = 1 / (1 - BETA2 ** this.#steps);
    for (const [name, values] of entriesOf(this.#values)) {
      const { first, second } = this.#moments[name]!;
      const decay = name.endsWith("weight") ? learningRate * weightDecay : 0;
      const gradient = gradients[name];
      for (let i = 0; i < values.length; i++) {
        const g = gradient[i]!;
        first[i] = BETA1 * first[i]! + (1 - BETA1) * g;
        second[i] = BETA2 * second[i]! + (1 - BETA2) * g * g;
        const root = Math.sqrt(second[i]! * correction) + EPSILON;
        values[i] = values[i]! * (1 - decay) - scale * first[i]! / root;
      }
    }
  }
}

/** Scales gradients so that their common norm is at most `most`; returns it. */
export function clipNorm<Name extends string>(
  gradients: Arrays<Name>,
  most: number,
): number {
  let squares = 0;
  for (const [, values] of entriesOf(gradients)) {
    for (const value of values) squares += value * value;
  }
  const norm = Math.sqrt(squares);
  if (norm > most) {
    for (const [, values] of entriesOf(gradients)) {
      for (let i = 0; i < values.length; i++) values[i]! *= most / norm;
    }
  }
  return norm;
}

/** The entries of arrays, with the type of their names. */
export function entriesOf<Name extends string>(
  arrays: Arrays<Name>,
): [Name, Float64Array][] {
  return Object.entries(arrays) as [Name, Float64Array][];
}
