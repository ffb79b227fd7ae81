/**
 * Convolutions on the WebGPU engine, by tfjs's own kernels.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import {
  CONV,
  CONV_BIAS_GRADIENT,
  CONV_FILTER_GRADIENT,
  CONV_INPUT_GRADIENT,
  type ConvGradientAttributes,
  type ConvOptions,
  RELU_GRADIENT,
} from "./conv.ts";

type Inputs = Record<string, tf.TensorInfo>;

/** Registers the convolution kernels of the WebGPU engine. */
export function registerWebGpuConvolutions(): void {
  const register = (
    kernelName: string,
    run: (inputs: Inputs, attributes: unknown, engine: Stock) => tf.TensorInfo,
  ) =>
    tf.registerKernel({
      kernelName,
      backendName: "webgpu",
      kernelFunc: ({ inputs, attrs, backend }) =>
        run(
          inputs as Inputs,
          attrs,
          stockOf(backend as tf.KernelBackend),
        ),
    });
  register(CONV, (inputs, attributes, { call }) => {
    const { stride, padding, relu } = attributes as ConvOptions;
    return call("FusedConv2D", inputs, {
      ...stockAttributes(stride, padding),
      activation: relu ? "relu" : "linear",
    });
  });
  register(CONV_INPUT_GRADIENT, (inputs, attributes, { call }) => {
    const { stride, padding, shape } = attributes as ConvGradientAttributes;
    return call("Conv2DBackpropInput", inputs, {
      ...stockAttributes(stride, padding),
      inputShape: shape,
    });
  });
  register(CONV_FILTER_GRADIENT, (inputs, attributes, { call }) => {
    const { stride, padding, shape } = attributes as ConvGradientAttributes;
    return call("Conv2DBackpropFilter", inputs, {
      ...stockAttributes(stride, padding),
      filterShape: shape,
    });
  });
  register(
    CONV_BIAS_GRADIENT,
    ({ dy }, _, { call }) =>
      call("Sum", { x: dy! }, { axis: [0, 1, 2], keepDims: false }),
  );
  register(RELU_GRADIENT, ({ dy, y }, _, { call, release }) => {
    const open = call("Step", { x: y! }, { alpha: 0 });
    const masked = call("Multiply", { a: dy!, b: open }, {});
    release(open);
    return masked;
  });
}

/** tfjs's own kernels. What they return is the caller's to release. */
interface Stock {
  call(name: string, inputs: Inputs, attributes: object): tf.TensorInfo;
  release(info: tf.TensorInfo): void;
}

function stockOf(backend: tf.KernelBackend): Stock {
  return {
    call: (name, inputs, attributes) =>
      tf.getKernel(name, "webgpu").kernelFunc({
        inputs,
        backend,
        attrs: attributes as tf.NamedAttrMap,
      }) as tf.TensorInfo,
    release: ({ dataId }) => void backend.disposeData(dataId),
  };
}

function stockAttributes(stride: number, padding: number) {
  return {
    strides: stride,
    pad: padding,
    dataFormat: "NHWC",
    dilations: 1,
    dimRoundingMode: "floor",
  };
}
