import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import { AdamW, type ParameterStep } from "../../lib/train/optimizer.ts";
import { maxError, testOnEngines } from "../engines.ts";
import { normals } from "../finite_differences.ts";

/** AdamW as its paper writes it (algorithm 2), in float64. */
function reference(
  start: ArrayLike<number>,
  gradients: ArrayLike<number>[],
  { rate, decay }: { rate: number; decay: number },
): number[] {
  return Array.from(start, (value, i) => {
    let theta = value, m = 0, v = 0;
    gradients.forEach((gradient, step) => {
      const g = gradient[i]!, t = step + 1;
      m = 0.9 * m + 0.1 * g;
      v = 0.999 * v + 0.001 * g * g;
      const corrected = Math.sqrt(v / (1 - 0.999 ** t)) + 1e-8;
      theta -= rate * (m / (1 - 0.9 ** t) / corrected + decay * theta);
    });
    return theta;
  });
}

/** One parameter's part of a step; the gradient is freed by `take`. */
function take(
  optimizer: AdamW,
  parts: Record<string, { variable: tf.Variable; gradient: ArrayLike<number> }>,
  { rate, decay }: { rate: number; decay: number },
): void {
  const steps = new Map<string, ParameterStep>();
  for (const [name, { variable, gradient }] of Object.entries(parts)) {
    steps.set(name, {
      variable,
      gradient: tf.tensor(Array.from(gradient), variable.shape),
      learningRate: rate,
      weightDecay: decay,
    });
  }
  optimizer.step(steps);
  for (const { gradient } of steps.values()) gradient.dispose();
}

function variableOf(values: ArrayLike<number>, shape = [values.length]) {
  const start = tf.tensor(Array.from(values), shape);
  const variable = tf.variable(start);
  start.dispose();
  return variable;
}

for (const decay of [0, 0.1]) {
  testOnEngines(`AdamW equals plain loops, decay ${decay}`, async () => {
    const start = normals(12, 1);
    const gradients = Array.from(
      { length: 20 },
      (_, step) => normals(12, 10 + step, 10 ** (step % 5 - 3)),
    );
    const options = { rate: 0.01, decay };
    const optimizer = new AdamW();
    const variable = variableOf(start, [3, 4]);
    for (const gradient of gradients) {
      take(optimizer, { w: { variable, gradient } }, options);
    }
    const expected = reference(start, gradients, options);
    assert.ok(maxError(await variable.data(), expected) < 1e-5);
    optimizer.dispose();
    variable.dispose();
  });
}

testOnEngines("AdamW by hand: the first steps", async () => {
  // Step 1: m / v^(1/2) is the gradient's sign, whatever its size.
  // Step 2, gradient -g: m = 0.9 * 0.1 g - 0.1 g = -0.01 g, corrected by
  // 1 - 0.81: -0.0526316 g; v is g^2, so it moves back by 0.0526316 rate.
  const optimizer = new AdamW();
  const variable = variableOf([1, 1, 1]);
  const options = { rate: 0.1, decay: 0 };
  take(optimizer, { w: { variable, gradient: [1e-3, -50, 0] } }, options);
  assert.ok(maxError(await variable.data(), [0.9, 1.1, 1]) < 1e-5);
  take(optimizer, { w: { variable, gradient: [-1e-3, 50, 0] } }, options);
  const expected = [0.9 + 0.00526316, 1.1 - 0.00526316, 1];
  assert.ok(maxError(await variable.data(), expected) < 1e-5);
  optimizer.dispose();
  variable.dispose();
});

testOnEngines("a parameter without a gradient does not move", async () => {
  const optimizer = new AdamW();
  const [w, frozen] = [variableOf([1, 2]), variableOf([3, 4])];
  const options = { rate: 0.1, decay: 0.5 };
  take(optimizer, {
    w: { variable: w, gradient: [1, 1] },
    frozen: { variable: frozen, gradient: [1, 1] },
  }, options);
  const before = await frozen.data();
  take(optimizer, { w: { variable: w, gradient: [1, 1] } }, options);
  assert.deepEqual(await frozen.data(), before);
  // When it takes part again, it is its own second step.
  take(optimizer, { frozen: { variable: frozen, gradient: [1, -1] } }, options);
  const expected = reference([3, 4], [[1, 1], [1, -1]], options);
  assert.ok(maxError(await frozen.data(), expected) < 1e-5);
  optimizer.dispose();
  tf.dispose([w, frozen]);
});

testOnEngines("an optimizer continues from its saved state", async () => {
  const gradients = Array.from(
    { length: 6 },
    (_, step) => normals(3, step + 1),
  );
  const options = { rate: 0.05, decay: 0.01 };
  const whole = new AdamW(), first = new AdamW(), second = new AdamW();
  const [a, b] = [variableOf([1, 2, 3]), variableOf([1, 2, 3])];
  const other = variableOf([0]);
  gradients.forEach((gradient, step) => {
    take(whole, { w: { variable: a, gradient } }, options);
    if (step < 4) take(first, { w: { variable: b, gradient } }, options);
  });
  const state = await first.save();
  assert.deepEqual(state.steps, { w: 4 });
  assert.deepEqual([...state.moments.keys()], ["w/first", "w/second"]);
  take(
    second,
    { w: { variable: other, gradient: [1] } },
    options,
  );
  second.restore(state); // forgets what it had
  for (const gradient of gradients.slice(4)) {
    take(second, { w: { variable: b, gradient } }, options);
  }
  assert.deepEqual(await b.data(), await a.data());
  for (const optimizer of [whole, first, second]) optimizer.dispose();
  tf.dispose([a, b, other]);
});

testOnEngines(
  "parameters keep their moments, whoever steps with them",
  async () => {
    const start = [normals(5, 1), normals(3, 2), normals(7, 3)];
    const groups = [[0, 1, 2], [0, 1, 2], [2], [0, 2], [1], [1], [2, 1, 0]];
    const options = { rate: 0.02, decay: 0.05 };
    const optimizer = new AdamW();
    const variables = start.map((values) => variableOf(values));
    const seen: Float32Array[][] = start.map(() => []);
    for (const [step, group] of groups.entries()) {
      const parts = group.map((i) => {
        const gradient = normals(start[i]!.length, 10 + 10 * step + i);
        seen[i]!.push(gradient);
        return [`w${i}`, { variable: variables[i]!, gradient }] as const;
      });
      take(optimizer, Object.fromEntries(parts), options);
    }
    for (const [i, variable] of variables.entries()) {
      const expected = reference(start[i]!, seen[i]!, options);
      assert.ok(maxError(await variable.data(), expected) < 1e-5, `w${i}`);
    }
    const { steps, moments } = await optimizer.save();
    assert.deepEqual(steps, { w0: 4, w1: 5, w2: 5 });
    assert.equal(moments.get("w1/second")!.length, 3);
    optimizer.dispose();
    tf.dispose(variables);
  },
);
