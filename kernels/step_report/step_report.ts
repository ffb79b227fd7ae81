/**
 * The figures of a micro-batch for the log as one vector, which one dispatch
 * makes and one read-back fetches.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { Kernel } from "../gpu.ts";
import { floatView, kernelConfigs } from "../kernel_config.ts";
import code from "./step_report.wgsl" with { type: "text" };

const STEP_REPORT = "zoomin/StepReport";

/**
 * Order of the numbers in a report: these, the sum of the directions of all rows
 * of features, `[K]`, their maxima, `[K]`, then logits. All but the maxima and the
 * logits are sums, so that the reports of parts make that of the whole.
 */
const LOSS = 0,
  TILE_ENTROPY = 1,
  TILES = 2,
  SUB_TILE_ENTROPY = 3,
  SUB_TILES = 4,
  SAME = 5, // cosines of the rows with themselves
  ROWS = 6,
  HEAD = 7;

/** What a report is made of, as tensors or as their values. */
export type Reported<T> = {
  loss: T; // []
  /** Entropies of the maps of each stage, `[maps, 2]`; see entropySums. */
  tiles: T;
  subTiles: T;
  features: T; // [S, K]
  logits: T; // [G, classes]
};

/**
 * The report, for {@linkcode figuresOf}: the loss, the entropies of the maps of
 * each stage, the directions of the features of sub-tiles, the maximum of each
 * channel, and the logits of the first `images` rows. Features of zeros have no
 * direction: their cosines are 0. No gradient.
 *
 * @returns `[7 + 2K + images * classes]`.
 */
export function stepReport(
  reported: Reported<tf.Tensor>,
  images: number,
): tf.Tensor1D {
  return tf.engine().runKernel(STEP_REPORT, reported, { images });
}

// Rows shorter than this have no direction; also in step_report.wgsl.
const MIN_LENGTH = 1e-12;

/** The same function as plain loops. */
export function stepReportReference(
  { loss, tiles, subTiles, features, logits }: Reported<Float32Array>,
  { channels, logits: count }: { channels: number; logits: number },
  out: Float32Array = new Float32Array(HEAD + 2 * channels + count),
): Float32Array {
  const rows = features.length / channels;
  const direction = new Float64Array(channels);
  const largest = new Float64Array(channels).fill(-Infinity);
  let same = 0; // cosines of the rows with themselves
  for (let start = 0; start < features.length; start += channels) {
    const row = features.subarray(start, start + channels);
    const length = Math.sqrt(row.reduce((sum, x) => sum + x * x, 0));
    const inverse = length > MIN_LENGTH ? 1 / length : 0;
    same += (length * inverse) ** 2;
    row.forEach((value, k) => {
      direction[k]! += value * inverse;
      largest[k] = Math.max(largest[k]!, value);
    });
  }
  out[LOSS] = loss[0]!;
  out[TILE_ENTROPY] = sumOfEntropies(tiles);
  out[TILES] = tiles.length / 2;
  out[SUB_TILE_ENTROPY] = sumOfEntropies(subTiles);
  out[SUB_TILES] = subTiles.length / 2;
  out[SAME] = same;
  out[ROWS] = rows;
  out.set(direction, HEAD);
  out.set(largest, HEAD + channels);
  out.set(logits.subarray(0, count), HEAD + 2 * channels);
  return out;
}

function sumOfEntropies(sums: Float32Array): number {
  let sum = 0;
  for (let i = 1; i < sums.length; i += 2) sum += sums[i]!;
  return sum;
}

/** What reports tell of all their images together. */
export interface ReportFigures {
  loss: number;
  /** Mean entropy of the maps of each stage, nats. */
  tileEntropy: number;
  subTileEntropy: number;
  /** Mean cosine between the features of two sub-tiles; 1 if there is but one. */
  cosine: number;
  /** Maximum of each channel, `[K]`. */
  largest: Float64Array;
  /** Logits of the images, report after report. */
  logits: number[];
}

/** The figures of the images of some reports of `channels` channels. */
export function figuresOf(
  reports: readonly Float32Array[],
  channels: number,
): ReportFigures {
  const sumOf = (at: number) =>
    reports.reduce((sum, report) => sum + report[at]!, 0);
  const at = (k: number) => HEAD + k;
  let square = 0; // of the sum of all directions
  const largest = new Float64Array(channels);
  for (let k = 0; k < channels; k++) {
    square += sumOf(at(k)) ** 2;
    largest[k] = Math.max(
      ...reports.map((report) => report[at(channels + k)]!),
    );
  }
  const rows = sumOf(ROWS);
  return {
    loss: sumOf(LOSS),
    tileEntropy: sumOf(TILE_ENTROPY) / sumOf(TILES),
    subTileEntropy: sumOf(SUB_TILE_ENTROPY) / sumOf(SUB_TILES),
    cosine: rows > 1 ? (square - sumOf(SAME)) / (rows * (rows - 1)) : 1,
    largest,
    logits: reports.flatMap((report) => [...report.subarray(at(2 * channels))]),
  };
}

const kernel = new Kernel("step report", code);

type Infos = Reported<tf.TensorInfo>;

/** Sizes of a report of `images` images. */
function sizesOf({ features, logits }: Infos, images: number) {
  const [rows, channels] = features.shape as [number, number];
  return { rows, channels, logits: images * logits.shape[1]! };
}

/** The kernel for both engines. */
export const stepReportKernels = kernelConfigs<{ images: number }>(
  STEP_REPORT,
  {
    wasm: ({ backend, inputs, attributes }) => {
      const infos = inputs as Infos;
      const { channels, logits } = sizesOf(infos, attributes.images);
      const report = backend.makeOutput(
        [HEAD + 2 * channels + logits],
        "float32",
      );
      stepReportReference(
        {
          loss: floatView(backend, infos.loss),
          tiles: floatView(backend, infos.tiles),
          subTiles: floatView(backend, infos.subTiles),
          features: floatView(backend, infos.features),
          logits: floatView(backend, infos.logits),
        },
        { channels, logits },
        floatView(backend, report),
      );
      return report;
    },
    webgpu: ({ backend, inputs, attributes }) => {
      const infos = inputs as Infos;
      const { loss, tiles, subTiles, features } = infos;
      const { rows, channels, logits } = sizesOf(infos, attributes.images);
      const size = HEAD + 2 * channels + logits;
      const inverses = backend.makeTensorInfo([rows], "float32");
      const report = backend.makeTensorInfo([size], "float32");
      kernel.run(backend, {
        params: new Uint32Array([
          tiles.shape[0]!,
          subTiles.shape[0]!,
          rows,
          channels,
          logits,
        ]),
        inputs: [loss, tiles, subTiles, features, infos.logits],
        outputs: [inverses, report],
        groups: 1,
      });
      backend.disposeData(inverses.dataId);
      return report;
    },
  },
);
