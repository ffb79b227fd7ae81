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
import { kernelConfigs } from "../kernel_config.ts";
import {
  offsetOf,
  type Routine,
  routine,
  type WasmBackend,
} from "../wasm/routine.ts";
import code from "./input_colours.wgsl" with { type: "text" };
import {
  type ColourRoutine,
  GROUP_PIXELS,
  inputColourRows,
  OPTION,
} from "./wasm_routines.ts";

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
const FLOAT_BYTES = Float32Array.BYTES_PER_ELEMENT;

/** The kernel for both engines. */
export const inputColoursKernels = kernelConfigs<InputColours>(
  INPUT_COLOURS,
  {
    wasm: ({ backend, inputs, attributes }) =>
      onWasm(backend as unknown as WasmBackend, inputs.views!, attributes),
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

/** On wasm view by view, in vectors. */
function onWasm(
  backend: WasmBackend,
  views: tf.TensorInfo,
  options: InputColours,
): tf.TensorInfo {
  const [, height, width] = views.shape as [number, number, number, number];
  const result = backend.makeOutput(views.shape, "float32");
  const numbers = backend.makeOutput(
    [OPTION.count + height + width],
    "float32",
  );
  options.changes.forEach((change, n) => {
    const length = height + width;
    const own = options.shares?.subarray(n * length, (n + 1) * length);
    const shares = own?.some((share) => share !== 1) ? own : null;
    colourView(backend, { views, result, numbers }, {
      n,
      options: { ...options, changes: [change], shares },
    });
  });
  backend.disposeData(numbers.dataId);
  return result;
}

/** Colours view `n`, whose own change and shares the options are. */
function colourView(
  backend: WasmBackend,
  tensors: Record<"views" | "result" | "numbers", tf.TensorInfo>,
  { n, options }: { n: number; options: InputColours },
): void {
  const { views, result, numbers } = tensors;
  const [, height, width] = views.shape as [number, number, number, number];
  const change = options.changes[0]!, { shares } = options;
  const values = height * width * 3, start = n * values;
  // A view all inside is one long row.
  const [rows, pixels] = shares ? [height, width] : [1, height * width];
  if (pixels < GROUP_PIXELS) {
    const [from, to] = [views, result].map((info) =>
      backend.typedArrayFromHeap(info).subarray(start, start + values)
    ) as [Float32Array, Float32Array];
    to.set(inputColoursReference(from, [1, height, width], options));
    return;
  }
  const table = backend.typedArrayFromHeap(numbers);
  table.set(numbersOf(options, change));
  if (shares) table.set(shares, OPTION.count);
  const firstPixels = pixels % GROUP_PIXELS || GROUP_PIXELS;
  const numbersAt = offsetOf(backend, numbers);
  const sharesAt = numbersAt + OPTION.count * FLOAT_BYTES;
  colourRoutine(backend, {
    stained: change.densities !== null,
    shared: shares !== null,
  })(
    offsetOf(backend, views) + start * FLOAT_BYTES,
    offsetOf(backend, result) + start * FLOAT_BYTES,
    rows,
    Math.ceil(pixels / GROUP_PIXELS),
    firstPixels * 3 * FLOAT_BYTES,
    numbersAt,
    sharesAt,
    sharesAt + height * FLOAT_BYTES,
    firstPixels * FLOAT_BYTES,
  );
}

function colourRoutine(backend: WasmBackend, kind: ColourRoutine): Routine {
  const name = `input_colours${kind.stained ? "_stained" : ""}${
    kind.shared ? "_shared" : ""
  }`;
  return routine(backend, name, inputColourRows(kind));
}

/** The numbers of a view for the routine. */
function numbersOf(
  { darkest, mean, deviation }: InputColours,
  { gain, densities }: ColourChange,
): number[] {
  return [
    gain,
    darkest,
    ...deviation.map((one) => 1 / one),
    ...mean.map((one, c) => -one / deviation[c]!),
    ...densities ?? [],
  ];
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
