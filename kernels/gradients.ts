/**
 * Gradients of the tfjs kernels that a Zoom-In network is made of. tfjs ships
 * its own in a bundle that pulls in every backend; we need only these few.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";

/** Registers the gradients; they serve every engine. */
export function registerGradients(): void {
  shareSavedTensors();
  registerArithmetic();
  registerShapes();
  registerActivations();
}

/**
 * Saves a tensor for a gradient as one more tensor of its data. tfjs clones it by
 * an operation that it records, too, for gradients of gradients, which we take
 * none of: a third of all operations of a training step.
 */
function shareSavedTensors(): void {
  const engine = tf.engine();
  const internals = engine as unknown as { // private for TypeScript
    clone(tensor: tf.Tensor): tf.Tensor;
  };
  internals.clone = ({ dataId, shape, dtype }) => {
    engine.backend.incRef(dataId);
    return engine.makeTensorFromTensorInfo({ dataId, shape, dtype });
  };
}

function registerArithmetic(): void {
  tf.registerGradient({
    kernelName: "Add",
    inputsToSave: ["a", "b"],
    gradFunc: (dy, [a, b]) => ({
      a: () => sumTo(dy as tf.Tensor, a!.shape),
      b: () => sumTo(dy as tf.Tensor, b!.shape),
    }),
  });
  tf.registerGradient({
    kernelName: "Multiply",
    inputsToSave: ["a", "b"],
    gradFunc: (dy, [a, b]) => ({
      a: () => sumTo(tf.mul(dy as tf.Tensor, b!), a!.shape),
      b: () => sumTo(tf.mul(dy as tf.Tensor, a!), b!.shape),
    }),
  });
  tf.registerGradient({
    kernelName: "BatchMatMul",
    inputsToSave: ["a", "b"],
    gradFunc: (dy, [a, b], { transposeA, transposeB }) => {
      if (transposeA || transposeB) {
        throw new TypeError("Cannot differentiate a transposed matMul");
      }
      return {
        a: () => tf.matMul(dy as tf.Tensor, b!, false, true),
        b: () => tf.matMul(a!, dy as tf.Tensor, true, false),
      };
    },
  });
  tf.registerGradient({
    kernelName: "Sum",
    inputsToSave: ["x"],
    gradFunc: (dy, [x], attributes) => ({
      x: () => {
        const axes = tf.util.parseAxisParam(
          attributes.axis as number | number[],
          x!.shape,
        );
        const kept = x!.shape.map((n, axis) => axes.includes(axis) ? 1 : n);
        return tf.broadcastTo(tf.reshape(dy as tf.Tensor, kept), x!.shape);
      },
    }),
  });
}

/** Gradients of activations that are not fused into a convolution. */
function registerActivations(): void {
  tf.registerGradient({
    kernelName: "Relu",
    outputsToSave: [true],
    gradFunc: (dy, [y]) => ({
      x: () => tf.mul(dy as tf.Tensor, tf.step(y!)),
    }),
  });
  tf.registerGradient({
    kernelName: "Tanh",
    outputsToSave: [true],
    gradFunc: (dy, [y]) => ({
      x: () => tf.mul(dy as tf.Tensor, tf.sub(1, tf.square(y!))),
    }),
  });
}

function registerShapes(): void {
  tf.registerGradient({
    kernelName: "Reshape",
    inputsToSave: ["x"],
    gradFunc: (dy, [x]) => ({
      x: () => tf.reshape(dy as tf.Tensor, x!.shape),
    }),
  });
  tf.registerGradient({
    kernelName: "Concat",
    saveAllInputs: true,
    gradFunc: (dy, inputs, attributes) => {
      const [axis] = tf.util.parseAxisParam(
        attributes.axis as number,
        inputs[0]!.shape,
      ) as [number];
      const parts = tf.split(
        dy as tf.Tensor,
        inputs.map((input) => input.shape[axis]!),
        axis,
      );
      return Object.fromEntries(parts.map((part, i) => [i, () => part]));
    },
  });
}

/** Sums over the axes along which `shape` was broadcast. */
function sumTo(value: tf.Tensor, shape: number[]): tf.Tensor {
  if (tf.util.arraysEqual(value.shape, shape)) return value;
  const added = value.shape.length - shape.length;
  const axes = value.shape
    .map((_, axis) => axis)
    .filter((axis) => axis < added || shape[axis - added] === 1);
  return tf.reshape(tf.sum(value, axes), shape);
}
