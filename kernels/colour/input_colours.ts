/**
 * Colours of views as the networks see them, for the views of many images at
 * once:
 *
 *     lit      = min(gain v, s)
 *     restained = min(exp(log(max(lit / s, d)) M), 1) s
 *     input    = (restained - mean s) / deviation
 *
 * with s, the share of a view's pixel inside its image, and d, the darkest
 * colour. One kernel in the place of six operations of tfjs, of which those that
 * broadcast took a fifth of a training step on wasm.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { Kernel } from "../gpu.ts";
import { floatView, kernelConfigs } from "../kernel_config.ts";
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

/** Network input from views `[N, h, w, 3]` in [0, 1]. */
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

/** The kernel for both engines. */
export const inputColoursKernels = kernelConfigs<InputColours>(
  INPUT_COLOURS,
  {
    wasm: ({ backend, inputs, attributes }) => {
      const { views } = inputs as { views: tf.TensorInfo };
      const result = backend.makeOutput(views.shape, "float32");
      const [from, to] = [views, result].map((info) =>
        floatView(backend, info)
      ) as [Float32Array, Float32Array];
      const shape = views.shape as [number, number, number];
      attributes.changes.forEach((change, n) =>
        colourView(from, to, { ...attributes, ...change, shape, n })
      );
      return result;
    },
    webgpu: ({ backend, inputs, attributes }) => {
      const { views } = inputs as { views: tf.TensorInfo };
      const [count, height, width] = views.shape as [number, number, number];
      const result = backend.makeTensorInfo(views.shape, "float32");
      const changes = backend.makeTensorInfo(
        [count, CHANGE_FLOATS],
        "float32",
        changesTable(attributes.changes),
      );
      const shares = attributes.shares && backend.makeTensorInfo(
        [count, height + width],
        "float32",
        attributes.shares,
      );
      kernel.run(backend, {
        params: paramsOf(attributes, { count, height, width }),
        inputs: [views, changes, shares ?? changes], // bound, not read
        outputs: [result],
        groups: Math.ceil(count * height * width / WORKGROUP_SIZE),
      });
      for (const own of [changes, shares]) {
        if (own) backend.disposeData(own.dataId);
      }
      return result;
    },
  },
);

/** One view of the wasm engine's, `n` of those in `from`: no array a pixel. */
function colourView(
  from: Float32Array,
  to: Float32Array,
  { shape: [, height, width], n, gain, densities, ...options }:
    & Omit<InputColours, "changes">
    & ColourChange
    & { shape: readonly [number, number, number]; n: number },
): void {
  const { shares, mean, deviation, darkest } = options;
  const [meanR, meanG, meanB] = mean as [number, number, number];
  const [r, g, b] = deviation.map((one) => 1 / one) as [number, number, number];
  const start = n * (height + width);
  let at = n * height * width * 3;
  for (let y = 0; y < height; y++) {
    const ofRow = shares ? shares[start + y]! : 1;
    for (let x = 0; x < width; x++, at += 3) {
      const s = shares ? ofRow * shares[start + height + x]! : 1;
      let red = Math.min(from[at]! * gain, s);
      let green = Math.min(from[at + 1]! * gain, s);
      let blue = Math.min(from[at + 2]! * gain, s);
      if (densities) {
        const light = Math.max(s, darkest);
        const logR = Math.log(Math.max(red / light, darkest));
        const logG = Math.log(Math.max(green / light, darkest));
        const logB = Math.log(Math.max(blue / light, darkest));
        const restained = (c: number) =>
          Math.min(
            Math.exp(
              logR * densities[c]! + logG * densities[3 + c]! +
                logB * densities[6 + c]!,
            ),
            1,
          ) * s;
        red = restained(0);
        green = restained(1);
        blue = restained(2);
      }
      to[at] = (red - meanR * s) * r;
      to[at + 1] = (green - meanG * s) * g;
      to[at + 2] = (blue - meanB * s) * b;
    }
  }
}

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
