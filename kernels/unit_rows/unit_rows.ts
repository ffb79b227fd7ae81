/**
 * Rows of unit length, with their gradient:
 *
 *     y = x / |x|,    dx = (dy - y <y, dy>) / |x|
 *
 * Rows of zeros stay zero and get a zero gradient: they have no direction.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { Kernel } from "../gpu.ts";
import { floatView, kernelConfigs } from "../kernel_config.ts";
import code from "./unit_rows.wgsl" with { type: "text" };

const UNIT_ROWS = "zoomin/UnitRows";
const UNIT_ROWS_GRADIENT = "zoomin/UnitRowsGradient";

// Rows shorter than this stay zero; also in unit_rows.wgsl.
const MIN_LENGTH = 1e-12;

/** Scales every row of `x` `[N, K]` to unit length. */
export function unitRows(x: tf.Tensor2D): tf.Tensor2D {
  const operation = tf.customGrad((input, save) => {
    const [y, inverses] = tf.engine().runKernel<tf.Tensor[]>(UNIT_ROWS, {
      x: input as tf.Tensor2D,
    });
    (save as tf.GradSaveFunc)([y!, inverses!]);
    return {
      value: y!,
      gradFunc: (upstream, saved) =>
        tf.engine().runKernel<tf.Tensor>(UNIT_ROWS_GRADIENT, {
          y: saved[0]!,
          inverses: saved[1]!,
          upstream,
        }),
    };
  });
  return operation(x) as tf.Tensor2D;
}

/** Results of {@linkcode unitRowsReference}. */
export interface UnitRows {
  y: Float32Array;
  /** 1 / |x| of each row; 0 for a row without a direction. */
  inverses: Float32Array;
}

/** The function as plain loops. */
export function unitRowsReference(
  x: Float32Array,
  rows: number,
  { y, inverses }: UnitRows = {
    y: new Float32Array(x.length),
    inverses: new Float32Array(rows),
  },
): UnitRows {
  const channels = x.length / rows;
  for (let row = 0, start = 0; row < rows; row++, start += channels) {
    let squares = 0;
    for (let i = start; i < start + channels; i++) squares += x[i]! ** 2;
    const length = Math.sqrt(squares);
    const inverse = length > MIN_LENGTH ? 1 / length : 0;
    for (let i = start; i < start + channels; i++) y[i] = x[i]! * inverse;
    inverses[row] = inverse;
  }
  return { y, inverses };
}

/** The gradient as plain loops. */
export function unitRowsGradientReference(
  { y, inverses }: UnitRows,
  upstream: Float32Array,
  dx: Float32Array = new Float32Array(y.length),
): Float32Array {
  const channels = y.length / inverses.length;
  for (let row = 0, start = 0; row < inverses.length; row++) {
    const end = start + channels;
    let along = 0;
    for (let i = start; i < end; i++) along += y[i]! * upstream[i]!;
    for (let i = start; i < end; i++) {
      dx[i] = (upstream[i]! - y[i]! * along) * inverses[row]!;
    }
    start = end;
  }
  return dx;
}

const passes = {
  forward: new Kernel("unit rows", code, "forward"),
  backward: new Kernel("unit rows gradient", code, "backward"),
};

/** Both kernels for both engines. */
export const unitRowsKernels = [
  ...kernelConfigs(UNIT_ROWS, {
    wasm: ({ backend, inputs }) => {
      const { shape } = inputs.x!;
      const y = backend.makeOutput(shape, "float32");
      const inverses = backend.makeOutput(shape.slice(0, 1), "float32");
      unitRowsReference(floatView(backend, inputs.x!), shape[0]!, {
        y: floatView(backend, y),
        inverses: floatView(backend, inverses),
      });
      return [y, inverses];
    },
    webgpu: ({ backend, inputs }) => {
      const [rows, channels] = inputs.x!.shape as [number, number];
      const y = backend.makeTensorInfo([rows, channels], "float32");
      const inverses = backend.makeTensorInfo([rows], "float32");
      passes.forward.run(backend, {
        params: new Uint32Array([rows, channels]),
        inputs: [inputs.x!],
        outputs: [y, inverses],
        groups: rows,
      });
      return [y, inverses];
    },
  }),
  ...kernelConfigs(UNIT_ROWS_GRADIENT, {
    wasm: ({ backend, inputs }) => {
      const dx = backend.makeOutput(inputs.y!.shape, "float32");
      unitRowsGradientReference(
        {
          y: floatView(backend, inputs.y!),
          inverses: floatView(backend, inputs.inverses!),
        },
        floatView(backend, inputs.upstream!),
        floatView(backend, dx),
      );
      return dx;
    },
    webgpu: ({ backend, inputs }) => {
      const [rows, channels] = inputs.y!.shape as [number, number];
      const dx = backend.makeTensorInfo([rows, channels], "float32");
      passes.backward.run(backend, {
        params: new Uint32Array([rows, channels]),
        inputs: [inputs.y!, inputs.inverses!, inputs.upstream!],
        outputs: [dx],
        groups: rows,
      });
      return dx;
    },
  }),
];
