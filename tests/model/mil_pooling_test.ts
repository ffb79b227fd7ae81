import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import { instancePooling } from "../../lib/model/mil_pooling.ts";
import { testOnEngines } from "../engines.ts";
import type { Parameters } from "../../lib/model/parameters.ts";
import {
  assertGradients,
  normalTensor,
  relativeError,
} from "../finite_differences.ts";

// Two images: one of two tiles with 2 and 1 sub-tiles, one of a tile with 3.
const DRAWS = {
  rowOf: Int32Array.of(0, 0, 1),
  drawn: Int32Array.of(2, 1, 3),
};
const CHANNELS = 4, HIDDEN = 128;

function inputs() {
  return [
    normalTensor<tf.Rank.R2>([6, CHANNELS], 1),
    normalTensor<tf.Rank.R2>([CHANNELS, HIDDEN], 2),
    normalTensor<tf.Rank.R1>([HIDDEN], 3),
    normalTensor<tf.Rank.R2>([HIDDEN, 1], 4),
  ];
}

function pooled([features, hidden, bias, attention]: tf.Tensor[]) {
  const parameters = new Map(Object.entries({
    "g/hidden/weight": hidden,
    "g/hidden/bias": bias,
    "g/attention/weight": attention,
  })) as unknown as Parameters;
  return instancePooling(parameters, features as tf.Tensor2D, DRAWS);
}

/** The same as plain loops. */
async function pooledReference(tensors: tf.Tensor[]) {
  const [f, v, b, w] = await Promise.all(
    tensors.map((tensor) => tensor.data()),
  );
  const logits = Array.from({ length: 6 }, (_, k) => {
    let logit = 0;
    for (let h = 0; h < HIDDEN; h++) {
      let sum = b![h]!;
      for (let c = 0; c < CHANNELS; c++) {
        sum += f![k * CHANNELS + c]! * v![c * HIDDEN + h]!;
      }
      logit += w![h]! * Math.tanh(sum);
    }
    return logit;
  });
  const weights = [logits.slice(0, 3), logits.slice(3)].flatMap((row) => {
    const powers = row.map(Math.exp);
    const sum = powers.reduce((a, b) => a + b);
    return powers.map((power) => power / sum);
  });
  const representation = [0, 3].flatMap((first) =>
    Array.from({ length: CHANNELS }, (_, c) => {
      let sum = 0;
      for (let k = first; k < first + 3; k++) {
        sum += weights[k]! * f![k * CHANNELS + c]!;
      }
      return sum;
    })
  );
  return { weights, representation };
}

testOnEngines("attention over instances is that of plain loops", async () => {
  const tensors = inputs();
  const expected = await pooledReference(tensors);
  const { representation, weights } = tf.tidy(() => pooled(tensors));
  const error = relativeError;
  assert.ok(error(await weights.data(), expected.weights) < 1e-4);
  assert.ok(
    error(await representation.data(), expected.representation) < 1e-4,
  );
  tf.dispose([representation, weights, ...tensors]);
});

testOnEngines("attention over instances has the right gradients", async () => {
  const tensors = inputs();
  await assertGradients(
    (...changed) => pooled(changed).representation,
    tensors,
    { step: 0.02, tolerance: 5e-3, wanted: [0, 3] },
  );
  tf.dispose(tensors);
});
