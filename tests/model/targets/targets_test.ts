import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import { preset } from "../../../lib/model/presets.ts";
import type { TargetFit } from "../../../lib/model/targets/fit.ts";
import type { Target } from "../../../lib/model/targets/target.ts";
import {
  fittedTo,
  givenLoss,
  targetOf,
} from "../../../lib/model/targets/targets.ts";
import { type Goal, type TargetName, TARGETS } from "../../../lib/target.ts";
import { testOnEngines } from "../../engines.ts";
import { normals, relativeError } from "../../finite_differences.ts";
import { GOLDEN } from "../../targets_golden.ts";

const CLASSES: Record<TargetName, string[]> = {
  classes: ["none", "a", "b"],
  labels: ["a", "b", "c"],
  value: ["value"],
  ordinal: ["0", "1", "2", "3"],
  survival: ["risk"],
};

const GOALS: Record<TargetName, Goal[]> = {
  classes: [[1], [0], [2], [1]],
  labels: [[1, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]],
  value: [[3], [-1], [0.5], [12]],
  ordinal: [[0], [3], [1], [2]],
  survival: [[3, 1], [5, 0], [1, 1], [3, 1]],
};

const WEIGHTS = [0.5, 0.25, 1, 0.3];

function target(name: TargetName, fitted?: TargetFit): Target {
  const { network } = preset("needle");
  return targetOf({
    config: {
      target: name,
      referenceClass: name === "classes" ? "none" : null,
      network: { ...network, head: "evidence" },
    },
    classes: CLASSES[name],
    fitted: fitted ?? fittedTo(name, GOALS[name]),
  });
}

/** Rows of logits that follow from `seed`. */
function rowsOf({ logits }: Target, seed = 3): Float64Array[] {
  return GOALS.classes.map((_, i) =>
    Float64Array.from(normals(logits.length, seed + i))
  );
}

for (const name of TARGETS) {
  Deno.test(`losses of ${name} have the gradient of their differences`, () => {
    const own = target(name), rows = rowsOf(own);
    const wanted = { goals: GOALS[name], weights: WEIGHTS, smoothing: 0.05 };
    const { gradients } = own.losses(rows, wanted);
    const lossOf = (rows: Float64Array[]) =>
      own.losses(rows, wanted).losses.reduce((sum, loss) => sum + loss, 0);
    const expected = rows.flatMap((row, i) =>
      Array.from(row, (_, k) => {
        const at = (by: number) =>
          lossOf(rows.map((one, j) =>
            i === j ? one.map((x, l) => x + (k === l ? by : 0)) : one
          ));
        return (at(1e-5) - at(-1e-5)) / 2e-5;
      })
    );
    const found = gradients.flatMap((row) => [...row]);
    assert.ok(relativeError(found, expected) < 1e-6);
  });

  testOnEngines(`${name} on the engine is ${name} in main memory`, async () => {
    const own = target(name), rows = rowsOf(own);
    const wanted = { goals: GOALS[name], weights: WEIGHTS, smoothing: 0.05 };
    const { losses, gradients } = own.losses(rows, wanted);
    const logits = tf.tensor2d(rows.map((row) => Array.from(row)));
    const loss = (x: tf.Tensor) =>
      own.loss
        ? own.loss(x as tf.Tensor2D, wanted)
        : givenLoss(x as tf.Tensor2D, { losses, gradients });
    const value = tf.tidy(() => loss(logits));
    const gradient = tf.tidy(() => tf.grad(loss)(logits));
    const activated = tf.tidy(() => own.activated(logits, null));
    const sum = losses.reduce((total, one) => total + one, 0);
    assert.ok(Math.abs((await value.data())[0]! - sum) < 1e-4 * (1 + sum));
    const flat = (all: readonly ArrayLike<number>[]) =>
      all.flatMap((row) => Array.from(row));
    assert.ok(
      relativeError(await gradient.data(), flat(gradients)) < 1e-5,
    );
    assert.ok(
      relativeError(
        await activated.data(),
        flat(rows.map((row) => own.activatedRow(row))),
      ) < 1e-5,
    );
    tf.dispose([logits, value, gradient, activated]);
  });
}

Deno.test("what an image shows, and what it is known not to", () => {
  assert.deepEqual(GOALS.classes.map((goal) => target("classes").shown(goal)), [
    [0],
    [],
    [1],
    [0],
  ]);
  assert.deepEqual(GOALS.labels.map((goal) => target("labels").shown(goal)), [
    [0, 2],
    [],
    [0, 1, 2],
    [1],
  ]);
  assert.deepEqual(GOALS.ordinal.map((goal) => target("ordinal").shown(goal)), [
    [],
    [0, 1, 2],
    [0],
    [0, 1],
  ]);
  for (const name of ["value", "survival"] as const) {
    assert.deepEqual(target(name).shown(GOALS[name][0]!), [0]);
  }
});

Deno.test("several labels are those above their thresholds", () => {
  const own = target("labels", { thresholds: [0.5, 0.2, 0.9] });
  assert.deepEqual(own.decide([0.6, 0.3, 0.8]), {
    label: "a;b",
    probabilities: [0.6, 0.3, 0.8],
    labels: ["a", "b"],
  });
  assert.equal(own.decide([0.5, 0.2, 0.9]).label, "");
  assert.equal(own.right([1, -1, 2], [1, 1, 1]), 2 / 3);
});

Deno.test("the loss of labels is scikit-learn's log loss", () => {
  const { true: goals, probabilities, logLoss } = GOLDEN.labels;
  const rows = probabilities.map((row) =>
    row.map((p) => Math.log(p / (1 - p)))
  );
  const { losses } = target("labels").losses(rows, {
    goals,
    weights: goals.map(() => 1 / goals.length),
  });
  const found = losses.reduce((sum, loss) => sum + loss, 0);
  const expected = logLoss.reduce((sum, loss) => sum + loss, 0) / 3;
  assert.ok(Math.abs(found - expected) < 1e-12);
});

Deno.test("a value is in the unit of the labels", () => {
  const fitted = fittedTo("value", [[1], [3]])!;
  assert.deepEqual(fitted.scale, { mean: 2, deviation: 1 });
  assert.deepEqual(fittedTo("value", [[4], [4]])!.scale, {
    mean: 4,
    deviation: 1,
  });
  const own = target("value", { scale: { mean: 10, deviation: 4 } });
  const activated = own.activatedRow([0.25]);
  assert.deepEqual(own.decide(activated), {
    label: "11",
    probabilities: [],
    value: 11,
  });
  assert.equal(own.decide([1 / 3]).label, "0.333333");
});

Deno.test("a grade is the highest that is reached, with all below it", () => {
  const own = target("ordinal");
  const { label, probabilities } = own.decide([0.9, 0.6, 0.2]);
  assert.equal(label, "2");
  [0.1, 0.3, 0.4, 0.2].forEach((p, i) =>
    assert.ok(Math.abs(probabilities[i]! - p) < 1e-12)
  );
  // A grade is not skipped: its probability is at most that of the one below.
  assert.equal(own.decide([0.4, 0.9, 0.9]).label, "0");
  assert.equal(own.right([2, 1, -1], [2]), 1);
  assert.equal(own.right([-2, 1, 1], [0]), 1);
  assert.equal(own.right([2, 1, 1], [2]), 0);
});

Deno.test("a grade raises the steps up to it, and lowers those above", () => {
  const { gradients } = target("ordinal").losses([[0, 0, 0]], {
    goals: [[2]],
    weights: [3],
  });
  assert.deepEqual([...gradients[0]!], [-0.5, -0.5, 0.5]);
});

Deno.test("a risk is itself", () => {
  const own = target("survival");
  assert.deepEqual(own.decide([1.25]), {
    label: "1.25",
    probabilities: [],
    risk: 1.25,
  });
  assert.equal(own.loss, null);
});
