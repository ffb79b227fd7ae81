import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import { randomKey, RandomStream } from "../../../../kernels/random.ts";
import {
  classify,
  headSpecs,
  hiddenFeatures,
} from "../../../../lib/model/head.ts";
import {
  createParameters,
  disposeParameters,
  initialParameters,
} from "../../../../lib/model/parameters.ts";
import { entriesOf } from "../../../../lib/train/dense/head/array_adamw.ts";
import {
  forward,
  freshHead,
  type HeadArrays,
  headShape,
  readHead,
  writeHead,
} from "../../../../lib/train/dense/head/head_arrays.ts";
import { preset } from "../../../../lib/model/presets.ts";
import { testOnWasm } from "../../../engines.ts";
import { normals, relativeError } from "../../../finite_differences.ts";
import { toyHead } from "../toy_head.ts";

testOnWasm("forward is the head of the model", async () => {
  const head = toyHead(5, 4, 3);
  const inputs = normals(7 * 5, 9);
  const { logits } = forward(head, inputs);
  const shapes: Record<string, number[]> = {
    "g/hidden/weight": [5, 4],
    "g/hidden/bias": [4],
    "g/weight": [4, 3],
    "g/bias": [3],
    "g/project/weight": [5, 5],
    "g/project/bias": [5],
  };
  const specs = Object.entries(shapes)
    .map((
      [name, shape],
    ) => ({ name, shape, kind: "weight", fanIn: 1 } as const));
  const parameters = createParameters(
    specs,
    ({ name, shape }) =>
      name.startsWith("g/project") // changes nothing
        ? Float32Array.from(
          { length: shape.length === 2 ? 25 : 5 },
          (_, i) => shape.length === 2 && i % 6 === 0 ? 1 : 0,
        )
        : Float32Array.from(head[name as keyof HeadArrays]),
  );
  const expected = tf.tidy(() =>
    classify(
      parameters,
      hiddenFeatures(parameters, tf.tensor2d(inputs, [7, 5])),
    )
  );
  assert.ok(relativeError(logits, await expected.data()) < 1e-5);
  expected.dispose();
  disposeParameters(parameters);
});

Deno.test("headShape is that of the arrays", () => {
  assert.deepEqual(headShape(toyHead(5, 4, 3)), {
    components: 5,
    hidden: 4,
    outputs: 3,
  });
});

Deno.test("dropout drops a quarter of inputs and hidden units, and keeps the mean", () => {
  const head = toyHead(8, 4, 1);
  const inputs = new Float32Array(8 * 4000).fill(1);
  const pass = forward(head, inputs, new RandomStream(randomKey(1)));
  const dropped = pass.inputs.filter((x) => x === 0).length / inputs.length;
  assert.ok(Math.abs(dropped - 0.25) < 0.01, `${dropped}`);
  const mean = pass.inputs.reduce((sum, x) => sum + x, 0) / inputs.length;
  assert.ok(Math.abs(mean - 1) < 0.01, `${mean}`);
  const without = forward(head, new Float32Array(8).fill(1)).hidden;
  const first = pass.hidden.filter((_, i) => i % 4 === 0);
  assert.ok(first.filter((x) => x === 0).length > 0.2 * first.length);
  assert.ok(without.some((x) => x > 0));
});

Deno.test("dropout is the same under the same key", () => {
  const logits = (seed: number) =>
    forward(
      toyHead(5, 4, 3),
      normals(50, 9),
      new RandomStream(randomKey(seed)),
    ).logits;
  assert.deepEqual(logits(1), logits(1));
  assert.notDeepEqual(logits(1), logits(2));
});

testOnWasm(
  "a fresh head starts within the bounds of torch's layers, by its seed",
  async () => {
    const { target, referenceClass, network } = preset("colon");
    const settings = {
      network: { ...network, features: "scattering" as const },
    };
    const specs = headSpecs(
      { ...settings, target, referenceClass },
      ["0", "1"],
      178,
    );
    const parameters = initialParameters(specs, {
      initialisation: "he",
      seed: 1,
    });
    const shape = { components: 64, hidden: 32, outputs: 2 };
    const head = freshHead(shape, { seed: 1 });
    const most = (name: keyof HeadArrays) =>
      Math.max(...head[name].map(Math.abs));
    assert.ok(
      most("g/hidden/weight") <= 1 / 8 && most("g/hidden/weight") > 0.12,
    );
    assert.ok(most("g/weight") <= 1 / Math.sqrt(32) && most("g/weight") > 0.15);
    assert.deepEqual(freshHead(shape, { seed: 1 }), head);
    assert.notDeepEqual(freshHead(shape, { seed: 2 }), head);
    const rare = freshHead(shape, { seed: 1, bias: -2 });
    assert.ok(rare["g/bias"].every((value) => value === -2));
    writeHead(parameters, head);
    const written = await readHead(parameters);
    for (const [name, values] of entriesOf(head)) {
      assert.ok(relativeError(written[name], values) < 1e-6);
    }
    disposeParameters(parameters);
  },
);
