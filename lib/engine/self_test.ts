/**
 * Compares every kernel with its plain-loop reference on the current engine.
 *
 * Errors on a GPU are silent: a failed shader leaves zeros. `doctor` and the
 * server run this before they trust an engine.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { adamW, adamWReference } from "../../kernels/adamw/adamw.ts";
import {
  inputColours,
  inputColoursReference,
} from "../../kernels/colour/input_colours.ts";
import {
  conv2d,
  convGradientReference,
  type ConvOptions,
  convReference,
  type ConvShape,
  convShape,
} from "../../kernels/conv/conv.ts";
import {
  entropyGradientReference,
  entropySums,
  entropySumsReference,
  weightedEntropy,
} from "../../kernels/entropy/entropy.ts";
import {
  drawnExpectation,
  drawnWeightsReference,
  expectationGradientReference,
  expectationReference,
} from "../../kernels/expectation/expectation.ts";
import {
  crossEntropyReference,
  weightedCrossEntropy,
} from "../../kernels/loss/cross_entropy.ts";
import {
  stepReport,
  stepReportReference,
} from "../../kernels/step_report/step_report.ts";
import {
  unitRows,
  unitRowsGradientReference,
  unitRowsReference,
} from "../../kernels/unit_rows/unit_rows.ts";
import { downsampleReference } from "../../kernels/resample/area_means.ts";
import { downsample } from "../../kernels/resample/downsample.ts";
import {
  gatherPatches,
  gatherPatchesReference,
  packPixels,
} from "../../kernels/resample/gather_patches.ts";
import {
  maxPool,
  maxPoolGradientReference,
  maxPoolReference,
  type PoolShape,
} from "../../kernels/pool/max_pool.ts";
import { randomKey, RandomStream } from "../../kernels/random.ts";
import { topGumbel, topGumbelReference } from "../../kernels/sample/sample.ts";
import {
  attentionSoftmax,
  softmaxGradientReference,
  softmaxReference,
} from "../../kernels/softmax/softmax.ts";

/** Result of one kernel's test. */
export interface SelfTestResult {
  kernel: string;
  passed: boolean;
  /** Largest difference, relative to max(1, |expected|). */
  maxError: number;
}

// float32 sums of about a thousand terms stay well below it.
const TOLERANCE = 1e-5;

/** A kernel's output and its reference. */
interface Comparison {
  actual: tf.Tensor[];
  expected: (Float32Array | Int32Array)[];
}

const CHECKS: Record<string, () => Comparison> = {
  softmax: checkSoftmax,
  "softmax gradient": checkSoftmaxGradient,
  "top gumbel": checkTopGumbel,
  "gather patches": checkGatherPatches,
  downsample: checkDownsample,
  "max pool": checkMaxPool,
  "max pool gradient": checkMaxPoolGradient,
  convolution: checkConvolution,
  "convolution, input gradient": checkInputGradient,
  "convolution, filter gradient": checkFilterGradient,
  "entropy": checkEntropy,
  "cross-entropy": checkCrossEntropy,
  "expectation": checkExpectation,
  "unit rows": checkUnitRows,
  "step report": checkStepReport,
  "AdamW": checkAdamW,
};

/** Of kernels that only the WebGPU engine has. */
const WEBGPU_CHECKS: typeof CHECKS = { "input colours": checkInputColours };

/** Tests every kernel on tfjs's current backend. */
export async function selfTest(): Promise<SelfTestResult[]> {
  const results: SelfTestResult[] = [];
  const own = tf.getBackend() === "webgpu" ? WEBGPU_CHECKS : {};
  for (const [kernel, check] of Object.entries({ ...CHECKS, ...own })) {
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

/**
 * The largest difference relative to max(1, |expected|); NaN if a difference is
 * NaN.
 */
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

function normals(
  seed: number,
  { scale = 1, count = ROWS.rows * ROWS.locations } = {},
): Float32Array {
  const stream = new RandomStream(randomKey(seed));
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
  const logits = normals(1, { scale: 20 });
  return {
    actual: [tf.tidy(() => attentionSoftmax(rowsTensor(logits)))],
    expected: [softmaxReference(logits, ROWS)],
  };
}

function checkSoftmaxGradient(): Comparison {
  const logits = normals(1, { scale: 2 }), upstream = normals(2);
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

function checkInputColours(): Comparison {
  const shape: Shape4D = [2, 13, 11, 3];
  const stream = new RandomStream(randomKey(20));
  const uniforms = (count: number) =>
    Float32Array.from({ length: count }, () => stream.uniform());
  const views = uniforms(tf.util.sizeFromShape(shape));
  const options = {
    changes: [
      { gain: 1.2, densities: null },
      { gain: 0.9, densities: [0.9, 0.1, 0, -0.1, 1.1, 0.2, 0, 0.1, 1] },
    ],
    shares: uniforms(2 * (13 + 11)),
    mean: [0.4, 0.5, 0.6],
    deviation: [0.5, 0.4, 0.3],
    darkest: 1 / 255,
  };
  return {
    actual: [tf.tidy(() => inputColours(tf.tensor4d(views, shape), options))],
    expected: [inputColoursReference(views, shape, options)],
  };
}

type Shape4D = [number, number, number, number];

/** A convolution's inputs, and the references of its output and gradients. */
interface ConvCase {
  x: tf.Tensor4D;
  filter: tf.Tensor4D;
  bias: tf.Tensor1D;
  dy: tf.Tensor4D;
  options: ConvOptions;
  output: Float32Array;
  gradients: ReturnType<typeof convGradientReference>;
}

// Odd sizes, which leave a remainder in every routine; outputs by 4, 12 and 1.
const CONVOLUTIONS = [
  { x: [2, 13, 11, 8], filter: [3, 3, 8, 8], stride: 1, padding: 1 },
  { x: [1, 11, 13, 3], filter: [5, 5, 3, 36], stride: 2, padding: 2 },
  { x: [1, 9, 17, 5], filter: [3, 3, 5, 1], stride: 1, padding: 0 },
] satisfies (Omit<ConvOptions, "relu"> & { x: Shape4D; filter: Shape4D })[];

const POOL: PoolShape = [2, 23, 21, 5]; // a last row and column left over

function checkMaxPool(): Comparison {
  const x = normals(10, { count: tf.util.sizeFromShape(POOL) });
  return {
    actual: [tf.tidy(() => maxPool(tf.tensor4d(x, POOL)))],
    expected: [maxPoolReference(x, POOL)],
  };
}

function checkMaxPoolGradient(): Comparison {
  const [batch, , , channels] = POOL;
  const pooled: Shape4D = [batch, 11, 10, channels];
  const x = normals(10, { count: tf.util.sizeFromShape(POOL) });
  const dy = normals(11, { count: tf.util.sizeFromShape(pooled) });
  const gradient = tf.grad((x) => maxPool(x as tf.Tensor4D));
  return {
    actual: [
      tf.tidy(() => gradient(tf.tensor4d(x, POOL), tf.tensor4d(dy, pooled))),
    ],
    expected: [maxPoolGradientReference(x, dy, POOL)],
  };
}

function checkConvolution(): Comparison {
  return compareConvolutions(({ x, filter, bias, options, output }) => ({
    actual: [conv2d(x, { filter, bias, ...options })],
    expected: [output],
  }));
}

function checkInputGradient(): Comparison {
  return compareConvolutions(
    ({ x, filter, bias, dy, options, gradients }) => ({
      actual: [
        tf.grad((x) => conv2d(x as tf.Tensor4D, { filter, bias, ...options }))(
          x,
          dy,
        ),
      ],
      expected: [gradients.x],
    }),
  );
}

function checkFilterGradient(): Comparison {
  return compareConvolutions(
    ({ x, filter, bias, dy, options, gradients }) => ({
      actual: tf.grads((filter, bias) =>
        conv2d(x, {
          filter: filter as tf.Tensor4D,
          bias: bias as tf.Tensor1D,
          ...options,
        })
      )([filter, bias], dy),
      expected: [gradients.filter, gradients.bias],
    }),
  );
}

function compareConvolutions(
  compare: (convolution: ConvCase) => Comparison,
): Comparison {
  return tf.tidy(() => {
    const parts = CONVOLUTIONS.map(({ x, filter, stride, padding }) =>
      compare(convolutionCase(convShape(x, filter, { stride, padding })))
    );
    return {
      actual: parts.flatMap(({ actual }) => actual),
      expected: parts.flatMap(({ expected }) => expected),
    };
  });
}

function convolutionCase(shape: ConvShape): ConvCase {
  const { batch, height, width, inputs, kernel, outputs } = shape;
  const { outHeight, outWidth, stride, padding } = shape;
  const sizes: Record<"x" | "filter" | "dy", Shape4D> = {
    x: [batch, height, width, inputs],
    filter: [kernel, kernel, inputs, outputs],
    dy: [batch, outHeight, outWidth, outputs],
  };
  const count = tf.util.sizeFromShape;
  const x = normals(6, { count: count(sizes.x) });
  const filter = normals(7, { count: count(sizes.filter) });
  const bias = normals(8, { count: outputs });
  const dy = normals(9, { count: count(sizes.dy) });
  const sums = convReference(x, filter, bias, shape);
  // The gradient of a ReLU lets through where it is above zero.
  const upstream = dy.map((value, i) => sums[i]! > 0 ? value : 0);
  return {
    x: tf.tensor4d(x, sizes.x),
    filter: tf.tensor4d(filter, sizes.filter),
    bias: tf.tensor1d(bias),
    dy: tf.tensor4d(dy, sizes.dy),
    options: { stride, padding, relu: true },
    output: sums.map((sum) => Math.max(0, sum)),
    gradients: convGradientReference(x, filter, upstream, shape),
  };
}

function checkEntropy(): Comparison {
  const attention = softmaxReference(normals(21, { scale: 3 }), ROWS);
  const weights = [0.5, 1, 2];
  const expected = entropySumsReference(attention, ROWS);
  const total = weights.reduce(
    (sum, w, row) => sum + w * expected[2 * row]!,
    0,
  );
  const actual = tf.tidy(() => {
    const maps = rowsTensor(attention);
    const sums = entropySums(maps);
    const { value, grad } = tf.valueAndGrad((p) =>
      weightedEntropy(p as tf.Tensor2D, sums, weights)
    )(maps);
    return [sums, value, grad];
  });
  const gradient = entropyGradientReference(attention, weights, 1);
  return { actual, expected: [expected, Float32Array.of(total), gradient] };
}

function checkCrossEntropy(): Comparison {
  const [rows, classes] = [37, 5];
  const logits = normals(22, { count: rows * classes, scale: 5 });
  const targets = normals(23, { count: rows * classes })
    .map((value) => Math.abs(value) / rows);
  const gradient = new Float32Array(logits.length);
  const loss = crossEntropyReference(logits, targets, { classes, gradient });
  const actual = tf.tidy(() => {
    const wanted = tf.tensor2d(targets.slice(), [rows, classes]);
    const { value, grad } = tf.valueAndGrad((z) =>
      weightedCrossEntropy(z as tf.Tensor2D, wanted)
    )(tf.tensor2d(logits.slice(), [rows, classes]));
    return [value, grad];
  });
  return { actual, expected: [Float32Array.of(loss), gradient] };
}

function checkExpectation(): Comparison {
  const channels = 7;
  const counts = Int32Array.of(2, 1, 4, 3, 4);
  const draws = {
    samples: 7,
    rowOf: Int32Array.of(0, 0, 0, 1, 1),
    counts,
    drawn: counts,
  };
  const shares = (seed: number, count: number) =>
    normals(seed, { count }).map((x) => 0.1 + 0.1 / (1 + Math.exp(-x)));
  const drawn = {
    features: normals(24, { count: 14 * channels }),
    subTileAttention: shares(25, 14),
    tileAttention: shares(26, 5),
  };
  const upstream = normals(27, { count: 2 * channels });
  const rule = "leaveOneOut";
  const actual = tf.tidy(() => {
    const inputs = [
      tf.tensor2d(drawn.features.slice(), [14, channels]),
      tf.tensor1d(drawn.subTileAttention.slice()),
      tf.tensor1d(drawn.tileAttention.slice()),
    ];
    const { value, grads } = tf.valueAndGrads((f, b, alpha) =>
      drawnExpectation(
        {
          features: f as tf.Tensor2D,
          subTileAttention: b as tf.Tensor1D,
          tileAttention: alpha as tf.Tensor1D,
        },
        draws,
        rule,
      ).representation
    )(inputs, tf.tensor2d(upstream.slice(), [2, channels]));
    return [value, ...grads];
  });
  const weights = drawnWeightsReference(drawn.subTileAttention, draws);
  const gradients = expectationGradientReference(
    drawn,
    { draws, rule },
    upstream,
  );
  return {
    actual,
    expected: [
      expectationReference(drawn.features, weights, draws),
      gradients.features,
      gradients.subTileAttention,
      gradients.tileAttention,
    ].map((values) => Float32Array.from(values)),
  };
}

function checkUnitRows(): Comparison {
  const x = normals(28), upstream = normals(29);
  const expected = unitRowsReference(x, ROWS.rows);
  const actual = tf.tidy(() => {
    const { value, grad } = tf.valueAndGrad((x) => unitRows(x as tf.Tensor2D))(
      rowsTensor(x),
      rowsTensor(upstream),
    );
    return [value, grad];
  });
  return {
    actual,
    expected: [expected.y, unitRowsGradientReference(expected, upstream)],
  };
}

function checkStepReport(): Comparison {
  const [rows, channels, logits] = [31, 13, 6];
  const values = {
    loss: Float32Array.of(0.5),
    tiles: normals(30, { count: 6 }),
    subTiles: normals(31, { count: 10 }),
    features: normals(32, { count: rows * channels }),
    logits: normals(33, { count: logits }),
  };
  const expected = stepReportReference(values, { channels, logits });
  const actual = tf.tidy(() =>
    stepReport({
      loss: tf.scalar(0.5),
      tiles: tf.tensor2d(values.tiles, [3, 2]),
      subTiles: tf.tensor2d(values.subTiles, [5, 2]),
      features: tf.tensor2d(values.features, [rows, channels]),
      logits: tf.tensor2d(values.logits, [2, 3]),
    }, 2)
  );
  return { actual: [actual], expected: [expected] };
}

function checkAdamW(): Comparison {
  const sizes = [7, ROWS.locations];
  const parts = sizes.map((size, i) => ({
    value: normals(12 + i, { count: size }),
    gradient: normals(14 + i, { count: size }),
    first: normals(16 + i, { count: size }),
    second: normals(18 + i, { count: size }).map((value) => value ** 2),
    learningRate: 0.01,
    weightDecay: 0.1,
    steps: 3,
  }));
  const half = (name: "first" | "second") =>
    tf.concat1d(parts.map((part) => tf.tensor1d(part[name].slice())));
  const actual = tf.tidy(() => {
    const stepped = adamW(
      parts.map(({ value, gradient, ...part }) => ({
        ...part,
        value: tf.tensor1d(value.slice()),
        gradient: tf.tensor1d(gradient),
      })),
      tf.stack([half("first"), half("second")]) as tf.Tensor2D,
      1,
    );
    return [stepped.squares, ...stepped.values];
  });
  const squares = adamWReference(parts, 1);
  return { actual, expected: [squares, ...parts.map(({ value }) => value)] };
}
