/**
 * Colours of views as the networks see them, for the views of many images in
 * one dispatch:
 *
 *     lit      = min(gain v, s)
 *     restained = min(exp(log(max(lit / s, d)) M), 1) s
 *     input    = (restained - mean s) / deviation
 *
 * with s, the share of a view's pixel inside its image, and d, the darkest
 * colour. On the WebGPU engine alone: on wasm tfjs's own SIMD kernels are as
 * fast, and one image at a time takes less memory.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { Kernel, type TfjsWebGpuInternals } from "../gpu.ts";
import code from "./input_colours.wgsl" with { type: "text" };

const INPUT_COLOURS = "zoomin/InputColours";

/** How the colours of a view change. */
export interface ColourChange {
  /** Factor of its brightness. */
  gain: number;
  /** M, `[3, 3]` by rows: optical densities from optical densities. */
  densities: readonly number[] | null;
}

/** Options of {@linkcode inputColours}. */
export type InputColours = { // no interface: tfjs takes it for its attributes
  /** Of each view, `[N]`. */
  changes: readonly ColourChange[];
  /**
   * Shares of the rows and columns of each view inside its image, `[N, h + w]`;
   * null if all are 1.
   */
  shares: Float32Array | null;
  mean: readonly number[];
  deviation: readonly number[];
  /** d: least share of light. */
  darkest: number;
};

/** Network input from views `[N, h, w, 3]` in [0, 1]; webgpu alone. */
export function inputColours(
  views: tf.Tensor4D,
  options: InputColours,
): tf.Tensor4D {
  return tf.engine().runKernel(
    INPUT_COLOURS,
    { views },
    options as unknown as tf.NamedAttrMap, // tfjs passes it on as it is
  );
}

/** The same function as plain loops. */
export function inputColoursReference(
  views: Float32Array,
  [count, height, width]: readonly [number, number, number, ...number[]],
  { changes, shares, mean, deviation, darkest }: InputColours,
): Float32Array {
  const out = new Float32Array(views.length);
  for (let n = 0, at = 0; n < count; n++) {
    const { gain, densities } = changes[n]!;
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++, at += 3) {
        const start = n * (height + width);
        const inside = shares
          ? shares[start + y]! * shares[start + height + x]!
          : 1;
        let rgb = [0, 1, 2].map((c) => Math.min(views[at + c]! * gain, inside));
        if (densities) {
          const logs = rgb.map((value) =>
            Math.log(Math.max(value / Math.max(inside, darkest), darkest))
          );
          rgb = rgb.map((_, to) => {
            const sum = logs.reduce(
              (sum, log, from) => sum + log * densities[3 * from + to]!,
              0,
            );
            return Math.min(Math.exp(sum), 1) * inside;
          });
        }
        rgb.forEach((value, c) => {
          out[at + c] = (value - mean[c]! * inside) / deviation[c]!;
        });
      }
    }
  }
  return out;
}

const kernel = new Kernel("input colours", code);

const WORKGROUP_SIZE = 64; // see input_colours.wgsl
const CHANGE_FLOATS = 11; // of a `Change`

/** The kernel of the WebGPU engine. */
export const inputColoursKernel: tf.KernelConfig = {
  kernelName: INPUT_COLOURS,
  backendName: "webgpu",
  kernelFunc: ({ backend: tfjsBackend, inputs, attrs }) => {
    const backend = tfjsBackend as TfjsWebGpuInternals;
    const { views } = inputs as { views: tf.TensorInfo };
    const options = attrs as unknown as InputColours;
    const [count, height, width] = views.shape as [number, number, number];
    const result = backend.makeTensorInfo(views.shape, "float32");
    const changes = backend.makeTensorInfo(
      [count, CHANGE_FLOATS],
      "float32",
      changesTable(options.changes),
    );
    const shares = options.shares && backend.makeTensorInfo(
      [count, height + width],
      "float32",
      options.shares,
    );
    kernel.run(backend, {
      params: paramsOf(options, { count, height, width }),
      inputs: [views, changes, shares ?? changes], // bound, not read
      outputs: [result],
      groups: Math.ceil(count * height * width / WORKGROUP_SIZE),
    });
    for (const own of [changes, shares]) own && backend.disposeData(own.dataId);
    return result;
  },
};

function changesTable(changes: readonly ColourChange[]): Float32Array {
  const table = new Float32Array(changes.length * CHANGE_FLOATS);
  changes.forEach(({ gain, densities }, n) => {
    table.set([gain, densities ? 1 : 0], n * CHANGE_FLOATS);
    if (densities) table.set(densities, n * CHANGE_FLOATS + 2);
  });
  return table;
}

function paramsOf(
  { shares, darkest, mean, deviation }: InputColours,
  { count, height, width }: Record<"count" | "height" | "width", number>,
): Uint32Array<ArrayBuffer> {
  const params = new Uint32Array(11);
  params.set([width, height, count, shares ? 0 : 1]);
  new Float32Array(params.buffer).set([darkest, ...mean, ...deviation], 4);
  return params;
}
