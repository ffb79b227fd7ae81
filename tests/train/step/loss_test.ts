import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import { attentionSoftmax } from "../../../kernels/softmax/softmax.ts";
import { negativeEntropy } from "../../../lib/sampling/entropy.ts";
import { crossEntropy } from "../../../lib/model/targets/classes.ts";
import { maxError, testOnEngines } from "../../engines.ts";
import { assertGradients, normalTensor } from "../../finite_differences.ts";

/** The number in a scalar, which is freed. */
async function numberOf(scalar: tf.Tensor): Promise<number> {
  const [value] = await scalar.data();
  scalar.dispose();
  return value!;
}

const TARGETS = [2, 0, 1, 2], WEIGHTS = [1, 0.5, 2, 0];

testOnEngines(
  "cross-entropy is its definition, with its gradient",
  async () => {
    const logits = normalTensor<tf.Rank.R2>([4, 3], 1);
    const loss = (logits: tf.Tensor) =>
      crossEntropy(logits as tf.Tensor2D, {
        targets: TARGETS,
        weights: WEIGHTS,
      });
    const rows = await logits.array();
    const expected = rows.reduce((sum, row, i) => {
      const total = row.reduce((sum, logit) => sum + Math.exp(logit), 0);
      return sum - WEIGHTS[i]! * Math.log(Math.exp(row[TARGETS[i]!]!) / total);
    }, 0);
    const actual = await numberOf(tf.tidy(() => loss(logits)));
    assert.ok(Math.abs(actual - expected) < 1e-5);
    await assertGradients(loss, [logits], { step: 0.05, tolerance: 2e-3 });
    logits.dispose();
  },
);

testOnEngines("cross-entropy of hopeless logits is finite", async () => {
  const logits = tf.tensor2d([[200, -200], [-200, 200]]);
  const options = { targets: [1, 1], weights: [1, 1] };
  const [value, gradient] = tf.tidy(() => [
    crossEntropy(logits, options),
    tf.grad((x) => crossEntropy(x as tf.Tensor2D, options))(logits),
  ]) as [tf.Tensor, tf.Tensor];
  assert.equal(await numberOf(value), 400);
  assert.ok(maxError(await gradient.data(), [1, -1, 0, 0]) < 1e-6);
  tf.dispose([logits, gradient]);
});

testOnEngines(
  "the regulariser is sum p log(p + 1e-6), with its gradient",
  async () => {
    const p = [[0.5, 0.25, 0.125, 0.125], [0.97, 0.01, 0.02, 0]];
    const attention = tf.tensor2d(p);
    const weights = [0.5, 2];
    const expected = p.flatMap((row, i) =>
      row.map((value) => weights[i]! * value * Math.log(value + 1e-6))
    ).reduce((a, b) => a + b);
    const loss = (p: tf.Tensor) => negativeEntropy(p as tf.Tensor2D, weights);
    const actual = await numberOf(tf.tidy(() => loss(attention)));
    assert.ok(Math.abs(actual - expected) < 1e-5);
    attention.dispose();
    // away from 0, where the slope is steep
    const broad = tf.tensor2d([[0.4, 0.3, 0.2, 0.1], [0.25, 0.3, 0.25, 0.2]]);
    await assertGradients(loss, [broad], { step: 5e-3, tolerance: 2e-3 });
    broad.dispose();
  },
);

testOnEngines("the regulariser of a uniform map is -lambda log K", async () => {
  const LAMBDA = 0.01;
  for (const locations of [1, 10, 2500]) {
    const uniform = tf.fill([1, locations], 1 / locations) as tf.Tensor2D;
    const value = await numberOf(
      tf.tidy(() => negativeEntropy(uniform, [LAMBDA])),
    );
    const expected = -LAMBDA * Math.log(locations);
    // epsilon beside p = 1/2500 is 0.25 %
    assert.ok(Math.abs(value - expected) < LAMBDA * 3e-3, `${locations}`);
    uniform.dispose();
  }
});

testOnEngines("the regulariser's gradient raises entropy", async () => {
  const logits = normalTensor<tf.Rank.R2>([2, 50], 3);
  const entropies = async (values: tf.Tensor2D) => {
    const p = tf.tidy(() => attentionSoftmax(values));
    const rows = await p.array();
    p.dispose();
    return rows.map((row) => row.reduce((h, p) => h - p * Math.log(p), 0));
  };
  const gradient = tf.tidy(() =>
    tf.grad((x) => negativeEntropy(attentionSoftmax(x as tf.Tensor2D), [1, 1]))(
      logits,
    )
  );
  const moved = tf.tidy(() => tf.sub(logits, gradient) as tf.Tensor2D);
  const before = await entropies(logits), after = await entropies(moved);
  before.forEach((entropy, row) => assert.ok(after[row]! > entropy + 1e-3));
  tf.dispose([logits, gradient, moved]);
});

testOnEngines("no term depends on the order of the batch", async () => {
  const logits = normalTensor<tf.Rank.R2>([4, 3], 4);
  const attention = tf.tidy(() => tf.softmax(logits));
  const order = [2, 0, 3, 1];
  const of = <T>(values: T[]) => order.map((i) => values[i]!);
  const straight = tf.tidy(() => [
    crossEntropy(logits, { targets: TARGETS, weights: WEIGHTS }),
    negativeEntropy(attention, WEIGHTS),
  ]);
  const turned = tf.tidy(() => [
    crossEntropy(tf.gather(logits, order), {
      targets: of(TARGETS),
      weights: of(WEIGHTS),
    }),
    negativeEntropy(tf.gather(attention, order), of(WEIGHTS)),
  ]);
  for (const [i, term] of straight.entries()) {
    const difference = await numberOf(term) - await numberOf(turned[i]!);
    assert.ok(Math.abs(difference) < 1e-6);
  }
  tf.dispose([logits, attention]);
});
