import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import {
  ArrayAdamW,
  clipNorm,
} from "../../../../lib/train/dense/head/array_adamw.ts";
import { AdamW } from "../../../../lib/train/optimizer.ts";
import { testOnWasm } from "../../../engines.ts";
import { normals, relativeError } from "../../../finite_differences.ts";

testOnWasm("ArrayAdamW moves as AdamW on the engine does", async () => {
  const start = normals(6, 1);
  const values = { "g/weight": Float64Array.from(start) };
  const variable = tf.tidy(() => tf.variable(tf.tensor1d(start)));
  const array = new ArrayAdamW(values), engine = new AdamW();
  for (let step = 0; step < 4; step++) {
    const gradient = normals(6, 2 + step);
    const settings = { learningRate: 0.01 * (step + 1), weightDecay: 0.1 };
    array.step({ "g/weight": Float64Array.from(gradient) }, settings);
    tf.tidy(() =>
      engine.step(
        new Map([["g/weight", {
          variable,
          gradient: tf.tensor1d(gradient),
          ...settings,
        }]]),
      )
    );
  }
  assert.ok(relativeError(values["g/weight"], await variable.data()) < 1e-5);
  variable.dispose();
  engine.dispose();
});

Deno.test("ArrayAdamW lets weights decay, and leaves biases alone", () => {
  const values = {
    "g/weight": Float64Array.of(2),
    "g/bias": Float64Array.of(2),
  };
  new ArrayAdamW(values).step(
    { "g/weight": Float64Array.of(0), "g/bias": Float64Array.of(0) },
    { learningRate: 0.5, weightDecay: 0.1 },
  );
  assert.equal(values["g/weight"][0], 1.9);
  assert.equal(values["g/bias"][0], 2);
});

Deno.test("clipNorm scales what is too long, and tells the norm before", () => {
  const long = { a: Float64Array.of(3), b: Float64Array.of(4) };
  assert.equal(clipNorm(long, 2.5), 5);
  assert.deepEqual([...long.a, ...long.b], [1.5, 2]);
  const short = { a: Float64Array.of(3) };
  clipNorm(short, 4);
  assert.deepEqual([...short.a], [3]);
});
