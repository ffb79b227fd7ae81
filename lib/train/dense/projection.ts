/**
 * The projection of frozen features: standardised by channel, then, unless all are
 * kept, principal components, each divided by the fourth root of its variance,
 * which is half way to whitening. It is folded into one matrix, which the head applies.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { type Eigen, leadingEigen } from "../../encoder/eigen.ts";
import type { Parameters } from "../../model/parameters.ts";

/** Rows of features on which a projection is fitted, at most. */
export const PROJECTION_ROWS = 12_000;

// Added to a deviation: a channel that hardly varies should not be blown up.
const LEAST_DEVIATION = 1e-5;
// Components with less than this share of the largest variance are rounding.
const LEAST_VARIANCE = 1e-9;

/** y = x W + b. */
export interface Projection {
  /** W, `[channels, components]`. */
  weight: Float32Array;
  /** b, `[components]`. */
  bias: Float32Array;
}

/**
 * Fits a projection.
 *
 * @param rows `[count, channels]`, at least one.
 * @param components at most `channels`; those without variance are zero. Null: the
 *   standardised channels themselves.
 */
export async function fitProjection(
  rows: Float32Array,
  channels: number,
  components: number | null,
): Promise<Projection> {
  const { mean, deviation } = moments(rows, channels);
  if (components === null) return standardised({ mean, deviation });
  const covariance = await covarianceOf(rows, { mean, deviation });
  const eigen = leadingEigen(covariance, channels, components);
  return folded(eigen, { mean, deviation });
}

interface Moments {
  mean: Float64Array;
  deviation: Float64Array;
}

/** Mean and deviation of each channel. */
function moments(rows: Float32Array, channels: number): Moments {
  const count = rows.length / channels;
  const mean = new Float64Array(channels), squares = new Float64Array(channels);
  rows.forEach((value, i) => mean[i % channels]! += value / count);
  rows.forEach((value, i) => {
    squares[i % channels]! += (value - mean[i % channels]!) ** 2 / count;
  });
  const deviation = squares.map((s) => Math.sqrt(s) + LEAST_DEVIATION);
  return { mean, deviation };
}

/** Covariance of the standardised rows, `[channels, channels]`. */
async function covarianceOf(
  rows: Float32Array,
  { mean, deviation }: Moments,
): Promise<Float32Array> {
  const channels = mean.length, count = rows.length / channels;
  const standard = rows.map((value, i) =>
    (value - mean[i % channels]!) / deviation[i % channels]!
  );
  const covariance = tf.tidy(() => {
    const x = tf.tensor2d(standard, [count, channels]);
    // tfjs takes ten times as long for its own transposed product.
    return tf.mul(tf.matMul(tf.transpose(x), x), 1 / count);
  });
  try {
    return await covariance.data() as Float32Array;
  } finally {
    covariance.dispose();
  }
}

/** Each channel less its mean, divided by its deviation. */
function standardised({ mean, deviation }: Moments): Projection {
  const channels = mean.length;
  const weight = new Float32Array(channels * channels);
  deviation.forEach((value, c) => weight[c * channels + c] = 1 / value);
  return {
    weight,
    bias: Float32Array.from(mean, (m, c) => -m / deviation[c]!),
  };
}

function folded(
  { values, vectors }: Eigen,
  { mean, deviation }: Moments,
): Projection {
  const channels = mean.length, components = values.length;
  const weight = new Float32Array(channels * components);
  const bias = new Float64Array(components);
  for (let k = 0; k < components; k++) {
    if (!(values[k]! > LEAST_VARIANCE * values[0]!)) continue;
    const scale = values[k]! ** -0.25;
    for (let c = 0; c < channels; c++) {
      const w = scale * vectors[k * channels + c]! / deviation[c]!;
      weight[c * components + k] = w;
      bias[k]! -= mean[c]! * w;
    }
  }
  return { weight, bias: Float32Array.from(bias) };
}

/** The projection of a trained model. */
export async function readProjection(
  parameters: Parameters,
): Promise<Projection> {
  const values = async (name: string) =>
    await parameters.get(name)!.data() as Float32Array;
  return {
    weight: await values("g/project/weight"),
    bias: await values("g/project/bias"),
  };
}

/** Rows `[count, channels]` projected: `[count, components]`. */
export async function projected(
  rows: Float32Array,
  { weight, bias }: Projection,
): Promise<Float32Array> {
  const components = bias.length, channels = weight.length / components;
  const count = rows.length / channels;
  const result = tf.tidy(() =>
    tf.add(
      tf.matMul(
        tf.tensor2d(rows, [count, channels]),
        tf.tensor2d(weight, [channels, components]),
      ),
      tf.tensor1d(bias),
    )
  );
  try {
    return await result.data() as Float32Array;
  } finally {
    result.dispose();
  }
}
