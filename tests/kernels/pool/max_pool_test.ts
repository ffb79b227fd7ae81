import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import {
  maxPool,
  maxPoolGradientReference,
  maxPoolReference,
  type PoolShape,
} from "../../../kernels/pool/max_pool.ts";
import { testOnEngines } from "../../engines.ts";
import { normals } from "../../finite_differences.ts";

const SHAPES: PoolShape[] = [
  [1, 2, 2, 1],
  // odd sizes: a last row, a last column, or both in no window
  [2, 3, 2, 4],
  [1, 2, 3, 5],
  [3, 7, 5, 3],
  [2, 13, 13, 36],
  [1, 27, 26, 48],
];

testOnEngines("max pools of any size equal their references", async () => {
  for (const shape of SHAPES) await check(shape);
});

// 65,535 workgroups fill a row of the grid: 2,050 x 2,050 outputs need 65,665
testOnEngines("a max pool fills more than one grid row", async () => {
  await check([1, 4101, 4100, 1]);
});

/** Compares output and gradient on the current engine; both are exact. */
async function check(shape: PoolShape): Promise<void> {
  const { x, dy, yShape, ...expected } = caseOf(shape);
  const [y, dx] = await compute(x, dy, { shape, yShape });
  assertSame(y!, expected.y, `y of [${shape}]`);
  assertSame(dx!, expected.dx, `dx of [${shape}]`);
}

interface PoolCase {
  yShape: number[];
  x: Float32Array;
  dy: Float32Array;
  y: Float32Array;
  dx: Float32Array;
}

const cases = new Map<string, PoolCase>(); // made once for all engines

/** Input and upstream gradient of a shape, and what the references make of it. */
function caseOf(shape: PoolShape): PoolCase {
  const key = shape.join();
  const known = cases.get(key);
  if (known) return known;
  const [batch, height, width, channels] = shape;
  const yShape = [batch, height >> 1, width >> 1, channels];
  const x = normals(tf.util.sizeFromShape(shape), 1);
  const dy = normals(tf.util.sizeFromShape(yShape), 2);
  const made = {
    yShape,
    x,
    dy,
    y: maxPoolReference(x, shape),
    dx: maxPoolGradientReference(x, dy, shape),
  };
  cases.set(key, made);
  return made;
}

// assert.deepEqual takes minutes and gigabytes on the largest.
function assertSame(a: Float32Array, b: Float32Array, what: string): void {
  assert.equal(a.length, b.length, what);
  const at = a.findIndex((value, i) => value !== b[i]);
  assert.equal(at, -1, `${what} at ${at}: ${a[at]}, not ${b[at]}`);
}

/** The output and its gradient. */
async function compute(
  x: Float32Array,
  dy: Float32Array,
  { shape, yShape }: { shape: PoolShape; yShape: number[] },
) {
  const tensors = tf.tidy(() => {
    const input = tf.tensor(x, shape) as tf.Tensor4D;
    const gradient = tf.grad((x) => maxPool(x as tf.Tensor4D));
    return [maxPool(input), gradient(input, tf.tensor(dy, yShape))];
  });
  const values = await Promise.all(
    tensors.map((tensor) => tensor.data<"float32">()),
  );
  tf.dispose(tensors);
  return values;
}

testOnEngines("of equal pixels, the gradient goes to one", async () => {
  const x = Float32Array.of(1, 3, 3, 3, 2, 2, 2, 2); // 2x4, one channel
  const dy = Float32Array.of(5, 7);
  const [y, dx] = await compute(x, dy, {
    shape: [1, 2, 4, 1],
    yShape: [1, 1, 2, 1],
  });
  assert.deepEqual([...y!], [3, 3]);
  assert.equal(dx!.reduce((a, b) => a + b), 12);
});

Deno.test("the max pool's references equal windows by hand", () => {
  // 2x5, one channel: windows {1, 4, 6, 2} and {3, 3, 0, 3}; column 5 in none
  const x = [1, 4, 3, 3, 9, 6, 2, 0, 3, 9];
  const shape: PoolShape = [1, 2, 5, 1];
  assert.deepEqual([...maxPoolReference(x, shape)], [6, 3]);
  assert.deepEqual(
    [...maxPoolGradientReference(x, [0.5, 2], shape)],
    [0, 0, 2, 0, 0, 0.5, 0, 0, 0, 0],
  );
});

Deno.test("a max pool refuses sizes with an empty result", () => {
  const x = { shape: [1, 1, 5, 3] } as unknown as tf.Tensor4D;
  assert.throws(
    () => maxPool(x),
    /^TypeError: Cannot pool 5x1 px: nothing is left/,
  );
});
