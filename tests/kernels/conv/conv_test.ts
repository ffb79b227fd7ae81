import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import {
  conv2d,
  convGradientReference,
  convReference,
  convShape,
} from "../../../kernels/conv/conv.ts";
import {
  FunctionBuilder,
  hasRelaxedMultiplyAdd,
  instantiate,
} from "../../../kernels/wasm/assembler.ts";
import { normals, relativeError } from "../../finite_differences.ts";
import { testOnEngines } from "../../engines.ts";

/** One convolution: `[N, H, W, I]` -> O channels. */
interface Case {
  x: [number, number, number, number];
  outputs: number;
  kernel: number;
  stride?: number;
  padding?: number;
  relu?: boolean;
}

// Sums of up to 2,400 products in float32.
const TOLERANCE = 2e-5;

const EDGES: Case[] = [
  // one pixel, alone or in its padding
  { x: [1, 1, 1, 1], outputs: 1, kernel: 1 },
  { x: [1, 1, 1, 3], outputs: 8, kernel: 1 },
  { x: [3, 1, 1, 8], outputs: 8, kernel: 3, padding: 1 },
  { x: [1, 1, 1, 3], outputs: 32, kernel: 7, padding: 3, relu: true },
  // padding wider than the kernel
  { x: [2, 3, 4, 3], outputs: 8, kernel: 1, padding: 1 },
  { x: [1, 3, 4, 8], outputs: 4, kernel: 1, padding: 3, relu: true },
  { x: [1, 4, 3, 4], outputs: 8, kernel: 3, padding: 3, stride: 2 },
  { x: [1, 5, 2, 8], outputs: 1, kernel: 1, padding: 2 },
  // the kernel as large as the image; the output one row or column
  { x: [2, 5, 5, 4], outputs: 8, kernel: 5 },
  { x: [1, 3, 9, 4], outputs: 8, kernel: 3 },
  { x: [1, 9, 3, 4], outputs: 8, kernel: 3, relu: true },
];

// 36 and 48 are among the large ones.
const COUNTS = [1, 3, 5, 8, 12, 32, 64];
const CHANNELS: Case[] = COUNTS.flatMap((inputs) =>
  COUNTS.map((outputs): Case => ({
    x: [2, 5, 6, inputs],
    outputs,
    kernel: 3,
    padding: 1,
    relu: (inputs + outputs) % 3 === 0,
  }))
);

const KERNELS: Case[] = [1, 3, 5, 7].flatMap((kernel) =>
  [0, 1, 2, 3].flatMap((padding) =>
    [1, 2].flatMap((stride) =>
      [8, 1].map((outputs): Case => ({
        x: [2, 9, 8, 4],
        outputs,
        kernel,
        padding,
        stride,
        relu: padding % 2 === 0,
      }))
    )
  )
);

// A register block is 3, 5 or 8 pixels of a row, by the number of outputs.
const ROWS: Case[] = [4, 8, 12, 1].flatMap((outputs) =>
  [2, 7, 8, 9, 10, 13, 25].map((width): Case => ({
    x: [1, 3, width, 4],
    outputs,
    kernel: 3,
    padding: 1,
    relu: true,
  }))
);

// Blocks of channels of more than one size, also in the last pixels of a row.
const UNEVEN: Case[] = [
  { x: [2, 5, 6, 8], outputs: 56, kernel: 3, padding: 1, relu: true },
  { x: [1, 3, 7, 4], outputs: 40, kernel: 3, padding: 1 },
  { x: [1, 3, 5, 4], outputs: 28, kernel: 1 },
];

// Layers of the networks; images of more rows than stay in the cache at once.
const LARGE: Case[] = [
  { x: [1, 40, 600, 8], outputs: 8, kernel: 3, padding: 1, relu: true },
  { x: [2, 40, 300, 8], outputs: 1, kernel: 3, padding: 1 },
  { x: [1, 41, 301, 8], outputs: 8, kernel: 3, padding: 1, stride: 2 },
  { x: [2, 27, 27, 3], outputs: 36, kernel: 5, padding: 2, relu: true },
  { x: [2, 13, 13, 36], outputs: 48, kernel: 5, padding: 2, relu: true },
  { x: [2, 14, 13, 48], outputs: 48, kernel: 3, padding: 1, stride: 2 },
  { x: [2, 14, 13, 48], outputs: 48, kernel: 1, stride: 2 },
  // The filters of scattering, and the patches of a dictionary.
  { x: [2, 15, 18, 1], outputs: 8, kernel: 9 },
  { x: [1, 13, 11, 3], outputs: 8, kernel: 8 },
  { x: [1, 14, 13, 3], outputs: 8, kernel: 6, stride: 2 },
];

// 5 x 5 px between many channels goes in tiles of 2 x 2 outputs on wasm: one
// tile, odd sides, rows of tiles in several chunks, the fewest channels, and
// beside them one channel count and one side that do not suit.
const TILES: Case[] = [
  { x: [1, 6, 6, 16], outputs: 16, kernel: 5 },
  { x: [3, 7, 8, 16], outputs: 20, kernel: 5, relu: true },
  { x: [2, 3, 2, 16], outputs: 16, kernel: 5, padding: 2 },
  { x: [2, 9, 4, 20], outputs: 16, kernel: 5, padding: 1, relu: true },
  { x: [1, 5, 6, 16], outputs: 24, kernel: 5, padding: 4 },
  { x: [1, 43, 37, 36], outputs: 48, kernel: 5, padding: 2 },
  { x: [2, 9, 9, 12], outputs: 16, kernel: 5, padding: 2 },
  { x: [1, 5, 9, 16], outputs: 16, kernel: 5 },
];

// A software adapter compiles a shape for seconds: it runs every fifth of a
// sweep, which still covers each count, kernel, padding and stride.
const SWEEP_STEP = 5;

const GROUPS = {
  "at the edges": { cases: EDGES, sweep: false },
  "of all channel counts": { cases: CHANNELS, sweep: true },
  "of all kernels, paddings and strides": {
    cases: KERNELS,
    sweep: true,
  },
  "of rows that leave pixels over": { cases: ROWS, sweep: false },
  "of uneven blocks of channels": { cases: UNEVEN, sweep: false },
  "in tiles": { cases: TILES, sweep: true },
  "of large images": { cases: LARGE, sweep: false },
};

for (const [name, { cases, sweep }] of Object.entries(GROUPS)) {
  testOnEngines(
    `convolutions ${name} equal their references`,
    async ({ backend }) => {
      const step = sweep && backend === "webgpu" ? SWEEP_STEP : 1;
      for (let i = 0; i < cases.length; i += step) await checkCase(cases[i]!);
    },
  );
}

testOnEngines(
  "a known output is taken as it is, with its gradients",
  async () => {
    const shape: [number, number, number, number] = [2, 5, 6, 4];
    const x = tf.tensor4d(normals(240, 1), shape);
    const filter = tf.tensor4d(normals(288, 2), [3, 3, 4, 8]);
    const bias = tf.tensor1d(normals(8, 3));
    const known = tf.ones([2, 5, 6, 8]) as tf.Tensor4D;
    const dy = tf.tensor4d(normals(480, 4), [2, 5, 6, 8]);
    const gradients = (options: { known?: tf.Tensor4D }) =>
      tf.grads((x, filter, bias) =>
        conv2d(x as tf.Tensor4D, {
          filter: filter as tf.Tensor4D,
          bias: bias as tf.Tensor1D,
          stride: 1,
          padding: 1,
          relu: false,
          ...options,
        })
      )([x, filter, bias], dy);
    const options = { filter, bias, stride: 1, padding: 1, relu: false, known };
    const output = conv2d(x, options);
    const own = gradients({}), ofKnown = gradients({ known });
    assert.deepEqual(await output.data(), await known.data());
    for (const [i, gradient] of own.entries()) {
      assert.deepEqual(await ofKnown[i]!.data(), await gradient.data());
    }
    output.dispose();
    assert.equal((await known.data()).length, 480); // freed with its last holder
    tf.dispose([x, filter, bias, known, dy, ...own, ...ofKnown]);
  },
);

async function checkCase(item: Case): Promise<void> {
  const { x, outputs, kernel, stride = 1, padding = 0, relu = false } = item;
  const filterShape: [number, number, number, number] = [
    kernel,
    kernel,
    x[3],
    outputs,
  ];
  const shape = convShape(x, filterShape, { stride, padding });
  const yShape = [x[0], shape.outHeight, shape.outWidth, outputs];
  const values = {
    x: normals(tf.util.sizeFromShape(x), 1),
    filter: normals(tf.util.sizeFromShape(filterShape), 2),
    bias: normals(outputs, 3),
    dy: normals(tf.util.sizeFromShape(yShape), 4),
  };
  const convolve = (x: tf.Tensor, filter: tf.Tensor, bias: tf.Tensor) =>
    conv2d(x as tf.Tensor4D, {
      filter: filter as tf.Tensor4D,
      bias: bias as tf.Tensor1D,
      stride,
      padding,
      relu,
    });
  const actual = tf.tidy(() => {
    const inputs = [
      tf.tensor(values.x, x),
      tf.tensor(values.filter, filterShape),
      tf.tensor(values.bias, [outputs]),
    ] as [tf.Tensor, tf.Tensor, tf.Tensor];
    const [dx, dFilter, dBias] = tf.grads(convolve)(
      inputs,
      tf.tensor(values.dy, yShape),
    );
    const y = convolve(...inputs) as tf.Tensor;
    return { y, x: dx!, filter: dFilter!, bias: dBias! };
  });

  const y = convReference(values.x, values.filter, values.bias, shape);
  if (relu) {
    y.forEach((value, i) => {
      if (value > 0) return;
      y[i] = 0;
      values.dy[i] = 0;
    });
  }
  const expected = {
    y,
    ...convGradientReference(values.x, values.filter, values.dy, shape),
  };
  for (const part of ["y", "x", "filter", "bias"] as const) {
    const error = relativeError(await actual[part].data(), expected[part]);
    assert.ok(
      error < TOLERANCE,
      `${part} of ${JSON.stringify(item)}: ${error}`,
    );
  }
  tf.dispose(Object.values(actual));
}

testOnEngines("a convolution computes only the gradients asked for", () => {
  tf.tidy(() => {
    const x = tf.ones([1, 4, 4, 4]) as tf.Tensor4D;
    const filter = tf.ones([3, 3, 4, 4]) as tf.Tensor4D;
    const bias = tf.zeros([4]) as tf.Tensor1D;
    const options = { filter, bias, stride: 1, padding: 1, relu: true };
    const gradient = tf.grad((f) =>
      conv2d(x, { ...options, filter: f as tf.Tensor4D })
    );
    assert.deepEqual(gradient(filter).shape, filter.shape);
  });
});

Deno.test("the convolution references equal sums by hand", () => {
  // 2x2 image, 3x3 kernel, padding 1: y[0, 0] = 1 w11 + 2 w12 + 3 w21 + 4 w22
  const x = [1, 2, 3, 4], filter = [1, 2, 3, 4, 5, 6, 7, 8, 9];
  const shape = convShape([1, 2, 2, 1], [3, 3, 1, 1], {
    stride: 1,
    padding: 1,
  });
  assert.deepEqual(
    [...convReference(x, filter, [0.5], shape)],
    [77.5, 67.5, 47.5, 37.5],
  );
  // y[0, 0] alone: dx is the filter's lower right quarter, dW the image there
  const gradient = convGradientReference(x, filter, [1, 0, 0, 0], shape);
  assert.deepEqual([...gradient.x], [5, 6, 8, 9]);
  assert.deepEqual([...gradient.filter], [0, 0, 0, 0, 1, 2, 0, 3, 4]);
  assert.deepEqual([...gradient.bias], [1]);
});

Deno.test("a convolution refuses shapes that do not fit", () => {
  const options = { stride: 1, padding: 0 };
  assert.throws(
    () => convShape([1, 5, 5, 3], [3, 3, 4, 8], options),
    /^TypeError: Cannot convolve \[1,5,5,3\] with a filter of shape \[3,3,4,8\]/,
  );
  assert.throws(
    () => convShape([1, 4, 5, 3], [5, 5, 3, 8], options),
    /^TypeError: Cannot convolve 5x4 px with a 5-px kernel: nothing is left/,
  );
});

// Values at which LEB128 takes another byte, and the ends of the range.
const SIGNED_EDGES = [0, 1, 63, 64, 127, 128, 8191, 8192, 2 ** 20, 2 ** 31 - 1]
  .flatMap((value) => [value, -value, -value - 1]);

Deno.test("generated functions hold any 32-bit constant", () => {
  const memory = new WebAssembly.Memory({ initial: 1 });
  const floats = new Float32Array(memory.buffer);
  for (const value of SIGNED_EDGES) {
    const f = new FunctionBuilder("copy", 2);
    const copied = f.local("f32");
    f.advanceBy(0, value).loadScalar(0).set(copied).storeScalar(1, copied);
    floats[4] = 1.5;
    floats[8] = 0;
    instantiate([f], memory).copy!((16 - value) | 0, 32);
    assert.equal(floats[8], 1.5, `${value}`);
  }
});

Deno.test("generated functions reach any offset", () => {
  // 2^28 takes five bytes: a little more than 256 MiB, touched at few places
  const memory = new WebAssembly.Memory({ initial: 4097 });
  const floats = new Float32Array(memory.buffer);
  for (const offset of [0, 124, 128, 16_380, 16_384, 2 ** 21, 2 ** 28]) {
    const f = new FunctionBuilder("copy", 2);
    const one = f.local("v128"), four = f.local("v128");
    f.load(0, offset).set(four).store(1, four, 64);
    f.loadSplat(0, offset + 4).set(one).store(1, one, 96);
    floats.set([1, 2, 3, 4], (8 + offset) / 4);
    instantiate([f], memory).copy!(8, 1024);
    assert.deepEqual([...floats.subarray(272, 276)], [1, 2, 3, 4], `${offset}`);
    assert.deepEqual([...floats.subarray(280, 284)], [2, 2, 2, 2], `${offset}`);
  }
  const beyond = new FunctionBuilder("beyond", 1);
  const value = beyond.local("f32");
  beyond.loadScalar(0, 2 ** 32 - 1).set(value);
  assert.throws(
    () => instantiate([beyond], memory).beyond!(0),
    WebAssembly.RuntimeError,
  );
});

Deno.test("generated functions have as many locals as they need", () => {
  const memory = new WebAssembly.Memory({ initial: 1 });
  const floats = new Float32Array(memory.buffer);
  const f = new FunctionBuilder("sum of lanes", 3); // a, out, count
  const locals = Array.from({ length: 300 }, () => f.local("v128"));
  const total = f.local("f32"), zero = f.local("v128"), at = f.local("i32");
  f.constant(0).set(at);
  f.repeat(2, () => {
    f.advance(0, 3 + locals.length + 2); // by `at`
    f.load(0).set(locals.at(-1)!);
    f.maximum(locals.at(-1)!, zero).set(locals[200]!);
    f.advanceBy(at, 16);
  });
  f.loadScalar(1).addLanes(locals[200]!).set(total).storeScalar(1, total);
  floats.set([9, 9, 9, 9, 1, -2, 3, 4, 10]);
  instantiate([f], memory)["sum of lanes"]!(0, 32, 2);
  assert.equal(floats[8], 18); // 10 + 1 + 0 + 3 + 4
});

Deno.test("both multiply-adds of generated functions agree", () => {
  for (const relaxed of [false, ...(hasRelaxedMultiplyAdd() ? [true] : [])]) {
    const memory = new WebAssembly.Memory({ initial: 1 });
    const floats = new Float32Array(memory.buffer);
    const f = new FunctionBuilder("fma", 1);
    const [a, b, c] = [0, 16, 32].map((offset) => {
      const value = f.local("v128");
      f.load(0, offset).set(value);
      return value;
    }) as [number, number, number];
    f.multiplyAdd(a, b, c, relaxed).set(a).store(0, a, 48);
    floats.set([1, 2, 3, 4, 5, 6, 7, 8, 0.5, 0, -1, 2]);
    instantiate([f], memory).fma!(0);
    assert.deepEqual([...floats.subarray(12, 16)], [5.5, 12, 20, 34]);
  }
});
