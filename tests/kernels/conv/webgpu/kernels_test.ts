import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import {
  conv2d,
  convGradientReference,
  convReference,
  type ConvShape,
  convShape,
} from "../../../../kernels/conv/conv.ts";
import { suitsWebGpu } from "../../../../kernels/conv/webgpu/kernels.ts";
import { convCode } from "../../../../kernels/conv/webgpu/forward_code.ts";
import { filterGradientCode } from "../../../../kernels/conv/webgpu/gradient_code.ts";
import {
  type ConvSpec,
  HARDWARE,
  planConv,
  planFilterGradient,
  SOFTWARE,
} from "../../../../kernels/conv/webgpu/plan.ts";
import type { TfjsWebGpuInternals } from "../../../../kernels/gpu.ts";
import { testOnEngines, testOnWebGpu } from "../../../engines.ts";
import { normals, relativeError } from "../../../finite_differences.ts";
import { withBudget } from "./budget.ts";

/** One convolution: `[N, H, W, I]` -> O channels. */
interface Case {
  x: [number, number, number, number];
  outputs: number;
  kernel: number;
  stride?: number;
  padding?: number;
  relu?: boolean;
}

// Sums of up to 10,000 products in float32.
const TOLERANCE = 2e-5;

// conv/conv_test.ts uses the budget of the current device; these cases run on
// both budgets, whose bodies, passes and blocks differ.
const CASES: Case[] = [
  // one pixel; a prime number of everything; odd channels in two passes
  { x: [1, 1, 1, 3], outputs: 8, kernel: 3, padding: 1, relu: true },
  { x: [3, 11, 7, 5], outputs: 7, kernel: 3, padding: 1, relu: true },
  { x: [1, 7, 5, 13], outputs: 11, kernel: 3, padding: 2 },
  // one output; several passes over the inputs and blocks of outputs
  { x: [2, 13, 17, 8], outputs: 1, kernel: 3, padding: 1 },
  { x: [1, 6, 7, 36], outputs: 48, kernel: 5, padding: 2, relu: true },
  // stride 2: odd and even sizes, pixels that no output sees
  { x: [2, 11, 10, 4], outputs: 8, kernel: 3, padding: 1, stride: 2 },
  { x: [2, 9, 8, 4], outputs: 8, kernel: 3, stride: 2, relu: true },
  { x: [1, 9, 12, 8], outputs: 4, kernel: 1, stride: 2 },
  // rows longer than a workgroup's strips; more strips than parts
  { x: [1, 3, 293, 4], outputs: 4, kernel: 3, padding: 1, relu: true },
  { x: [1, 67, 131, 1], outputs: 1, kernel: 1 },
];

for (const [name, budget] of Object.entries({ SOFTWARE, HARDWARE })) {
  testOnWebGpu(
    `direct convolutions cut for ${name} equal their references`,
    () =>
      withBudget(budget, async () => {
        for (const item of CASES) await checkCase(item);
      }),
  );
}

/** Defines a test of the webgpu engine alone; a GPU error fails it. */

/** The values of a case, and its sizes. */
function valuesOf({ x, outputs, kernel, stride = 1, padding = 0 }: Case) {
  const filterShape = [kernel, kernel, x[3], outputs];
  const shape = convShape(x, filterShape, { stride, padding });
  const yShape = [x[0], shape.outHeight, shape.outWidth, outputs];
  const normal = (shape: number[], seed: number) =>
    normals(tf.util.sizeFromShape(shape), seed);
  return {
    shape,
    filterShape,
    yShape,
    x: normal(x, 1),
    filter: normal(filterShape, 2),
    bias: normal([outputs], 3),
    dy: normal(yShape, 4),
  };
}

/** The output and all three gradients on the current engine. */
function compute(item: Case) {
  const { stride = 1, padding = 0, relu = false } = item;
  const values = valuesOf(item);
  const convolve = (x: tf.Tensor, filter: tf.Tensor, bias: tf.Tensor) =>
    conv2d(x as tf.Tensor4D, {
      filter: filter as tf.Tensor4D,
      bias: bias as tf.Tensor1D,
      stride,
      padding,
      relu,
    });
  return tf.tidy(() => {
    const inputs: [tf.Tensor, tf.Tensor, tf.Tensor] = [
      tf.tensor(values.x, item.x),
      tf.tensor(values.filter, values.filterShape),
      tf.tensor(values.bias, [item.outputs]),
    ];
    const dy = tf.tensor(values.dy, values.yShape);
    const [x, filter, bias] = tf.grads(convolve)(inputs, dy);
    return { y: convolve(...inputs), x: x!, filter: filter!, bias: bias! };
  });
}

async function checkCase(item: Case): Promise<void> {
  const { shape, x, filter, bias, dy } = valuesOf(item);
  assert.ok(suitsWebGpu(shape), JSON.stringify(item));
  const actual = compute(item);
  const y = convReference(x, filter, bias, shape);
  if (item.relu) {
    y.forEach((value, i) => {
      if (value > 0) return;
      y[i] = 0;
      dy[i] = 0;
    });
  }
  const expected = { y, ...convGradientReference(x, filter, dy, shape) };
  for (const part of ["y", "x", "filter", "bias"] as const) {
    const error = relativeError(await actual[part].data(), expected[part]);
    assert.ok(
      error < TOLERANCE,
      `${part} of ${JSON.stringify(item)}: ${error}`,
    );
  }
  tf.dispose(Object.values(actual));
}

// 65,535 workgroups fill a row of the grid: 1,201 x 3,501 values,
// which do not divide by four, need 65,699
testOnEngines("the ReLU's gradient fills more than one grid row", async () => {
  const shape: [number, number, number, number] = [1, 1201, 3501, 1];
  const size = tf.util.sizeFromShape(shape);
  const x = Float32Array.from({ length: size }, (_, i) => (i % 7) - 3);
  const dx = tf.tidy(() =>
    tf.grad((x) =>
      conv2d(x as tf.Tensor4D, {
        filter: tf.ones([1, 1, 1, 1]),
        bias: tf.zeros([1]),
        stride: 1,
        padding: 0,
        relu: true,
      })
    )(tf.tensor(x, shape))
  );
  const values = await dx.data();
  dx.dispose();
  const wrong = values.findIndex((value, i) => value !== (x[i]! > 0 ? 1 : 0));
  assert.equal(wrong, -1);
});

// 65,535 workgroups of 64 strips of 4 pixels: 2,051 x 8,209 px need 65,792
testOnWebGpu("a convolution fills more than one grid row", async () => {
  const shape: [number, number, number, number] = [1, 2051, 8209, 1];
  const size = tf.util.sizeFromShape(shape);
  const source = Float32Array.from({ length: size }, (_, at) => at % 1009);
  const x = tf.tensor4d(source, shape);
  const options = { bias: tf.ones([1]) as tf.Tensor1D, stride: 1, padding: 0 };
  const filter = tf.fill([1, 1, 1, 1], 2) as tf.Tensor4D;
  const layer = (x: tf.Tensor) =>
    conv2d(x as tf.Tensor4D, { filter, ...options, relu: false });
  for (
    const [compute, added] of [
      [() => layer(x), 1],
      [() => tf.grad(layer)(x, x), 0],
    ] as const
  ) {
    const result = tf.tidy(compute);
    const values = await result.data();
    result.dispose();
    const wrong = values.findIndex((value, at) =>
      value !== 2 * source[at]! + added
    );
    assert.equal(wrong, -1);
  }
  tf.dispose([x, filter, options.bias]);
});

testOnWebGpu("convolutions keep no buffer of the device", async () => {
  const backend = tf.backend() as unknown as TfjsWebGpuInternals & {
    bufferManager: { numUsedBuffers: number };
  };
  const used: number[] = [];
  for (let i = 0; i < 4; i++) {
    // passes that continue sums, parts that are added up, and a stock kernel
    for (const item of [CASES[4]!, CASES[5]!, UNSUITED]) {
      const results = Object.values(compute(item));
      for (const result of results) await result.data();
      tf.dispose(results);
    }
    used.push(backend.bufferManager.numUsedBuffers);
  }
  assert.deepEqual(used.slice(1), used.slice(1).fill(used[1]!));
});

const UNSUITED: Case = { x: [1, 3, 4, 17], outputs: 3, kernel: 1 };

Deno.test("sizes that no block fits are left to tfjs", () => {
  const shape: ConvShape = valuesOf(CASES[0]!).shape;
  assert.ok(suitsWebGpu(shape));
  const changes: Partial<ConvShape>[] = [
    { inputs: 17 },
    { outputs: 68 },
    { kernel: 11 },
    { stride: 3 },
    { padding: 3 },
  ];
  for (const change of changes) {
    assert.ok(!suitsWebGpu({ ...shape, ...change }), JSON.stringify(change));
  }
  assert.ok(!suitsWebGpu(valuesOf(UNSUITED).shape));
});

const NETWORK_SPECS = [
  [3, 3, 8],
  [3, 8, 8],
  [3, 8, 1],
  [5, 3, 36],
  [5, 36, 48],
  [3, 48, 48],
  [1, 48, 48],
  [7, 3, 32],
  [3, 32, 32],
  [7, 64, 64],
].map(([kernel, inputs, outputs]) => ({
  kernel,
  inputs,
  outputs,
  stride: 1,
  spread: 1,
  phase: 0,
})) as ConvSpec[];

Deno.test("plans cover the work within their budgets", () => {
  for (const budget of [SOFTWARE, HARDWARE]) {
    for (const spec of NETWORK_SPECS) {
      const plan = planConv(spec, budget);
      const { kernel, inputs, outputs } = spec;
      const weights = plan.rows * kernel * plan.inputBlock * plan.outputBlock;
      assert.ok(4 * weights <= budget.products, JSON.stringify(plan));
      assert.equal(
        plan.passes * plan.blocks * weights,
        kernel * kernel * inputs * outputs,
      );
      assert.equal((plan.sliceVectors * 16) % 256, 0, "aligned for a binding");

      const gradient = planFilterGradient(spec, budget);
      const sums = kernel * gradient.inputBlock * gradient.outputBlock;
      assert.ok(sums <= budget.sums, JSON.stringify(gradient));
      assert.equal(gradient.blocks * sums, kernel ** 2 * inputs * outputs);
    }
  }
});

Deno.test("generated code is the same every time, with constant weights", () => {
  const spec: ConvSpec = {
    kernel: 3,
    inputs: 8,
    outputs: 8,
    stride: 1,
    spread: 1,
    phase: 0,
  };
  const code = convCode(planConv(spec, SOFTWARE));
  assert.equal(code, convCode(planConv({ ...spec }, SOFTWARE)));
  // Weights of 9 taps and 8 inputs behind the 2 vectors of biases: each read once
  const indices = [...code.matchAll(/= weights\[(\d+)\]/g)]
    .map(([, index]) => Number(index)).filter((index) => index >= 2);
  assert.deepEqual(
    indices.toSorted((a, b) => a - b),
    Array.from({ length: 2 * 9 * 8 }, (_, i) => 2 + i),
  );
  assert.equal([...code.matchAll(/weights\[[^\d]/g)].length, 0);
  // 4 pixels of 2 vectors for each of the 72 values
  assert.equal([...code.matchAll(/\+= v/g)].length, 4 * 2 * 72);

  const gradient = filterGradientCode(planFilterGradient(spec, HARDWARE));
  assert.equal(
    gradient,
    filterGradientCode(planFilterGradient({ ...spec }, HARDWARE)),
  );
  // 3 taps, 4 inputs, 2 vectors of outputs: a sum of 4 products each
  assert.equal([...gradient.matchAll(/ \+= v/g)].length, 3 * 4 * 2);
});
