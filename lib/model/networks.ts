/**
 * The four networks of a Zoom-In model: attention a and b, features f and
 * classifier g (Kong & Henao, CVPR 2022, section 4). Images `[N, h, w, 3]`.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { conv2d } from "../../kernels/conv/conv.ts";
import { knownLayers } from "../../kernels/conv/known_layers.ts";
import { maxPool } from "../../kernels/pool/max_pool.ts";
import { unitRows } from "../../kernels/unit_rows/unit_rows.ts";
import {
  DICTIONARY_CHANNELS,
  dictionaryTensors,
} from "../encoder/dictionary.ts";
import { scatteringChannels } from "../encoder/scattering.ts";
import { closeUpSpecs } from "./close_up/parameters.ts";
import { headSpecs } from "./head.ts";
import { instanceSpecs } from "./mil_pooling.ts";
import { batchNormalise } from "./normalise.ts";
import {
  type Config,
  isFrozen,
  type NetworkConfig,
  type TrainedFeatures,
} from "./config.ts";
import type { Parameters, ParameterSpec } from "./parameters.ts";

/** Moving statistics that a training step wants to see updated. */
export type StatisticUpdates = Map<string, tf.Tensor>;

/** Mode of a network: with batch statistics (training) or moving ones. */
export interface Mode {
  /** Collects new moving statistics; given in training only. */
  updates?: StatisticUpdates;
}

/** Name of features, trained or frozen. */
export type Features = NetworkConfig["features"];

/** The parts of a configuration that make the features of a trained f. */
export type FeatureSettings = Pick<
  NetworkConfig,
  "features" | "pooling" | "unitLength"
>;

/** Channels K of the features of each network that is trained. */
export const featureChannels: Record<TrainedFeatures, number> = {
  lenet: 48,
  resnet: 48,
  ats: 32,
};

/**
 * Bytes of each network for each px of its input, its gradient and the
 * padded copies of its convolutions included, as measured on the wasm engine.
 */
export const featureBytes: Record<Features, number> = {
  lenet: 700,
  resnet: 2400,
  ats: 1300,
  encoder: 1500,
  scattering: 700,
  dictionary: 700,
};

/** Bytes of the largest tensor of each network for each px of its input. */
export const featureTensorBytes: Record<Features, number> = {
  lenet: 4 * 36,
  resnet: 4 * 48,
  ats: 4 * 32,
  encoder: 4 * 3,
  scattering: 4 * 32,
  dictionary: 4 * 64,
};

/**
 * True for a network that is trained with batch statistics: it must read all
 * sub-tiles of a micro-batch at once.
 */
export const hasBatchStatistics: Record<Features, boolean> = {
  lenet: false,
  resnet: true,
  ats: false,
  encoder: false,
  scattering: false,
  dictionary: false,
};

/** Beginning of the names of a dictionary's parameters. */
export const DICTIONARY_PREFIX = "f/";

/** Radius of the attention networks' receptive field, px: three 3x3 layers. */
export const ATTENTION_RADIUS = 3;

/** Name of the weights of attention by the encoder. */
export const OVERVIEW = "ab/weight";

// As PyTorch's BatchNorm2d: share of a new batch in the moving statistics.
const MOMENTUM = 0.1;
const CENTRE = "f/centre";
/** Bytes of the largest tensor of an attention network for each px it sees. */
export const ATTENTION_TENSOR_BYTES = 4 * 8;

const ATTENTION_LAYERS = [[3, 8], [8, 8], [8, 1]] as const;
const RESNET_CHANNELS = 48;
const RESNET_BLOCKS = 3;
const ATS_KERNELS = [7, 3, 3, 3] as const;
const ATS_CHANNELS = 32;

/** All parameters of a model of `config`, in a fixed order. */
export function modelSpecs(
  config: Pick<Config, "target" | "network" | "referenceClass">,
  classes: readonly string[],
): ParameterSpec[] {
  const { features, attention, overview, centreFeatures } = config.network;
  const channels = channelsOf(config.network);
  const learned = overview
    ? [overviewSpec(overview.channels)]
    : [...attentionSpecs("a"), ...attentionSpecs("b")];
  return [
    ...(attention === "learned" ? learned : learned.map(zeroSpec)),
    ...featureSpecs(features),
    ...(attention === "instances" ? instanceSpecs(channels) : []),
    ...(centreFeatures && !isFrozen(features) ? [centreSpec(channels)] : []),
    ...headSpecs(config, classes, channels),
    ...closeUpSpecs(config.network.closeUp, classes.length),
  ];
}

/** Outputs of an attention network's layers, kept or known. */
export interface Activations {
  /** Takes those that are computed; its owner frees them. */
  keep?: tf.Tensor4D[] | undefined;
  /** What was kept of the same views under the same parameters. */
  known?: readonly tf.Tensor4D[] | undefined;
}

/** Logits of an attention network: `[N, h, w, 3]` -> `[N, h, w]`. */
export function attentionLogits(
  parameters: Parameters,
  net: "a" | "b",
  views: tf.Tensor4D,
  { keep, known }: Activations = {},
): tf.Tensor3D {
  const layers = ATTENTION_LAYERS.map((_, layer) => ({
    ...convParameters(parameters, `${net}/conv${layer + 1}`),
    relu: layer < ATTENTION_LAYERS.length - 1,
  }));
  const padding = 1;
  const logits = known
    ? knownLayers(
      views,
      layers.map((layer, i) => ({ ...layer, known: known[i]! })),
      padding,
    )
    : layers.reduce((h, layer) => {
      const output = conv2d(h, { ...layer, stride: 1, padding });
      keep?.push(tf.keep(output));
      return output;
    }, views);
  return tf.reshape(
    logits,
    logits.shape.slice(0, 3) as [number, number, number],
  );
}

/** K: features of a sub-tile. */
export function channelsOf(
  { features, encoder, colours }: Pick<
    NetworkConfig,
    "features" | "encoder" | "colours"
  >,
): number {
  switch (features) {
    case "encoder":
      return encoder!.channels;
    case "scattering":
      return scatteringChannels(colours);
    case "dictionary":
      return DICTIONARY_CHANNELS;
    default:
      return featureChannels[features];
  }
}

/** @throws {TypeError} If the features are frozen: nothing computes them here. */
function trained(features: Features): TrainedFeatures {
  if (isFrozen(features)) throw new TypeError(`${features} is not trained`);
  return features;
}

/** Features of sub-tiles by a trained f: `[N, h2, w2, 3]` -> `[N, K]`. */
export function features(
  parameters: Parameters,
  { features, pooling, unitLength }: FeatureSettings,
  subTiles: tf.Tensor4D,
  mode: Mode = {},
): tf.Tensor2D {
  const maps = featureMaps(parameters, trained(features), subTiles, mode);
  const pooled = pooling === "max" ? globalMax(maps) : globalMean(maps);
  const kept = centred(parameters, pooled, mode);
  return unitLength ? unitRows(kept) : kept;
}

/** The maximum over all pixels, `[B, H, W, K]` -> `[B, K]`. */
function globalMax(maps: tf.Tensor4D): tf.Tensor2D {
  return tf.customGrad((x, save) => {
    const largest = tf.max(x as tf.Tensor4D, [1, 2], true);
    (save as tf.GradSaveFunc)([x as tf.Tensor4D, largest]);
    return {
      value: tf.squeeze(largest, [1, 2]),
      // Equal px share nothing: all of them get the gradient. After a ReLU they
      // are equal at 0 alone, where its own gradient is 0.
      gradFunc: (upstream: tf.Tensor, saved: tf.Tensor[]) => {
        const [x, largest] = saved;
        const each = tf.reshape(upstream, largest!.shape);
        return tf.mul(tf.cast(tf.equal(x!, largest!), "float32"), each);
      },
    };
  })(maps) as tf.Tensor2D;
}

/**
 * The mean over all pixels, `[B, H, W, K]` -> `[B, K]`: as one pool, because
 * tfjs transposes the tensor for a sum that is not over the last axis.
 */
function globalMean(maps: tf.Tensor4D): tf.Tensor2D {
  return tf.customGrad((x) => {
    const [batch, height, width, channels] = maps.shape;
    const mean = tf.avgPool(x as tf.Tensor4D, [height, width], 1, "valid");
    return {
      value: tf.reshape(mean, [batch, channels]),
      gradFunc: (upstream: tf.Tensor) => {
        const share = tf.mul(upstream, 1 / (height * width));
        const each = tf.reshape(share, [batch, 1, 1, channels]);
        return tf.mul(each, tf.ones(maps.shape));
      },
    };
  })(maps) as tf.Tensor2D;
}

/**
 * Features less their moving mean, if the model has one: after a ReLU and a
 * global average all features point the same way (cosine 0.96 and more), and
 * the differences between sub-tiles are lost in their common length.
 */
function centred(
  parameters: Parameters,
  mean: tf.Tensor2D,
  { updates }: Mode,
): tf.Tensor2D {
  const centre = parameters.get(CENTRE);
  if (!centre) return mean;
  updates?.set(CENTRE, blend(centre, tf.mean(mean, 0)));
  return tf.add(mean, tf.mul(centre, -1)) as tf.Tensor2D;
}

function featureMaps(
  parameters: Parameters,
  network: TrainedFeatures,
  x: tf.Tensor4D,
  mode: Mode,
): tf.Tensor4D {
  switch (network) {
    case "lenet":
      return lenet(parameters, x);
    case "resnet":
      return resnet(parameters, x, mode);
    case "ats":
      return ATS_KERNELS.reduce(
        (h, _, i) => conv(parameters, `f/conv${i + 1}`, h, { relu: true }),
        x,
      );
    default:
      throw new TypeError(`Unknown network ${network satisfies never}`);
  }
}

function lenet(parameters: Parameters, x: tf.Tensor4D): tf.Tensor4D {
  const h = conv(parameters, "f/conv1", x, { padding: 2, relu: true });
  const pooled = maxPool(h);
  const deep = conv(parameters, "f/conv2", pooled, { padding: 2, relu: true });
  return maxPool(deep);
}

// Pre-activation residual blocks: He et al., ECCV 2016.
function resnet(
  parameters: Parameters,
  x: tf.Tensor4D,
  mode: Mode,
): tf.Tensor4D {
  let h = conv(parameters, "f/conv1", x, { padding: 1 });
  for (let block = 1; block <= RESNET_BLOCKS; block++) {
    const at = `f/block${block}`;
    const first = normaliseRelu(parameters, `${at}/norm1`, h, mode);
    const shortcut = conv(parameters, `${at}/shortcut`, first, { stride: 2 });
    const inner = conv(parameters, `${at}/conv1`, first, {
      padding: 1,
      stride: 2,
    });
    const second = normaliseRelu(parameters, `${at}/norm2`, inner, mode);
    h = tf.add(
      conv(parameters, `${at}/conv2`, second, { padding: 1 }),
      shortcut,
    );
  }
  return normaliseRelu(parameters, "f/norm", h, mode);
}

function conv(
  parameters: Parameters,
  name: string,
  x: tf.Tensor4D,
  { stride = 1, padding = 0, relu = false }: {
    stride?: number;
    padding?: number;
    relu?: boolean;
  } = {},
): tf.Tensor4D {
  const { filter, bias } = convParameters(parameters, name);
  return conv2d(x, { filter, bias, stride, padding, relu });
}

function convParameters(parameters: Parameters, name: string) {
  return {
    filter: value(parameters, `${name}/weight`) as tf.Tensor4D,
    bias: value(parameters, `${name}/bias`) as tf.Tensor1D,
  };
}

/**
 * The updates of a whole batch from those of its micro-batches: their mean,
 * weighted by size.
 */
export function meanUpdates(
  parts: readonly StatisticUpdates[],
  weights: readonly number[],
): StatisticUpdates {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const mean = (name: string) =>
    tf.tidy(() =>
      parts
        .map((updates, i) => tf.mul(updates.get(name)!, weights[i]! / total))
        .reduce((sum, share) => tf.add(sum, share))
    );
  return new Map([...parts[0]!.keys()].map((name) => [name, mean(name)]));
}

/** A moving statistic, updated with a share of a new batch. */
function blend(old: tf.Tensor, now: tf.Tensor): tf.Tensor {
  return tf.add(tf.mul(old, 1 - MOMENTUM), tf.mul(now, MOMENTUM));
}

function normaliseRelu(
  parameters: Parameters,
  name: string,
  x: tf.Tensor4D,
  { updates }: Mode,
): tf.Tensor4D {
  const movingMean = value(parameters, `${name}/movingMean`) as tf.Tensor1D;
  const movingVariance = value(
    parameters,
    `${name}/movingVariance`,
  ) as tf.Tensor1D;
  const result = batchNormalise(x, {
    scale: value(parameters, `${name}/scale`) as tf.Tensor1D,
    shift: value(parameters, `${name}/shift`) as tf.Tensor1D,
    relu: true,
    ...(updates ? {} : { mean: movingMean, variance: movingVariance }),
  });
  if (updates) {
    updates.set(`${name}/movingMean`, blend(movingMean, result.mean));
    updates.set(
      `${name}/movingVariance`,
      blend(movingVariance, result.variance),
    );
  }
  return result.output;
}

function value(parameters: Parameters, name: string): tf.Variable {
  const found = parameters.get(name);
  if (!found) throw new RangeError(`Cannot find the parameter "${name}"`);
  return found;
}

function attentionSpecs(net: "a" | "b"): ParameterSpec[] {
  return ATTENTION_LAYERS.flatMap(([inputs, outputs], layer) =>
    convSpecs(`${net}/conv${layer + 1}`, 3, inputs, outputs)
  );
}

/** Zeros at the start: every location alike. */
function overviewSpec(channels: number): ParameterSpec {
  return {
    name: OVERVIEW,
    shape: [channels],
    kind: "fixed",
    fanIn: channels,
  };
}

function featureSpecs(network: Features): ParameterSpec[] {
  switch (network) {
    case "lenet":
      return [
        ...convSpecs("f/conv1", 5, 3, 36),
        ...convSpecs("f/conv2", 5, 36, 48),
      ];
    case "resnet":
      return resnetSpecs();
    case "ats":
      return ATS_KERNELS.flatMap((kernel, i) =>
        convSpecs(`f/conv${i + 1}`, kernel, i ? ATS_CHANNELS : 3, ATS_CHANNELS)
      );
    case "dictionary":
      return dictionaryTensors.map(({ name, shape }) => ({
        name: DICTIONARY_PREFIX + name,
        shape,
        kind: "fixed",
        fanIn: shape[0]!,
      }));
    case "encoder":
    case "scattering":
      return [];
    default:
      throw new TypeError(`Unknown network ${network satisfies never}`);
  }
}

function resnetSpecs(): ParameterSpec[] {
  const channels = RESNET_CHANNELS;
  const blocks = Array.from({ length: RESNET_BLOCKS }, (_, i) => {
    const at = `f/block${i + 1}`;
    return [
      ...normSpecs(`${at}/norm1`, channels),
      ...convSpecs(`${at}/conv1`, 3, channels, channels),
      ...normSpecs(`${at}/norm2`, channels),
      ...convSpecs(`${at}/conv2`, 3, channels, channels),
      ...convSpecs(`${at}/shortcut`, 1, channels, channels),
    ];
  });
  return [
    ...convSpecs("f/conv1", 3, 3, channels),
    ...blocks.flat(),
    ...normSpecs("f/norm", channels),
  ];
}

/** Logits of zero everywhere: attention is uniform and stays so. */
function zeroSpec(spec: ParameterSpec): ParameterSpec {
  return { ...spec, kind: "zero" };
}

function centreSpec(channels: number): ParameterSpec {
  return {
    name: CENTRE,
    shape: [channels],
    kind: "movingMean",
    fanIn: channels,
  };
}

function convSpecs(
  name: string,
  kernel: number,
  inputs: number,
  outputs: number,
): ParameterSpec[] {
  const fanIn = kernel * kernel * inputs;
  const shape = [kernel, kernel, inputs, outputs];
  return [
    { name: `${name}/weight`, shape, kind: "weight", fanIn },
    { name: `${name}/bias`, shape: [outputs], kind: "bias", fanIn },
  ];
}

function normSpecs(name: string, channels: number): ParameterSpec[] {
  const kinds = ["scale", "shift", "movingMean", "movingVariance"] as const;
  return kinds.map((kind) => ({
    name: `${name}/${kind}`,
    shape: [channels],
    kind,
    fanIn: channels,
  }));
}
