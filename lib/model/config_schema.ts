/**
 * The schema of a configuration: each field with its bounds, and the settings
 * that do not go together.
 *
 * @module
 */
import { z } from "zod";
import { inputWindow } from "../encoder/encoder.ts";
import { MPP_RANGE } from "../image/mpp.ts";
import { TARGETS } from "../target.ts";
import type {
  CloseUpConfig,
  Config,
  EncoderConfig,
  EvaluationConfig,
  NetworkConfig,
  OverviewConfig,
  TrainingConfig,
  ViewConfig,
} from "./config_types.ts";

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

const outputsSchema = z.array(z.strictObject({
  name: z.string(),
  window: z.number().min(0)
    .describe(
      "side of the window about a place, level-0 px; 0: at the place",
    ),
  pooling: z.enum(["mean", "max", "both"]),
})).min(1).describe("outputs that make the features");

const encoderSchema = z.strictObject({
  path: z.string().min(1).describe("the ONNX file"),
  sha256: z.string().regex(/^[0-9a-f]{64}$/, "must be 64 hexadecimal digits"),
  scale: z.number().positive()
    .describe("px of the input for each level-0 px"),
  inputSize: pixels.nullable()
    .describe("side of the input, px; null: maps of any size"),
  mean: triple.describe("subtracted from RGB in [0, 1]"),
  deviation: triple.describe("then divided by"),
  outputs: outputsSchema,
  channels: count.describe("K: features of a place"),
}) satisfies z.ZodType<EncoderConfig>;

const overviewSchema = z.strictObject({
  scale: z.number().positive()
    .describe("px of the input for each level-0 px"),
  outputs: outputsSchema,
  channels: count.describe("features of a location"),
}) satisfies z.ZodType<OverviewConfig>;

const closeUpSchema = z.strictObject({
  inputSize: pixels.describe("side of the encoder's input, px"),
  outputs: outputsSchema,
  channels: count.describe("features of a cell"),
}) satisfies z.ZodType<CloseUpConfig>;

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
  components: count.nullable().default(64)
    .describe(
      "principal components of frozen features that the head reads; null: all features, standardised",
    ),
  heads: count.default(1)
    .describe(
      "heads on frozen features that are trained apart, whose mean is taken",
    ),
  places: count.default(1)
    .describe(
      "places of a sub-tile, to a side, at which frozen features are read",
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
  overview: overviewSchema.nullable().default(null)
    .describe(
      "attention by the encoder, which sees the whole image; null: by the networks a and b",
    ),
  closeUp: closeUpSchema.nullable().default(null)
    .describe(
      "place the object in the heaviest sub-tile anew, read it at one size, and decide by it; learned from annotated boxes",
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
    strongest: z.number().int().min(0).default(0)
      .describe("how many of them are those with the largest logits so far"),
    objectWeight: z.number().positive().default(1)
      .describe("weight of the loss of annotated locations"),
    dropout: z.boolean().default(true)
      .describe("leave out a quarter of the head's inputs and hidden units"),
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
  target: z.enum(TARGETS).default("classes")
    .describe(
      "what labels say: classes: one of several; labels: any of several, as a;b; value: a number; ordinal: a grade; survival: a time to an event",
    ),
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
}).superRefine((config, context) => {
  const { view, network, training } = config;
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
  const window = encoder && inputWindow(encoder);
  if (window !== null && window !== subTileSize) {
    fault(
      "subTileSize",
      `must be ${window} px, which an input of ${
        encoder!.inputSize
      } px shows at network.encoder.scale = ${encoder!.scale}`,
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
    const { path, message } of [...headFaults(config), ...targetFaults(config)]
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
      found: network.overview !== null &&
        (network.encoder?.inputSize !== null ||
          network.attention !== "learned" || view.support !== null),
      path: ["network", "overview"],
      message:
        "needs an encoder over maps of any size (network.encoder.inputSize = null), network.attention = learned and view.support = null",
    },
    {
      found: network.closeUp !== null && network.encoder?.inputSize !== null,
      path: ["network", "closeUp"],
      message:
        "needs an encoder over maps of any size (network.encoder.inputSize = null)",
    },
    {
      found: network.places > 1 &&
        (!isFrozen(network.features) || network.evidence.objects !== null ||
          typeof network.encoder?.inputSize === "number"),
      path: ["network", "places"],
      message:
        "must be 1 but for frozen features of maps, with network.evidence.objects = null",
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

/** Settings that only classes have, where the target is another. */
function targetFaults(
  { target, referenceClass, network, training }: Config,
): { path: string[]; message: string }[] {
  if (target === "classes") return [];
  const faults = [
    {
      found: referenceClass !== null,
      path: ["referenceClass"],
      message: `must be null under target = ${target}`,
    },
    {
      found: training.contrastiveFrom !== null,
      path: ["training", "contrastiveFrom"],
      message: `must be null under target = ${target}`,
    },
    {
      found: training.classWeights !== "none",
      path: ["training", "classWeights"],
      message: `must be none under target = ${target}`,
    },
    {
      found: network.closeUp !== null,
      path: ["network", "closeUp"],
      message: `must be null under target = ${target}`,
    },
    {
      found: target === "survival" && training.batchSize < MIN_COHORT,
      path: ["training", "batchSize"],
      message:
        `must be at least ${MIN_COHORT} under target = survival, which compares the images of a batch`,
    },
  ];
  return faults.filter(({ found }) => found);
}

// Of fewer images most are compared with none whose event came later.
const MIN_COHORT = 4;

type Extends<A extends B, B> = A;
/** Compiles only if the schema has no field that {@linkcode Config} lacks. */
type _Complete = Extends<Config, z.infer<typeof configSchema>>;
