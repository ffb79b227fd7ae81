/**
 * Convolutions one after the other whose outputs are known: those of attention, which
 * a training step has computed before it drew. Only their gradients are left, and on
 * wasm these are one operation for all layers.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { conv2d } from "./conv.ts";

export const LAYERS_GRADIENT = "zoomin/ConvLayersGradient";

/** A convolution of stride 1, and its output. */
export interface KnownLayer {
  filter: tf.Tensor4D;
  bias: tf.Tensor1D;
  relu: boolean;
  /** `[N, H, W, O]`; its owner keeps it until the gradients are there. */
  known: tf.Tensor4D;
}

/** What the gradient kernel is told of the layers. */
export type LayersAttributes = { // no interface: tfjs takes it for its attributes
  relus: boolean[];
  padding: number;
};

/**
 * The output of the last layer, with gradients at all filters and biases; on wasm
 * none at `x`, which is kept by its owner like the outputs.
 *
 * @param x `[N, H, W, I]`.
 * @param padding of each layer, px.
 */
export function knownLayers(
  x: tf.Tensor4D,
  layers: readonly KnownLayer[],
  padding: number,
): tf.Tensor4D {
  if (tf.getBackend() !== "wasm") {
    return layers.reduce(
      (h, layer) => conv2d(h, { ...layer, stride: 1, padding }),
      x,
    );
  }
  const attributes: LayersAttributes = {
    relus: layers.map(({ relu }) => relu),
    padding,
  };
  const operation = tf.customGrad(() => ({
    value: layers.at(-1)!.known.clone(),
    gradFunc: (dy: tf.Tensor) =>
      tf.engine().runKernel<tf.Tensor[]>(
        LAYERS_GRADIENT,
        { dy, x, ...namedInputs(layers) },
        attributes as unknown as tf.NamedAttrMap,
      ),
  }));
  const parameters = layers.flatMap(({ filter, bias }) => [filter, bias]);
  return operation(...parameters) as tf.Tensor4D;
}

function namedInputs(layers: readonly KnownLayer[]): tf.NamedTensorMap {
  return Object.fromEntries(
    layers.flatMap(({ filter, known }, layer) => [
      [`filter${layer}`, filter],
      [`y${layer}`, known],
    ]),
  );
}

/** Input, filter and output of a layer among the inputs of the gradient kernel. */
export function layerInputs(
  inputs: Record<string, tf.TensorInfo>,
  layer: number,
): Record<"x" | "filter" | "y", tf.TensorInfo> {
  return {
    x: layer > 0 ? inputs[`y${layer - 1}`]! : inputs.x!,
    filter: inputs[`filter${layer}`]!,
    y: inputs[`y${layer}`]!,
  };
}
