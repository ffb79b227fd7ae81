/**
 * Compares every kernel with its plain-loop reference on the current engine.
 *
 * Errors on a GPU are silent: a shader that fails leaves zeros. `doctor` and
 * the server run this before they trust an engine.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { downsample, downsampleReference } from "../../kernels/downsample.ts";
import {
  gatherPatches,
  gatherPatchesReference,
  packPixels,
} from "../../kernels/gather_patches.ts";
import { randomKey, RandomStream } from "../../kernels/random.ts";
import { topGumbel, topGumbelReference } from "../../kernels/sample.ts";
import {
  attentionSoftmax,
  softmaxGradientReference,
  softmaxReference,
} from "../../kernels/softmax.ts";

/** How one kernel did. */
export interface SelfTestResult {
  kernel: string;
  passed: boolean;
  /** Largest difference, relative to max(1, |expected|). */
  maxError: number;
}

// float32 sums of about a thousand terms stay well below it.
const TOLERANCE = 1e-5;

/** A kernel's output and what it should be. */
interface Comparison {
  actual: tf.Tensor[];
  expected: ArrayLike<number>[];
}

const CHECKS: Record<string, () => Comparison> = {
  softmax: checkSoftmax,
  "softmax gradient": checkSoftmaxGradient,
  "top gumbel": checkTopGumbel,
  "gather patches": checkGatherPatches,
  downsample: checkDownsample,
};

/** Tests every kernel on tfjs's current backend. */
export async function selfTest(): Promise<SelfTestResult[]> {
  const results: SelfTestResult[] = [];
  for (const [kernel, check] of Object.entries(CHECKS)) {
    const { actual, expected } = check();
    let worst = 0;
    for (const [i, tensor] of actual.entries()) {
      const error = maxError(await tensor.data(), expected[i]!);
      if (!(error <= worst)) worst = error;
      tensor.dispose();
    }
    results.push({ kernel, passed: worst <= TOLERANCE, maxError: worst });
  }
  return results;
}

/** The largest difference relative to max(1, |expected|); NaN if there is one. */
export function maxError(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
): number {
  if (actual.length !== expected.length) return Infinity;
  let largest = 0;
  for (let i = 0; i < expected.length; i++) {
    const a = actual[i]!, e = expected[i]!;
    if (a === e) continue; // infinities
    const error = Math.abs(a - e) / Math.max(1, Math.abs(e));
    if (Number.isNaN(error)) return NaN;
    largest = Math.max(largest, error);
  }
  return largest;
}

const ROWS = { rows: 3, locations: 1031 }; // a prime, several invocations each
const REGION = { width: 53, height: 41 };
const ORIGINS = Int32Array.of(-5, -3, 7, 11, 30, 39, 100, 100); // in, across, out

function normals(seed: number, scale = 1): Float32Array {
  const stream = new RandomStream(randomKey(seed));
  const count = ROWS.rows * ROWS.locations;
  return Float32Array.from({ length: count }, () => scale * stream.normal());
}

function rowsTensor(values: Float32Array): tf.Tensor2D {
  return tf.tensor2d(values, [ROWS.rows, ROWS.locations]);
}

function pixels(): Uint8Array<ArrayBuffer> {
  const stream = new RandomStream(randomKey(4));
  const bytes = new Uint8Array(REGION.width * REGION.height * 4);
  return bytes.map(() => stream.below(256));
}

function checkSoftmax(): Comparison {
  const logits = normals(1, 20);
  return {
    actual: [tf.tidy(() => attentionSoftmax(rowsTensor(logits)))],
    expected: [softmaxReference(logits, ROWS)],
  };
}

function checkSoftmaxGradient(): Comparison {
  const logits = normals(1, 2), upstream = normals(2);
  const gradient = tf.grad((x) => attentionSoftmax(x as tf.Tensor2D));
  const attention = softmaxReference(logits, ROWS);
  return {
    actual: [
      tf.tidy(() => gradient(rowsTensor(logits), rowsTensor(upstream))),
    ],
    expected: [softmaxGradientReference(attention, upstream, ROWS)],
  };
}

function checkTopGumbel(): Comparison {
  const logWeights = normals(3);
  logWeights.fill(-Infinity, 0, 100);
  const keys = new Uint32Array(2 * ROWS.rows);
  for (let row = 0; row < ROWS.rows; row++) {
    keys.set(randomKey(5, row), 2 * row);
  }
  const options = { k: 7, keys, columns: 37 };
  const expected = topGumbelReference(logWeights, options);
  return tf.tidy(() => {
    const { indices, values } = topGumbel(rowsTensor(logWeights), options);
    return {
      actual: [indices, values],
      expected: [expected.indices, expected.values],
    };
  });
}

function checkGatherPatches(): Comparison {
  const data = pixels();
  const options = { origins: ORIGINS, size: { width: 7, height: 11 } };
  const packed = new Int32Array(data.buffer);
  return {
    actual: [
      tf.tidy(() => gatherPatches(packPixels({ data, ...REGION }), options)),
    ],
    expected: [gatherPatchesReference(packed, REGION, options)],
  };
}

function checkDownsample(): Comparison {
  const data = pixels();
  const options = {
    origins: ORIGINS,
    size: { width: 23, height: 19 },
    output: { width: 9, height: 19 },
  };
  const packed = new Int32Array(data.buffer);
  return {
    actual: [
      tf.tidy(() => downsample(packPixels({ data, ...REGION }), options)),
    ],
    expected: [downsampleReference(packed, REGION, options)],
  };
}
