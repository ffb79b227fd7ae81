/**
 * The convolutions of every preset's networks by direction, summed over the
 * layers of a (one view), b (four tiles) and f (eight sub-tiles).
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import {
  CONV,
  CONV_FILTER_GRADIENT,
  CONV_INPUT_GRADIENT,
} from "../../kernels/conv/conv.ts";
import { viewSize } from "../../lib/image/geometry.ts";
import { preset } from "../../lib/model/presets.ts";
import { normalTensor } from "../finite_differences.ts";
import { type Bench, type Benchmark, type Subject, timed } from "./measure.ts";
import { IMAGE_SIZES } from "./presets.ts";
import { besideStock } from "./stock.ts";

const TILES = 4, SUB_TILES = 8;

/** One convolution: its input [N, H, W, I], kernel size and outputs. */
interface Layer {
  input: [number, number, number, number];
  kernel: number;
  outputs: number;
}

export const layerBenchmarks: Record<string, Benchmark> = Object.fromEntries(
  Object.keys(IMAGE_SIZES).map((name) => [
    `conv-${name}`,
    () => directions(layersOf(name)),
  ]),
);

function layersOf(name: string): Layer[] {
  const { scale1, scale2, tileSize, subTileSize: side } = preset(name).view;
  const view = viewSize(IMAGE_SIZES[name]!, scale1);
  const tile = viewSize({ width: tileSize, height: tileSize }, scale2);
  const half = Math.floor(side / 2); // after the first pool
  return [
    ...attentionLayers([1, view.height, view.width]),
    ...attentionLayers([TILES, tile.height, tile.width]),
    { input: [SUB_TILES, side, side, 3], kernel: 5, outputs: 36 },
    { input: [SUB_TILES, half, half, 36], kernel: 5, outputs: 48 },
  ];
}

function attentionLayers(views: [number, number, number]): Layer[] {
  return [
    { input: [...views, 3], kernel: 3, outputs: 8 },
    { input: [...views, 8], kernel: 3, outputs: 8 },
    { input: [...views, 8], kernel: 3, outputs: 1 },
  ];
}

function directions(layers: readonly Layer[]): Bench {
  const inputs = layers.map(tensorsOf);
  const subject = (
    note: string,
    compute: (layer: Tensors) => tf.Tensor,
    layers: readonly Tensors[] = inputs,
  ): Subject => {
    const once = () =>
      timed(async () => {
        const results = layers.map((layer) => compute(layer));
        await results.at(-1)!.data();
        tf.dispose(results);
      });
    return besideStock(once, note);
  };
  const run = tf.engine().runKernel.bind(tf.engine());
  return {
    subjects: [
      subject(
        "forward",
        ({ x, filter, bias, padding }) =>
          run(CONV, { x, filter, bias }, { stride: 1, padding, relu: true }),
      ),
      subject(
        "input gradient",
        ({ x, dy, filter, padding }) =>
          run(CONV_INPUT_GRADIENT, { dy, filter }, {
            stride: 1,
            padding,
            shape: x.shape,
          }),
        inputs.filter(({ x }) => x.shape[3] !== 3), // nobody needs the image's
      ),
      subject(
        "filter gradient",
        ({ x, dy, filter, padding }) =>
          run(CONV_FILTER_GRADIENT, { x, dy }, {
            stride: 1,
            padding,
            shape: filter.shape,
          }),
      ),
    ],
    dispose: () =>
      tf.dispose(
        inputs.flatMap(({ x, dy, filter, bias }) => [x, dy, filter, bias]),
      ),
  };
}

type Tensors = ReturnType<typeof tensorsOf>;

function tensorsOf({ input, kernel, outputs }: Layer) {
  const [batch, height, width, channels] = input;
  return {
    x: normalTensor(input, 1),
    filter: normalTensor([kernel, kernel, channels, outputs], 2),
    bias: normalTensor([outputs], 3),
    dy: normalTensor([batch, height, width, outputs], 4),
    padding: (kernel - 1) / 2,
  };
}
