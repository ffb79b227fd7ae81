import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import { conv2d } from "../../../kernels/conv/conv.ts";
import {
  type KnownLayer,
  knownLayers,
} from "../../../kernels/conv/known_layers.ts";
import { maxError, testOnEngines } from "../../engines.ts";
import { normalTensor } from "../../finite_differences.ts";

const CHANNELS = [[3, 8], [8, 8], [8, 1]] as const;
const PADDING = 1;

function variableOf(shape: number[], seed: number): tf.Variable {
  return tf.tidy(() => tf.variable(normalTensor(shape as [], seed)));
}

/** Layers by random weights and their outputs, all from `x` on. */
function layersOf(x: tf.Tensor4D): KnownLayer[] {
  const layers: KnownLayer[] = [];
  for (const [i, [inputs, outputs]] of CHANNELS.entries()) {
    const parameters = {
      filter: variableOf(
        [3, 3, inputs, outputs],
        i,
      ) as tf.Tensor as tf.Tensor4D,
      bias: variableOf([outputs], 10 + i) as tf.Tensor as tf.Tensor1D,
      relu: i < CHANNELS.length - 1,
    };
    const input = layers.at(-1)?.known ?? x;
    const options = { ...parameters, stride: 1, padding: PADDING };
    layers.push({ ...parameters, known: conv2d(input, options) });
  }
  return layers;
}

testOnEngines("known layers have the gradients of convolutions", async () => {
  for (const [height, width] of [[1, 1], [5, 7], [13, 4]] as const) {
    const x = normalTensor(
      [2, height, width, 3],
      20,
    ) as tf.Tensor as tf.Tensor4D;
    const dy = normalTensor([2, height, width, 1], 21);
    const layers = layersOf(x);
    const variables = layers.flatMap(({ filter, bias }) =>
      [filter, bias] as tf.Tensor[] as tf.Variable[]
    );
    const gradientsOf = (output: () => tf.Tensor) =>
      tf.variableGrads(() => tf.sum(tf.mul(output(), dy)), variables);
    const dataOnEngine = () => tf.engine().backend.numDataIds();
    const before = dataOnEngine();
    const found = gradientsOf(() => knownLayers(x, layers, PADDING));
    assert.equal(dataOnEngine(), before + 1 + variables.length);
    const expected = gradientsOf(() =>
      layers.reduce(
        (h, { filter, bias, relu }) =>
          conv2d(h, { filter, bias, relu, stride: 1, padding: PADDING }),
        x,
      )
    );
    assert.ok(
      maxError(await found.value.data(), await expected.value.data()) < 1e-6,
    );
    for (const { name } of variables) {
      const [own, wanted] = [found, expected].map(({ grads }) => grads[name]!);
      assert.deepEqual(own!.shape, wanted!.shape);
      assert.ok(maxError(await own!.data(), await wanted!.data()) < 1e-6, name);
    }
    tf.dispose([x, dy, found, expected]);
    tf.dispose([...variables, ...layers.map(({ known }) => known)]);
  }
});
