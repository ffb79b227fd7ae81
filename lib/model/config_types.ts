/**
 * The parts of a configuration, as types. The schema in config_schema.ts checks values
 * against them, and the compiler checks the schema.
 *
 * @module
 */
import type { EncoderConfig, EncoderOutput } from "../encoder/encoder.ts";
import type { TargetName } from "../target.ts";

export type { EncoderConfig, EncoderOutput } from "../encoder/encoder.ts";

/** Views, tiles and sub-tiles (method: Kong & Henao, section 2.1). */
export interface ViewConfig {
  /** s1: scale of the view that stage I sees, in (0, 1]. */
  scale1: number;
  /** s2 >= s1: scale at which stage II sees a tile, in (0, 1]. */
  scale2: number;
  /** Side of a tile, level-0 px. */
  tileSize: number;
  /** Distance between stage I locations, level-0 px; 1/scale1 = paper. */
  tileStride: number;
  /** Side of a sub-tile, level-0 px. */
  subTileSize: number;
  /**
   * Distance between the locations of a tile, level-0 px: b's logits are pooled
   * to such a grid of cells. Null: one location a px of the tile view, as in the
   * paper.
   */
  subTileStride: number | null;
  /** N: sub-tiles drawn in training. */
  samples: number;
  /** Part of the image that is drawn from: all of it, or what has colour. */
  foreground: "none" | "tissue";
  /**
   * M: only the M px of the view with the highest local contrast are drawn from;
   * null: everywhere.
   */
  support: number | null;
}

/** Evidence: log-mean-exp of sub-tile logits over all locations. */
export interface EvidenceConfig {
  /** r: the larger, the closer to the maximum. */
  sharpness: number;
  /**
   * C: locations that objects fill, for rare ones: the sum over locations is
   * divided by C; null: by the number of locations.
   */
  objects: number | null;
}

/** How an encoder sees the whole image, for attention. */
export interface OverviewConfig {
  /** Px of the network's input for each level-0 px. */
  scale: number;
  /** Outputs whose values, one after the other, are the features. */
  outputs: EncoderOutput[];
  /** Features of a location. */
  channels: number;
}

/** How the object in the heaviest sub-tile is read again, by the encoder. */
export interface CloseUpConfig {
  /** Side of the encoder's input, px. */
  inputSize: number;
  /** Outputs whose values, one after the other, are the features of a cell. */
  outputs: EncoderOutput[];
  /** Features of a cell. */
  channels: number;
}

/** The networks, and how their input is prepared. */
export interface NetworkConfig {
  /**
   * Network that reads the sub-tiles. `lenet`, `resnet` and `ats` are trained;
   * frozen are `encoder`, a file; `scattering`, fixed filters; `dictionary`,
   * patches of the training images.
   */
  features:
    | "lenet"
    | "resnet"
    | "ats"
    | "encoder"
    | "scattering"
    | "dictionary";
  /** The file of `encoder`; null for other features. */
  encoder: EncoderConfig | null;
  /**
   * What `scattering` filters: the `stains` haematoxylin and eosin, or
   * `opponent` colours, for pictures that are not stained.
   */
  colours: "stains" | "opponent";
  /**
   * Principal components of frozen features that the head reads; null: all
   * features, standardised. Textures need few; a rare object is hardly among the
   * components of most variance.
   */
  components: number | null;
  /** Heads on frozen features that are trained apart, whose mean is taken. */
  heads: number;
  /**
   * Places of a sub-tile, to a side, at which frozen features are read; its logits
   * are the log-mean-exp of theirs.
   */
  places: number;
  /** Pooling of the last maps of a trained f. */
  pooling: "mean" | "max";
  /** Scales the features of a trained f to length 1. */
  unitLength: boolean;
  /**
   * `mean`: logits of the attention-weighted mean of the features; `evidence`:
   * log-mean-exp over all locations of logits of each.
   */
  head: "mean" | "evidence";
  /** Settings of the head `evidence`. */
  evidence: EvidenceConfig;
  /**
   * Attention: `learned`, or one to compare with: `uniform`, every location
   * alike; `instances`, the same, then attention over the sub-tiles read.
   */
  attention: "learned" | "uniform" | "instances";
  /**
   * Attention by the file of `encoder`, which then sees the whole image: a linear
   * layer on its features at every location; null: by the networks a and b.
   */
  overview: OverviewConfig | null;
  /**
   * A third look, by the file of `encoder`: the object in the heaviest sub-tile is
   * placed anew and read at one size, and decides; learned from annotated boxes.
   * null: the sub-tiles decide.
   */
  closeUp: CloseUpConfig | null;
  /** `he`: N(0, 2/fanIn); `pytorch`: U(+-1/sqrt(fanIn)). */
  initialisation: "he" | "pytorch";
  /** Subtracts the training images' mean, and divides by their deviation. */
  normaliseInput: boolean;
  /** H&E: finds each image's two stains, and makes them the same. */
  normaliseStains: boolean;
  /** Subtracts the features' moving mean before they are normalised. */
  centreFeatures: boolean;
}

/** A learning rate that is multiplied by a factor every few epochs. */
export interface StepSchedule {
  /** Names this form. */
  kind: "step";
  /** Epochs between two steps. */
  every: number;
  /** Factor of one step, in (0, 1]. */
  factor: number;
}

/** A learning rate that falls along half a cosine. */
export interface CosineSchedule {
  /** Names this form. */
  kind: "cosine";
  /** Learning rate at the last epoch, as a share of the first. */
  final: number;
}

/** Random changes of a training image, drawn anew each epoch. */
export interface AugmentationConfig {
  /** Mirrors the image. */
  flips: boolean;
  /** Turns the image by quarters. */
  turns: boolean;
  /** Largest relative change of brightness, in [0, 1). */
  brightness: number;
  /** Largest relative change of each H&E stain's strength, in [0, 1). */
  stains: number;
  /** Begins the grid of stage I anywhere in its first cell. */
  placement: boolean;
}

/** A start in which attention is fitted to local contrast. */
export interface WarmStartConfig {
  /** Steps that fit a and b to local contrast. */
  steps: number;
  /** Epochs in which a and b then stay as they are. */
  frozenEpochs: number;
}

/** Training of frozen features on the dense grid of locations. */
export interface DenseConfig {
  /** Largest grid of an image that is read whole, locations. */
  maxLocations: number;
  /** Copies of each training image with changed stains or colours. */
  copies: number;
  /** Locations of an image that a step sees, drawn at random. */
  locations: number;
  /**
   * How many of them are those with the largest logits so far, which hold rare
   * objects that random ones would miss.
   */
  strongest: number;
  /** Weight of the loss of annotated locations, beside that of the labels. */
  objectWeight: number;
  /** Leaves out a quarter of the head's inputs and hidden units in each step. */
  dropout: boolean;
}

/** The training. */
export interface TrainingConfig {
  /** Epochs to train. */
  epochs: number;
  /** Images a step. */
  batchSize: number;
  /** Learning rate of f and g. */
  learningRate: number;
  /** Learning rate of the attention networks a and b. */
  attentionLearningRate: number;
  /** Decoupled weight decay (AdamW). */
  weightDecay: number;
  /** Learning rate over the epochs. */
  schedule: StepSchedule | CosineSchedule;
  /** Bound of the gradient's norm. */
  clipNorm: number;
  /** Estimator of attention's gradient; `leaveOneOut`: unbiased, varies less. */
  gradient: "unbiased" | "leaveOneOut" | "ats";
  /** lambda of the entropy regulariser. */
  entropyWeight: number;
  /** First epoch of the contrastive term, counted from 1; null: off. */
  contrastiveFrom: number | null;
  /** Weights of the classes in the loss: all 1, or inverse to their images. */
  classWeights: "none" | "balanced";
  /** Share of the training images cut off for validation, in [0, 1). */
  validation: number;
  /** Epochs without a better validation loss before stopping; null: off. */
  patience: number | null;
  /** Random changes of the training images. */
  augmentation: AugmentationConfig;
  /** A warm start of attention; null: off. */
  saliencyWarmStart: WarmStartConfig | null;
  /**
   * Frozen features: a head is trained on all locations, then a and b learn to
   * find what it found; null: off.
   */
  dense: DenseConfig | null;
}

/** The draws at evaluation. */
export interface EvaluationConfig {
  /** `seeded`: random under a seed; `topN`: expected counts, largest beta. */
  draws: "seeded" | "topN";
  /** N: sub-tiles drawn at evaluation. */
  samples: number;
}

/**
 * A validated configuration: all that decides a network and its training. No
 * interface, so that it can stand where any object of JSON can.
 */
export type Config = {
  /** Name of the preset that it started from. */
  preset: string;
  /** What the labels say, and the network learns to. */
  target: TargetName;
  /** Background class of the contrastive term; null: none. */
  referenceClass: string | null;
  /** um per px that the sizes are meant for; null: pixels as they are. */
  mpp: number | null;
  /** Views, tiles and sub-tiles. */
  view: ViewConfig;
  /** The networks. */
  network: NetworkConfig;
  /** The training. */
  training: TrainingConfig;
  /** The draws at evaluation. */
  evaluation: EvaluationConfig;
};
