/**
 * The one configuration of a network and its training: validated on the way
 * in, saved whole in every checkpoint.
 *
 * @module
 */
import { z } from "zod";
import { ConfigError, oneLine } from "../errors.ts";
import { MPP_RANGE } from "../image/mpp.ts";
import { nearest } from "../nearest.ts";
import type {
  Config,
  EncoderConfig,
  EvaluationConfig,
  NetworkConfig,
  TrainingConfig,
  ViewConfig,
} from "./config_types.ts";

export type * from "./config_types.ts";

/** Sub-tiles an image, at most. */
export const MAX_SAMPLES = 4096;

const count = z.number().int().min(1);
const pixels = z.number().int().min(1);

const viewSchema = z.strictObject({
  scale1: z.number().gt(0).max(1)
    .describe("s1: scale of the view that stage I sees"),
  scale2: z.number().gt(0).max(1)
    .describe("s2 >= s1: scale at which stage II sees a tile"),
  tileSize: pixels.describe("side of a tile, level-0 px"),
  tileStride: z.number().positive()
    .describe(
      "distance between stage I locations, level-0 px; 1/scale1 = paper",
    ),
  subTileSize: pixels.describe("side of a sub-tile, level-0 px"),
  subTileStride: z.number().positive().nullable().default(null)
    .describe(
      "distance between the locations of a tile, level-0 px; null: 1/scale2 = paper",
    ),
  samples: count.max(MAX_SAMPLES)
    .describe("N: sub-tiles drawn in training"),
  foreground: z.enum(["none", "tissue"]).default("none")
    .describe("where to look: none is everywhere; tissue is what has colour"),
  support: count.nullable().default(null)
    .describe(
      "draw only from the M px of the view with the highest local contrast; null: everywhere",
    ),
}) satisfies z.ZodType<ViewConfig>;

const triple = z.tuple([z.number(), z.number(), z.number()]);

const encoderSchema = z.strictObject({
  path: z.string().min(1).describe("the ONNX file"),
  sha256: z.string().regex(/^[0-9a-f]{64}$/, "must be 64 hexadecimal digits"),
  scale: z.number().positive()
    .describe("px of the input for each level-0 px"),
  inputSize: pixels.nullable()
    .describe("side of the input, px; null: maps of any size"),
  mean: triple.describe("subtracted from RGB in [0, 1]"),
  deviation: triple.describe("then divided by"),
  outputs: z.array(z.strictObject({
    name: z.string(),
    window: z.number().min(0)
      .describe(
        "side of the window about a place, level-0 px; 0: at the place",
      ),
    pooling: z.enum(["mean", "max", "both"]),
  })).min(1).describe("outputs that make the features"),
  channels: count.describe("K: features of a place"),
}) satisfies z.ZodType<EncoderConfig>;

const networkSchema = z.strictObject({
  features: z.enum([
    "lenet",
    "resnet",
    "ats",
    "encoder",
    "scattering",
    "dictionary",
  ])
    .describe(
      "network that reads the sub-tiles; frozen: encoder, scattering, dictionary",
    ),
  encoder: encoderSchema.nullable().default(null)
    .describe("the file of features = encoder"),
  colours: z.enum(["stains", "opponent"]).default("stains")
    .describe(
      "what scattering filters: stains are those of H&E; opponent colours are for all else",
    ),
  pooling: z.enum(["mean", "max"]).default("mean")
    .describe("of the last maps of a trained network"),
  unitLength: z.boolean().default(true)
    .describe("scale the features of a trained network to length 1"),
  head: z.enum(["mean", "evidence"]).default("mean")
    .describe(
      "mean: logits of the mean feature; evidence: log-mean-exp of the logits of all locations",
    ),
  evidence: z.strictObject({
    sharpness: z.number().positive()
      .describe("r: the larger, the closer to the maximum"),
    objects: z.number().positive().nullable()
      .describe("C: locations that rare objects fill; null: all locations"),
  }).default({ sharpness: 2, objects: null }),
  attention: z.enum(["learned", "uniform", "instances"])
    .describe(
      "to compare with: uniform: every location alike; instances: the same, then attention over what was read",
    ),
  initialisation: z.enum(["he", "pytorch"])
    .describe("he: N(0, 2/fanIn); pytorch: U(+-1/sqrt(fanIn))"),
  normaliseInput: z.boolean()
    .describe("subtract the training images' mean, divide by their deviation"),
  normaliseStains: z.boolean().default(false)
    .describe("H&E: find each image's two stains, and make them the same"),
  centreFeatures: z.boolean()
    .describe("subtract the features' moving mean before they are normalised"),
}) satisfies z.ZodType<NetworkConfig>;

const scheduleSchema = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("step"),
    every: count.describe("epochs"),
    factor: z.number().gt(0).max(1),
  }),
  z.strictObject({
    kind: z.literal("cosine"),
    final: z.number().min(0).max(1)
      .describe("learning rate at the last epoch, as a share of the first"),
  }),
]);

const trainingSchema = z.strictObject({
  epochs: z.number().int().min(0),
  batchSize: count.describe("images a step"),
  learningRate: z.number().positive(),
  attentionLearningRate: z.number().positive()
    .describe("learning rate of the attention networks a and b"),
  weightDecay: z.number().min(0).describe("decoupled (AdamW)"),
  schedule: scheduleSchema,
  clipNorm: z.number().positive().describe("bound of the gradient's norm"),
  gradient: z.enum(["unbiased", "leaveOneOut", "ats"])
    .describe(
      "estimator of attention's gradient; leaveOneOut: unbiased, varies less",
    ),
  entropyWeight: z.number().min(0)
    .describe("lambda of the entropy regulariser"),
  contrastiveFrom: z.number().int().min(1).nullable()
    .describe("first epoch of the contrastive term, counted from 1; null: off"),
  classWeights: z.enum(["none", "balanced"]),
  validation: z.number().min(0).lt(1)
    .describe("share of the training images cut off for validation"),
  patience: count.nullable()
    .describe(
      "epochs without a better validation loss before stopping; null: off",
    ),
  augmentation: z.strictObject({
    flips: z.boolean(),
    turns: z.boolean().describe("quarter turns"),
    brightness: z.number().min(0).lt(1)
      .describe("largest relative change of brightness"),
    stains: z.number().min(0).lt(1).default(0)
      .describe("largest relative change of each H&E stain's strength"),
    placement: z.boolean().default(false)
      .describe("begin the grid of stage I anywhere in its first cell"),
  }),
  saliencyWarmStart: z.strictObject({
    steps: count.describe("steps that fit a and b to local contrast"),
    frozenEpochs: z.number().int().min(0)
      .describe("epochs in which a and b then stay as they are"),
  }).nullable(),
  dense: z.strictObject({
    maxLocations: count
      .describe("largest grid of an image that is read whole, locations"),
    copies: z.number().int().min(0)
      .describe("copies of each training image with changed colours"),
    locations: count
      .describe("locations of an image that a step sees"),
  }).nullable().default(null)
    .describe("train a head of frozen features on all locations"),
}) satisfies z.ZodType<TrainingConfig>;

const evaluationSchema = z.strictObject({
  draws: z.enum(["seeded", "topN"])
    .describe(
      "seeded: random under a seed; topN: expected counts, largest beta",
    ),
  samples: count.max(MAX_SAMPLES)
    .describe("N: sub-tiles drawn at evaluation"),
}) satisfies z.ZodType<EvaluationConfig>;

/** Name of features that are not trained. */
export type FrozenFeatures = "encoder" | "scattering" | "dictionary";

/** Features that are not trained. */
export const FROZEN: readonly FrozenFeatures[] = [
  "encoder",
  "scattering",
  "dictionary",
];

/** Name of a feature network that is trained. */
export type TrainedFeatures = Exclude<
  NetworkConfig["features"],
  FrozenFeatures
>;

/** True for features that are not trained. */
export function isFrozen(
  features: NetworkConfig["features"],
): features is FrozenFeatures {
  return (FROZEN as readonly string[]).includes(features);
}

/** Minimum side of a sub-tile for each network, px: smaller ones leave no map. */
export const minSubTile: Record<TrainedFeatures, number> = {
  lenet: 4,
  resnet: 1,
  ats: 13,
};

/** The schema of {@linkcode Config}. */
export const configSchema = z.strictObject({
  preset: z.string(),
  referenceClass: z.string().nullable()
    .describe("background class of the contrastive term; null: none"),
  mpp: z.number().min(MPP_RANGE.min).max(MPP_RANGE.max).nullable()
    .describe(
      "um per px that the sizes are meant for; null: pixels as they are",
    ),
  view: viewSchema,
  network: networkSchema,
  training: trainingSchema,
  evaluation: evaluationSchema,
}).superRefine(({ view, network, training, evaluation }, context) => {
  const { scale1, scale2, tileSize, subTileSize, subTileStride } = view;
  const fault = (field: keyof typeof view, message: string) =>
    context.addIssue({ code: "custom", path: ["view", field], message });
  if (scale2 < scale1) fault("scale2", `must be at least scale1 = ${scale1}`);
  if (tileSize * scale1 < 1) {
    fault("tileSize", `must be at least 1 / scale1 = ${1 / scale1} px`);
  }
  if (subTileStride !== null && subTileStride > tileSize) {
    fault("subTileStride", `must be at most tileSize = ${tileSize} px`);
  }
  const { features, encoder } = network;
  const least = isFrozen(features) ? 1 : minSubTile[features];
  if (subTileSize < least) {
    fault(
      "subTileSize",
      `must be at least ${least} px for network.features = ${features}`,
    );
  }
  if ((features === "encoder") !== (encoder !== null)) {
    context.addIssue({
      code: "custom",
      path: ["network", "encoder"],
      message: encoder
        ? `belongs to network.features = encoder, not ${features}`
        : "it is missing: network.features = encoder needs a file",
    });
  }
  for (
    const { path, message } of headFaults({
      view,
      network,
      training,
      evaluation,
    })
  ) {
    context.addIssue({ code: "custom", path, message });
  }
  if (training.dense && !isFrozen(features)) {
    context.addIssue({
      code: "custom",
      path: ["training", "dense"],
      message: `needs frozen features (${
        FROZEN.join(", ")
      }), not network.features = ${features}`,
    });
  }
});

/** Settings that do not go together with the head, or the support. */
function headFaults(
  { view, network, training, evaluation }: Pick<
    Config,
    "view" | "network" | "training" | "evaluation"
  >,
): { path: string[]; message: string }[] {
  const isEvidence = network.head === "evidence";
  const faults = [
    {
      found: isFrozen(network.features) && !isEvidence,
      path: ["network", "head"],
      message: `must be evidence for network.features = ${network.features}`,
    },
    {
      found: isFrozen(network.features) && network.normaliseStains,
      path: ["network", "normaliseStains"],
      message: `must be false for network.features = ${network.features}`,
    },
    {
      found: isFrozen(network.features) && training.dense === null,
      path: ["training", "dense"],
      message: `is needed for network.features = ${network.features}`,
    },
    {
      found: isEvidence && network.attention === "instances",
      path: ["network", "attention"],
      message: "must not be instances under network.head = evidence",
    },
    {
      found: isEvidence && evaluation.draws === "topN",
      path: ["evaluation", "draws"],
      message: "must be seeded under network.head = evidence",
    },
    {
      found: training.contrastiveFrom !== null &&
        (isEvidence || view.support !== null),
      path: ["training", "contrastiveFrom"],
      message: "must be null under network.head = evidence or view.support",
    },
  ];
  return faults.filter(({ found }) => found);
}

type Extends<A extends B, B> = A;
/** Compiles only if the schema has no field that {@linkcode Config} lacks. */
type _Complete = Extends<Config, z.infer<typeof configSchema>>;

// The memory bound alone cuts a batch now. Files of older versions have it.
const REMOVED = "imagesPerPass";
const REMOVED_TEXT =
  "it was removed, because the memory bound decides how many images are held at once: delete it, and set --memory if need be";

/** `value` without the fields of older versions; if they are null, or `all`. */
export function withoutRemoved(value: unknown, all: boolean): unknown {
  if (!isRecord(value) || !isRecord(value.training)) return value;
  const { [REMOVED]: removed, ...training } = value.training;
  return removed === null || all ? { ...value, training } : value;
}

/**
 * Checks `value`, for example parsed JSON, against the schema. Nothing is filled
 * in but fields that older versions did not have.
 *
 * @param source its name in messages: a file, a preset, the command line.
 * @throws {ConfigError} Naming every field that is wrong.
 *
 * @example A preset with another number of sub-tiles
 * ```ts
 * import { parseConfig, preset } from "@zoomin/zoomin";
 *
 * const { view, ...colon } = preset("colon");
 * parseConfig({ ...colon, view: { ...view, samples: 20 } }, "my settings");
 * ```
 */
export function parseConfig(value: unknown, source: string): Config {
  const result = configSchema.safeParse(withoutRemoved(value, false), {
    reportInput: true,
  });
  if (result.success) return result.data;
  const faults = result.error.issues.map((issue) =>
    issue.code === "unrecognized_keys"
      ? issue.keys.map((key) => unknownText(value, [...issue.path, key]))
        .join("; ")
      : issueText(issue)
  );
  throw new ConfigError(
    `Cannot use ${source} as a configuration: ${faults.join("; ")}`,
  );
}

/** Path and fault of a value, on one line; parsed with `reportInput`. */
export function issueText(issue: z.core.$ZodIssue): string {
  const isMissing = issue.code === "invalid_type" && issue.input === undefined;
  const place = issue.path.join(".") || "(whole)";
  return `${place}: ${isMissing ? "it is missing" : oneLine(issue.message)}`;
}

function unknownText(value: unknown, path: readonly PropertyKey[]): string {
  const key = path.join(".");
  if (key === `training.${REMOVED}`) return `${key}: ${REMOVED_TEXT}`;
  const meant = nearestKey(value, key);
  return `there is no "${key}"` +
    (meant === undefined ? "" : `, did you mean "${meant}"?`);
}

/** `value`; fields that it lacks are those of `whole`. */
export function filledFrom(whole: unknown, value: unknown): unknown {
  if (!isRecord(whole) || !isRecord(value)) return value;
  if ("kind" in value) return value; // one of several forms
  const given = Object.entries(value)
    .map(([key, own]) => [key, filledFrom(whole[key], own)]);
  return { ...whole, ...Object.fromEntries(given) };
}

/** True for an object of JSON, which has keys. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

/**
 * `config` with `key=value` settings applied, keys as dotted paths
 * (`training.learningRate=0.001`), values as JSON or plain words.
 *
 * @throws {ConfigError} If a key is unknown or a value does not fit.
 *
 * @example
 * ```ts
 * import { preset, withSettings } from "@zoomin/zoomin";
 *
 * const config = withSettings(preset("colon"), ["training.epochs=10"]);
 * ```
 */
export function withSettings(
  config: Config,
  settings: readonly string[],
): Config {
  const changed = structuredClone(config);
  for (const setting of settings) {
    const equals = setting.indexOf("=");
    if (equals < 1) {
      throw new ConfigError(
        `Cannot read "${setting}" as a setting: write key=value`,
      );
    }
    assign(changed, setting.slice(0, equals), setting.slice(equals + 1));
  }
  return parseConfig(changed, "the settings given");
}

function assign(
  config: Record<string, unknown>,
  key: string,
  value: string,
): void {
  const path = key.split(".");
  const last = path.pop()!;
  let at: unknown = config;
  for (const part of path) at = child(at, part, { config, key });
  const old = child(at, last, { config, key });
  const given = jsonOrWord(value);
  // A class may be called 0.
  const isWord = typeof old === "string" && typeof given === "number";
  (at as Record<string, unknown>)[last] = isWord ? value : given;
}

function child(
  parent: unknown,
  name: string,
  { config, key }: { config: Record<string, unknown>; key: string },
): unknown {
  const known = parent !== null && typeof parent === "object"
    ? Object.keys(parent)
    : [];
  if (known.includes(name)) return (parent as Record<string, unknown>)[name];
  if (key === `training.${REMOVED}`) {
    throw new ConfigError(`Cannot set "${key}": ${REMOVED_TEXT}`);
  }
  const meant = nearestKey(config, key);
  throw new ConfigError(
    `Cannot set "${key}": there is no "${name}"` +
      (meant !== undefined
        ? `; did you mean "${meant}"?`
        : known.length > 0
        ? `, only ${known.join(", ")}`
        : ""),
  );
}

/** The key that was probably meant: spelt nearly so, or its last word alone. */
function nearestKey(
  config: unknown,
  key: string,
): string | undefined {
  const keys = dottedKeys(config).filter((known) => known !== key);
  const lastWord = (key: string) => key.slice(key.lastIndexOf(".") + 1);
  const word = nearest(lastWord(key), keys.map(lastWord));
  return nearest(key, keys) ?? keys.find((key) => lastWord(key) === word);
}

/** The keys of all values that are no objects. */
function dottedKeys(value: unknown, prefix = ""): string[] {
  if (value === null || typeof value !== "object") return [];
  return Object.entries(value).flatMap(([name, child]) => [
    ...(child === null || typeof child !== "object" ? [prefix + name] : []),
    ...dottedKeys(child, `${prefix}${name}.`),
  ]);
}

function jsonOrWord(value: string): unknown {
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}
