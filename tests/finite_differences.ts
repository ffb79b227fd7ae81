/**
 * Gradients against central differences.
 *
 * @module
 */
import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import { randomKey, RandomStream } from "../kernels/random.ts";

/** `count` standard normal numbers that follow from `seed`. */
export function normals(count: number, seed = 1, scale = 1): Float32Array {
  const stream = new RandomStream(randomKey(seed));
  return Float32Array.from({ length: count }, () => scale * stream.normal());
}

/** A tensor of standard normal numbers that follow from `seed`. */
export function normalTensor<R extends tf.Rank>(
  shape: tf.ShapeMap[R],
  seed: number,
): tf.Tensor<R> {
  const size = tf.util.sizeFromShape(shape);
  return tf.tensor(normals(size, seed), shape);
}

/**
 * Fails if the gradient of <dy, f> is not its central difference, by
 * `tolerance` relative to the largest element of that gradient. dy is random.
 *
 * @param options.step of every input; 0.5 where f is linear in each input, as
 * the difference is then exact at any step.
 * @param options.wanted inputs to differentiate by; all of them if omitted.
 */
export async function assertGradients(
  f: (...inputs: tf.Tensor[]) => tf.Tensor,
  inputs: readonly tf.Tensor[],
  { step = 0.5, tolerance = 1e-4, wanted = inputs.map((_, i) => i) }: {
    step?: number;
    tolerance?: number;
    wanted?: number[];
  } = {},
): Promise<void> {
  const values = await Promise.all(inputs.map((input) => input.data()));
  const output = tf.tidy(() => f(...inputs));
  const upstream = normals(output.size, 77);
  const dy = tf.tensor(upstream, output.shape);
  const gradients = tf.tidy(() => tf.grads(f)([...inputs], dy));
  for (const at of wanted) {
    const { shape } = inputs[at]!;
    const moved = async (index: number, by: number) => {
      const changed = Float32Array.from(values[at]!);
      changed[index]! += by;
      const y = tf.tidy(() =>
        f(
          ...inputs.map((input, i) =>
            i === at ? tf.tensor(changed, shape) : input
          ),
        )
      );
      const result = await y.data();
      y.dispose();
      return { by: changed[index]!, result };
    };
    const expected = await Promise.all(
      Array.from(values[at]!, async (_, index) => {
        const [up, down] = await Promise.all([
          moved(index, step),
          moved(index, -step),
        ]);
        let difference = 0;
        for (let i = 0; i < upstream.length; i++) {
          difference += upstream[i]! * (up.result[i]! - down.result[i]!);
        }
        return difference / (up.by - down.by);
      }),
    );
    assert.deepEqual(gradients[at]!.shape, shape);
    const error = relativeError(await gradients[at]!.data(), expected);
    assert.ok(error < tolerance, `gradient of input ${at}: ${error}`);
  }
  tf.dispose([output, dy, ...gradients]);
}

/** The largest difference, relative to the largest of `expected`. */
export function relativeError(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
): number {
  assert.equal(actual.length, expected.length);
  let largest = 0, scale = 0;
  for (let i = 0; i < expected.length; i++) {
    const error = Math.abs(actual[i]! - expected[i]!);
    if (!(error <= largest)) largest = error; // NaN stays
    scale = Math.max(scale, Math.abs(expected[i]!));
  }
  return largest === 0 ? 0 : largest / scale;
}

/**
 * The largest magnitude among the tensors of each network, by the first word of
 * their names. Rounding is relative to it: the bias before a softmax has a
 * gradient of nothing but rounding.
 */
export async function networkScales(
  tensors: ReadonlyMap<string, tf.Tensor>,
): Promise<(name: string) => number> {
  const scales = new Map<string, number>();
  const networkOf = (name: string) => name.split("/")[0]!;
  for (const [name, tensor] of tensors) {
    const values = await tensor.data() as Float32Array;
    const largest = values.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
    const before = scales.get(networkOf(name)) ?? 0;
    scales.set(networkOf(name), Math.max(before, largest));
  }
  return (name) => scales.get(networkOf(name))!;
}
