import { parameterSpecs } from "./specs.ts";
import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import {
  createParameters,
  disposeParameters,
  initialParameters,
  isTrained,
} from "../../lib/model/parameters.ts";
import { testOnEngines } from "../engines.ts";

async function valuesOf(parameters: ReadonlyMap<string, tf.Variable>) {
  const values = new Map<string, number[]>();
  for (const [name, variable] of parameters) {
    values.set(name, [...await variable.data()]);
  }
  return values;
}

testOnEngines("parameters start by their seed alone", async () => {
  const specs = parameterSpecs("resnet", 2);
  const start = async (seed: number, initialisation: "he" | "pytorch") => {
    const parameters = initialParameters(specs, { initialisation, seed });
    const values = await valuesOf(parameters);
    disposeParameters(parameters);
    return values;
  };
  const first = await start(1, "he");
  assert.deepEqual(await start(1, "he"), first);
  const other = await start(2, "he");
  for (const { name, kind } of specs) {
    if (kind === "weight") {
      assert.notDeepEqual(other.get(name), first.get(name));
    }
  }
  // Each parameter has its own stream: a and b do not start as one.
  assert.notDeepEqual(first.get("a/conv1/weight"), first.get("b/conv1/weight"));
});

testOnEngines("he: normal with variance 2 / fanIn, biases 0", async () => {
  const specs = parameterSpecs("lenet", 2);
  const parameters = initialParameters(specs, {
    initialisation: "he",
    seed: 3,
  });
  const weights = [...await parameters.get("f/conv2/weight")!.data()]; // 43,200
  const mean = weights.reduce((a, b) => a + b, 0) / weights.length;
  const variance = weights.reduce((a, b) => a + b * b, 0) / weights.length;
  const expected = 2 / (5 * 5 * 36);
  // 4 standard errors of a normal sample: sqrt(1 / n) and sqrt(2 / n)
  assert.ok(Math.abs(mean) < 4 * Math.sqrt(expected / weights.length));
  assert.ok(
    Math.abs(variance / expected - 1) < 4 * Math.sqrt(2 / weights.length),
  );
  for (const { name, kind } of specs) {
    if (kind !== "bias") continue;
    assert.ok((await parameters.get(name)!.data()).every((v) => v === 0), name);
  }
  disposeParameters(parameters);
});

testOnEngines(
  "pytorch: uniform within 1 / sqrt(fanIn), biases too",
  async () => {
    const specs = parameterSpecs("lenet", 2);
    const parameters = initialParameters(specs, {
      initialisation: "pytorch",
      seed: 3,
    });
    for (const { name, fanIn } of specs) {
      const values = [...await parameters.get(name)!.data()];
      const bound = 1 / Math.sqrt(fanIn);
      assert.ok(values.every((value) => Math.abs(value) <= bound), name);
      if (values.length > 1000) {
        const variance = values.reduce((a, b) => a + b * b, 0) / values.length;
        assert.ok(Math.abs(variance / (bound ** 2 / 3) - 1) < 0.1, name);
      }
    }
    const bias = await parameters.get("g/bias")!.data();
    assert.ok(bias.some((value) => value !== 0));
    disposeParameters(parameters);
  },
);

testOnEngines("norms start as the identity", async () => {
  const specs = parameterSpecs("resnet", 2);
  const parameters = initialParameters(specs, {
    initialisation: "he",
    seed: 1,
  });
  const values = await valuesOf(parameters);
  for (const { name, kind } of specs) {
    if (kind === "scale" || kind === "movingVariance") {
      assert.ok(values.get(name)!.every((value) => value === 1), name);
    } else if (kind === "shift" || kind === "movingMean") {
      assert.ok(values.get(name)!.every((value) => value === 0), name);
    }
  }
  disposeParameters(parameters);
});

testOnEngines("parameters come in the order of their specs", async () => {
  const specs = parameterSpecs("lenet", 2);
  const parameters = createParameters(
    specs,
    ({ shape }, index) =>
      new Float32Array(tf.util.sizeFromShape(shape)).fill(index),
  );
  assert.deepEqual([...parameters.keys()], specs.map(({ name }) => name));
  for (const [index, { name, shape }] of specs.entries()) {
    const variable = parameters.get(name)!;
    assert.deepEqual(variable.shape, shape);
    assert.equal((await variable.data())[0], index);
  }
  disposeParameters(parameters);
});

testOnEngines("uniform attention is zero and is not trained", async () => {
  const specs = parameterSpecs("lenet", 2, { attention: "uniform" });
  const parameters = initialParameters(specs, {
    initialisation: "he",
    seed: 1,
  });
  for (const spec of specs) {
    const isAttention = /^[ab]\//.test(spec.name);
    const values = await parameters.get(spec.name)!.data();
    assert.equal(isTrained(spec), !isAttention, spec.name);
    if (isAttention) assert.ok(values.every((value) => value === 0), spec.name);
  }
  disposeParameters(parameters);
});
