/**
 * The expectation over both stages from its draws, with its exact gradients;
 * lib/sampling/expectation.ts derives them. On webgpu two dispatches each way.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { Kernel, type TfjsWebGpuInternals } from "../gpu.ts";
import { floatView, kernelConfigs } from "../kernel_config.ts";
import code from "./expectation.wgsl" with { type: "text" };

const DRAWN_WEIGHTS = "zoomin/DrawnWeights";
const EXPECTATION = "zoomin/Expectation";
const EXPECTATION_GRADIENT = "zoomin/ExpectationGradient";

/** Rule for the gradient of the sub-tile attention. */
export type GradientRule = "unbiased" | "leaveOneOut" | "ats";

/** The draws, flat over all representations of a batch. */
export interface Draws {
  /** N: samples of each representation. */
  samples: number;
  /** Representation that a tile belongs to, `[T]`. */
  rowOf: Int32Array;
  /** n_c: how often a tile was drawn, `[T]`; adds up to N in each row. */
  counts: Int32Array;
  /**
   * n: distinct sub-tiles drawn in a tile, `[T]`; n_c unless the tile has fewer, or
   * draws are with replacement (head `evidence`).
   */
  drawn: Int32Array;
}

/** What was drawn, by its values. */
export interface DrawnValues<Vector> {
  features: Vector; // [S, K], tile after tile in the order they were drawn
  subTileAttention: Vector; // [S]
  tileAttention: Vector; // [T]
}

type Attributes = { draws: Draws; rule: GradientRule };

// An attention of 0 in float32 is drawn only after underflow; this keeps 1 / b
// finite. Also in expectation.wgsl.
const MIN_ATTENTION = 1e-30;

/**
 * The representation of each row `[rows, K]`, and the weight of each sub-tile in
 * it `[S]`, which has no gradient.
 */
export function drawnExpectation(
  { features, subTileAttention, tileAttention }: {
    features: tf.Tensor2D;
    subTileAttention: tf.Tensor1D;
    tileAttention: tf.Tensor1D;
  },
  draws: Draws,
  rule: GradientRule,
): { representation: tf.Tensor2D; weights: tf.Tensor1D } {
  // tfjs passes them on as they are
  const attributes = { draws, rule } as unknown as tf.NamedAttrMap;
  const weights = tf.engine().runKernel<tf.Tensor1D>(
    DRAWN_WEIGHTS,
    { subTileAttention },
    attributes,
  );
  const operation = tf.customGrad((...args) => {
    const [f, b, alpha] = args as unknown as tf.Tensor[];
    const save = args.at(-1) as unknown as tf.GradSaveFunc;
    save([f!, b!, alpha!, weights]);
    return {
      value: tf.engine().runKernel<tf.Tensor>(
        EXPECTATION,
        { features: f!, weights },
        attributes,
      ),
      gradFunc: (upstream, saved) => {
        const [f, b, alpha, weights] = saved as tf.Tensor[];
        return tf.engine().runKernel<tf.Tensor[]>(EXPECTATION_GRADIENT, {
          features: f!,
          subTileAttention: b!,
          tileAttention: alpha!,
          weights: weights!,
          upstream,
        }, attributes);
      },
    };
  });
  const representation = operation(features, subTileAttention, tileAttention);
  return { representation: representation as tf.Tensor2D, weights };
}

/** A drawn tile, and its first sub-tile among all. */
interface DrawnTile {
  row: number;
  count: number;
  drawn: number;
  first: number;
}

function tilesOf({ rowOf, counts, drawn }: Draws): DrawnTile[] {
  let end = 0;
  return Array.from(rowOf, (row, c) => {
    const first = end;
    end += drawn[c]!;
    return { row, count: counts[c]!, drawn: drawn[c]!, first };
  });
}

/** Number of representations. */
function rowsOf({ rowOf }: Draws): number {
  return rowOf.reduce((most, row) => Math.max(most, row), 0) + 1;
}

/** m_k, what the draws before leave, and W_k of each sub-tile of a tile. */
function weightsWithin(
  { drawn: n, first }: DrawnTile,
  attention: ArrayLike<number>,
): { left: number; weight: number }[] {
  let before = 0;
  return Array.from({ length: n }, (_, k) => {
    const b = attention[first + k]!;
    const left = Math.max(0, 1 - before);
    before += b;
    return { left, weight: (left + (n - 1 - k) * b) / n };
  });
}

/** The weight of each sub-tile as plain loops; sums in float64. */
export function drawnWeightsReference(
  attention: ArrayLike<number>,
  draws: Draws,
): Float64Array {
  const weights = new Float64Array(attention.length);
  for (const tile of tilesOf(draws)) {
    const share = tile.count / draws.samples;
    weightsWithin(tile, attention).forEach(({ weight }, k) => {
      weights[tile.first + k] = weight * share;
    });
  }
  return weights;
}

/** The representations as plain loops; sums in float64. */
export function expectationReference(
  features: ArrayLike<number>,
  weights: ArrayLike<number>,
  draws: Draws,
): Float64Array {
  const channels = features.length / weights.length;
  const representation = new Float64Array(rowsOf(draws) * channels);
  for (const { row, first, drawn } of tilesOf(draws)) {
    for (let s = first; s < first + drawn; s++) {
      for (let i = 0; i < channels; i++) {
        representation[row * channels + i]! += weights[s]! *
          features[s * channels + i]!;
      }
    }
  }
  return representation;
}

/** The gradients at all inputs as plain loops; sums in float64. */
export function expectationGradientReference(
  { features, subTileAttention, tileAttention }: DrawnValues<
    ArrayLike<number>
  >,
  { draws, rule }: Attributes,
  upstream: ArrayLike<number>,
): DrawnValues<Float64Array> {
  const weights = drawnWeightsReference(subTileAttention, draws);
  const channels = features.length / subTileAttention.length;
  const tiles = tilesOf(draws);
  const gradients = {
    features: new Float64Array(features.length),
    subTileAttention: new Float64Array(subTileAttention.length),
    tileAttention: new Float64Array(tiles.length),
  };
  const ofWeights = new Float64Array(weights.length); // <dF, f_s>
  const ofTiles = tiles.map((tile) => { // x_c
    const { row, first } = tile;
    let sum = 0;
    weightsWithin(tile, subTileAttention).forEach(({ weight }, k) => {
      const s = first + k;
      for (let i = 0; i < channels; i++) {
        const g = upstream[row * channels + i]!;
        ofWeights[s]! += g * features[s * channels + i]!;
        gradients.features[s * channels + i] = weights[s]! * g;
      }
      sum += ofWeights[s]! * weight;
    });
    return sum;
  });
  const compared = rule === "leaveOneOut"
    ? comparedWithOthers(ofTiles, tiles, draws.samples)
    : ofTiles.map((own) => ({ own, others: 0 }));
  tiles.forEach((tile, c) => {
    const { own, others } = compared[c]!;
    const share = tile.count / draws.samples;
    gradients.tileAttention[c] = own * share /
      Math.max(tileAttention[c]!, MIN_ATTENTION);
    const ofTile = ofWeights.subarray(tile.first, tile.first + tile.drawn)
      .map((g) => (g - others) * share);
    gradients.subTileAttention.set(
      subTileGradients(tile, ofTile, { attention: subTileAttention, rule }),
      tile.first,
    );
  });
  return gradients;
}

/** N / (N - 1) (x_c - x), and o_c, the mean of the row's other draws. */
function comparedWithOthers(
  ofTiles: readonly number[],
  tiles: readonly DrawnTile[],
  samples: number,
): { own: number; others: number }[] {
  const means: number[] = [];
  tiles.forEach(({ row, count }, c) => {
    means[row] = (means[row] ?? 0) + count / samples * ofTiles[c]!;
  });
  return tiles.map(({ row, count: n }, c) => {
    const own = ofTiles[c]!, mean = means[row]!;
    if (samples === 1) return { own, others: 0 };
    return {
      own: (own - mean) * samples / (samples - 1),
      others: n < samples ? (samples * mean - n * own) / (samples - n) : 0,
    };
  });
}

/** d loss / d b of the sub-tiles of a tile, from g = d loss / d W. */
function subTileGradients(
  tile: DrawnTile,
  g: Float64Array,
  { attention, rule }: { attention: ArrayLike<number>; rule: GradientRule },
): number[] {
  const { drawn: n, first } = tile;
  let weighted = 0, plain = 0; // sums of b_j g_j and g_j, j < k
  return weightsWithin(tile, attention).map(({ left }, k) => {
    const b = attention[first + k]!;
    const ratio = left / Math.max(b, MIN_ATTENTION);
    const gradient = rule === "ats"
      ? ((weighted + left * g[k]!) * ratio + plain - k * g[k]!) / n
      : g[k]! * (n - 1 - k + ratio) / n;
    weighted += b * g[k]!;
    plain += g[k]!;
    return gradient;
  });
}

const passes = {
  weights: new Kernel("expectation weights", code, "tile_weights"),
  sum: new Kernel("expectation", code, "weighted_features"),
  features: new Kernel("expectation gradient", code, "feature_gradients"),
  attention: new Kernel("attention gradient", code, "attention_gradients"),
};

const WORKGROUP_SIZE = 64; // see expectation.wgsl
const RULES: GradientRule[] = ["unbiased", "leaveOneOut", "ats"];

/** The draws as the shaders read them, with sizes that some do not need. */
function drawsFor(
  backend: TfjsWebGpuInternals,
  { draws, rule }: Attributes,
  { subTiles, channels = 0 }: { subTiles: number; channels?: number },
) {
  const tiles = tilesOf(draws);
  const words = tiles.flatMap(({ row, count, drawn, first }) => [
    ...[row, count, drawn, first],
  ]);
  return {
    table: backend.makeTensorInfo(
      [tiles.length, 4],
      "int32",
      Int32Array.from(words),
    ),
    params: new Uint32Array([
      rowsOf(draws),
      tiles.length,
      subTiles,
      channels,
      draws.samples,
      RULES.indexOf(rule),
    ]),
  };
}

/** All kernels for both engines. */
export const expectationKernels = [
  ...kernelConfigs<Attributes>(DRAWN_WEIGHTS, {
    wasm: ({ backend, inputs, attributes }) => {
      const attention = inputs.subTileAttention!;
      const weights = backend.makeOutput(attention.shape, "float32");
      floatView(backend, weights).set(
        drawnWeightsReference(floatView(backend, attention), attributes.draws),
      );
      return weights;
    },
    webgpu: ({ backend, inputs, attributes }) => {
      const attention = inputs.subTileAttention!;
      const { table, params } = drawsFor(backend, attributes, {
        subTiles: attention.shape[0]!,
      });
      const weights = backend.makeTensorInfo(attention.shape, "float32");
      passes.weights.run(backend, {
        params,
        inputs: [table, attention],
        outputs: [weights],
        groups: Math.ceil(table.shape[0]! / WORKGROUP_SIZE),
      });
      backend.disposeData(table.dataId);
      return weights;
    },
  }),
  ...kernelConfigs<Attributes>(EXPECTATION, {
    wasm: ({ backend, inputs, attributes: { draws } }) => {
      const { features, weights } = inputs;
      const shape = [rowsOf(draws), features!.shape[1]!];
      const value = backend.makeOutput(shape, "float32");
      floatView(backend, value).set(
        expectationReference(
          floatView(backend, features!),
          floatView(backend, weights!),
          draws,
        ),
      );
      return value;
    },
    webgpu: ({ backend, inputs, attributes }) => {
      const { features, weights } = inputs;
      const [subTiles, channels] = features!.shape as [number, number];
      const sizes = { subTiles, channels };
      const { table, params } = drawsFor(backend, attributes, sizes);
      const rows = rowsOf(attributes.draws);
      const value = backend.makeTensorInfo([rows, channels], "float32");
      passes.sum.run(backend, {
        params,
        inputs: [table, weights!, features!],
        outputs: [value],
        groups: Math.ceil(rows * channels / WORKGROUP_SIZE),
      });
      backend.disposeData(table.dataId);
      return value;
    },
  }),
  ...kernelConfigs<Attributes>(EXPECTATION_GRADIENT, {
    wasm: ({ backend, inputs, attributes }) => {
      const { features, subTileAttention, tileAttention, upstream } = inputs;
      const all = [features!, subTileAttention!, tileAttention!];
      const outputs = all.map(({ shape }) =>
        backend.makeOutput(shape, "float32")
      );
      const gradients = expectationGradientReference(
        {
          features: floatView(backend, features!),
          subTileAttention: floatView(backend, subTileAttention!),
          tileAttention: floatView(backend, tileAttention!),
        },
        attributes,
        floatView(backend, upstream!),
      );
      floatView(backend, outputs[0]!).set(gradients.features);
      floatView(backend, outputs[1]!).set(gradients.subTileAttention);
      floatView(backend, outputs[2]!).set(gradients.tileAttention);
      return outputs;
    },
    webgpu: ({ backend, inputs, attributes }) => {
      const { features, subTileAttention, tileAttention, weights, upstream } =
        inputs;
      const [subTiles, channels] = features!.shape as [number, number];
      const sizes = { subTiles, channels };
      const { table, params } = drawsFor(backend, attributes, sizes);
      const like = ({ shape }: tf.TensorInfo) =>
        backend.makeTensorInfo(shape, "float32");
      const ofFeatures = like(features!);
      const ofSubTiles = like(subTileAttention!);
      const ofTiles = like(tileAttention!);
      const ofWeights = like(subTileAttention!), sums = like(tileAttention!);
      passes.features.run(backend, {
        params,
        inputs: [table, weights!, features!, upstream!],
        outputs: [ofWeights, ofFeatures],
        groups: table.shape[0]!,
      });
      passes.attention.run(backend, {
        params,
        inputs: [table, subTileAttention!, tileAttention!, ofWeights],
        outputs: [sums, ofSubTiles, ofTiles],
        groups: 1,
      });
      for (const { dataId } of [table, ofWeights, sums]) {
        backend.disposeData(dataId);
      }
      return [ofFeatures, ofSubTiles, ofTiles];
    },
  }),
];
