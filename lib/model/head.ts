/**
 * The head g, from the features of sub-tiles to logits.
 *
 *     mean      logits = W F + b of the representation F, a weighted mean
 *     evidence  z_i = W h_i + b of each sub-tile; lib/sampling/evidence.ts makes
 *               the image's logits of them. A background class has no logit.
 *
 * Trained features are h themselves. Frozen ones are standardised and projected
 * to principal components, if the configuration wants fewer numbers, which stays
 * as it was fitted, and pass one hidden layer.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { type Config, isFrozen, type NetworkConfig } from "./config.ts";
import type { Parameters, ParameterSpec } from "./parameters.ts";
import { targetOf } from "./targets/targets.ts";

/** Units of the hidden layer of each head. */
export const HIDDEN = 32;

/**
 * Bias of logits at the start if the sum over locations is divided by few objects:
 * with logits around 0 every image would be called positive.
 */
export const RARE_BIAS = -2;

/** Names of the parameters that correct the evidence of draws. */
export const CORRECTION = {
  slope: "g/correction/slope",
  offset: "g/correction/offset",
} as const;

type HeadConfig = Pick<Config, "target" | "network" | "referenceClass">;

/** The parameters of g for features of `channels` channels. */
export function headSpecs(
  config: HeadConfig,
  classes: readonly string[],
  channels: number,
): ParameterSpec[] {
  const { network } = config;
  const isEvidence = network.head === "evidence";
  const outputs = targetOf({ config, classes }).outputs.length;
  const inputs = isFrozen(network.features) ? network.heads * HIDDEN : channels;
  const bias: ParameterSpec = {
    name: "g/bias",
    shape: [outputs],
    kind: "bias",
    fanIn: inputs,
  };
  return [
    ...isFrozen(network.features)
      ? hiddenSpecs(channels, componentCount(network, channels), inputs)
      : [],
    ...isFrozen(network.features) ? CORRECTION_SPECS : [],
    {
      name: "g/weight",
      shape: [inputs, outputs],
      kind: "weight",
      fanIn: inputs,
    },
    isEvidence && network.evidence.objects !== null
      ? { ...bias, start: RARE_BIAS }
      : bias,
  ];
}

// What a few draws lose of the evidence of all locations, as training measured it
// at the N of evaluation.
const CORRECTION_SPECS: readonly ParameterSpec[] = [
  { name: CORRECTION.slope, shape: [1], kind: "fixed", fanIn: 1, start: 1 },
  { name: CORRECTION.offset, shape: [1], kind: "fixed", fanIn: 1, start: 0 },
];

/** Evidence of draws, corrected to that of all locations. */
export function correctedEvidence(
  parameters: Parameters,
  evidence: tf.Tensor2D,
): tf.Tensor2D {
  const slope = parameters.get(CORRECTION.slope);
  if (!slope) return evidence;
  return tf.add(
    tf.mul(evidence, slope),
    parameters.get(CORRECTION.offset)!,
  );
}

/** Numbers that the hidden layer reads of a location, of `channels` features. */
export function componentCount(
  { components }: Pick<NetworkConfig, "components">,
  channels: number,
): number {
  return Math.min(components ?? channels, channels);
}

function hiddenSpecs(
  channels: number,
  components: number,
  units: number,
): ParameterSpec[] {
  const project = { kind: "fixed", fanIn: channels } as const;
  const hidden = { fanIn: components } as const;
  return [
    { ...project, name: "g/project/weight", shape: [channels, components] },
    { ...project, name: "g/project/bias", shape: [components] },
    {
      ...hidden,
      name: "g/hidden/weight",
      shape: [components, units],
      kind: "weight",
    },
    { ...hidden, name: "g/hidden/bias", shape: [units], kind: "bias" },
  ];
}

/** h of each sub-tile: the features themselves, or the hidden layer of frozen ones. */
export function hiddenFeatures(
  parameters: Parameters,
  features: tf.Tensor2D,
): tf.Tensor2D {
  if (!parameters.has("g/project/weight")) return features;
  const projected = affine(parameters, "g/project", features);
  return tf.relu(affine(parameters, "g/hidden", projected));
}

/** Logits W h + b: `[rows, K]` -> `[rows, outputs]`. */
export function classify(
  parameters: Parameters,
  representation: tf.Tensor2D,
): tf.Tensor2D {
  return affine(parameters, "g", representation);
}

/** x W + b with the parameters `net/weight` and `net/bias`. */
function affine(
  parameters: Parameters,
  net: string,
  x: tf.Tensor2D,
): tf.Tensor2D {
  const weight = parameters.get(`${net}/weight`) as tf.Tensor2D | undefined;
  if (!weight) {
    throw new RangeError(`Cannot find the parameter "${net}/weight"`);
  }
  return tf.add(tf.matMul(x, weight), parameters.get(`${net}/bias`)!);
}
