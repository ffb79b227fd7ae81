import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import {
  unitRows,
  unitRowsGradientReference,
  unitRowsReference,
} from "../../../kernels/unit_rows/unit_rows.ts";
import { maxError, testOnEngines } from "../../engines.ts";
import {
  assertGradients,
  normals,
  normalTensor,
} from "../../finite_differences.ts";

testOnEngines("unit rows and their gradient equal the references", async () => {
  for (const [rows, channels] of [[1, 1], [3, 7], [67, 5], [5, 131]]) {
    const shape: [number, number] = [rows!, channels!];
    const x = normals(rows! * channels!, 1), dy = normals(x.length, 2);
    if (rows! > 1) x.fill(0, 0, channels); // has no direction
    const results = tf.tidy(() => {
      const input = tf.tensor2d(x.slice(), shape);
      const gradient = tf.grad((x) => unitRows(x as tf.Tensor2D));
      return [unitRows(input), gradient(input, tf.tensor2d(dy, shape))];
    });
    const expected = unitRowsReference(x, rows!);
    assert.ok(maxError(await results[0]!.data(), expected.y) < 1e-6);
    const gradient = unitRowsGradientReference(expected, dy);
    assert.ok(maxError(await results[1]!.data(), gradient) < 1e-5);
    tf.dispose(results);
  }
});

testOnEngines("rows get unit length, and their gradient", async () => {
  const x = normalTensor<tf.Rank.R2>([4, 5], 1);
  const y = tf.tidy(() => unitRows(x));
  const values = await x.array();
  const expected = values.flatMap((row) =>
    row.map((value) => value / Math.hypot(...row))
  );
  assert.ok(maxError(await y.data(), expected) < 1e-6);
  const operation = (rows: tf.Tensor) => unitRows(rows as tf.Tensor2D);
  await assertGradients(operation, [x], { step: 1e-2, tolerance: 2e-3 });
  tf.dispose([x, y]);
});

testOnEngines("rows of zeros stay zero, with no gradient", async () => {
  const x = tf.tensor2d([[0, 0, 0], [3, 0, 4], [1e-20, 0, 0]]);
  const dy = tf.ones([3, 3]);
  const [y, dx] = tf.tidy(() => [
    unitRows(x),
    tf.grad((x) => unitRows(x as tf.Tensor2D))(x, dy),
  ]) as [tf.Tensor, tf.Tensor];
  const expected = [0, 0, 0, 0.6, 0, 0.8, 0, 0, 0];
  assert.ok(maxError(await y.data(), expected) < 1e-6);
  const gradient = await dx.data();
  assert.deepEqual(
    [...gradient.slice(0, 3), ...gradient.slice(6)],
    Array(6).fill(0),
  );
  // (dy - y <y, dy>) / |x| = ([1, 1, 1] - [0.84, 0, 1.12]) / 5
  assert.ok(maxError(gradient.slice(3, 6), [0.032, 0.2, -0.024]) < 1e-6);
  tf.dispose([x, dy, y, dx]);
});
