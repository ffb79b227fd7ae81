/**
 * AdamW (Loshchilov & Hutter, ICLR 2019): Adam with weight decay apart from
 * the gradient, so that a parameter without a gradient does not move.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";

// Adam's published constants (Kingma & Ba, ICLR 2015).
const BETA1 = 0.9, BETA2 = 0.999, EPSILON = 1e-8;

/** First and second moments of one parameter's gradient. */
interface Moments {
  first: tf.Tensor;
  second: tf.Tensor;
  /** Steps that this parameter has taken part in. */
  steps: number;
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

/** Holds the moments; only parameters that are given to `step` move. */
export class AdamW {
  readonly #moments = new Map<string, Moments>();

  /** Moves each parameter named in `steps`. */
  step(steps: ReadonlyMap<string, ParameterStep>): void {
    for (const [name, step] of steps) {
      const moments = this.#momentsOf(name, step.variable);
      moments.steps++;
      tf.tidy(() => update(step, moments));
    }
  }

  /** Copies the state out of the engine. */
  async save(): Promise<OptimizerState> {
    const state: OptimizerState = { steps: {}, moments: new Map() };
    for (const [name, { first, second, steps }] of this.#moments) {
      state.steps[name] = steps;
      state.moments.set(`${name}/first`, await first.data() as Float32Array);
      state.moments.set(`${name}/second`, await second.data() as Float32Array);
    }
    return state;
  }

  /** Continues from a saved state. */
  restore(
    { steps, moments }: OptimizerState,
    parameters: ReadonlyMap<string, tf.Variable>,
  ): void {
    this.dispose();
    for (const [name, count] of Object.entries(steps)) {
      const shape = parameters.get(name)!.shape;
      this.#moments.set(name, {
        first: tf.tensor(moments.get(`${name}/first`)!, shape),
        second: tf.tensor(moments.get(`${name}/second`)!, shape),
        steps: count,
      });
    }
  }

  dispose(): void {
    for (const { first, second } of this.#moments.values()) {
      tf.dispose([first, second]);
    }
    this.#moments.clear();
  }

  #momentsOf(name: string, variable: tf.Variable): Moments {
    let found = this.#moments.get(name);
    if (!found) {
      const [first, second] = [0, 0].map(() => tf.zeros(variable.shape));
      found = { first: first!, second: second!, steps: 0 };
      this.#moments.set(name, found);
    }
    return found;
  }
}

function update(
  { variable, gradient, learningRate, weightDecay }: ParameterStep,
  moments: Moments,
): void {
  const first = tf.add(
    tf.mul(moments.first, BETA1),
    tf.mul(gradient, 1 - BETA1),
  );
  const second = tf.add(
    tf.mul(moments.second, BETA2),
    tf.mul(tf.square(gradient), 1 - BETA2),
  );
  tf.dispose([moments.first, moments.second]);
  moments.first = tf.keep(first);
  moments.second = tf.keep(second);
  const { steps } = moments;
  const scale = learningRate / (1 - BETA1 ** steps);
  const root = tf.sqrt(tf.mul(second, 1 / (1 - BETA2 ** steps)));
  const move = tf.mul(tf.div(first, tf.add(root, EPSILON)), scale);
  const kept = weightDecay === 0
    ? variable
    : tf.mul(variable, 1 - learningRate * weightDecay);
  variable.assign(tf.sub(kept, move));
}
