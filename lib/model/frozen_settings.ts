/**
 * The settings of training on frozen features: a dense grid of locations, a small
 * head, then attention that learns to find what the head found.
 *
 * @module
 */
import type { ObjectSize } from "../encoder/inspect.ts";
import { inputWindow } from "../encoder/encoder.ts";
import {
  type CloseUpConfig,
  type Config,
  type DenseConfig,
  type EncoderConfig,
  type FrozenFeatures,
  type NetworkConfig,
  type OverviewConfig,
  parseConfig,
  type TrainingConfig,
  type ViewConfig,
} from "./config.ts";

type Grid = Pick<ViewConfig, "tileSize" | "subTileSize" | "subTileStride">;

// Tiles of a few locations or dozens, so that a and b share the search. A location,
// or a place of it, is less than an object apart from the next. The logit of a tile
// is the mean of it all, in which a needle of 6 px drowns if it has 64 px: attention
// on needles was 0.04, with tiles of 32 px 0.18.
const GRIDS: Partial<Record<string, Grid>> = {
  "colon": { tileSize: 125, subTileSize: 64, subTileStride: 62 },
  "needle": { tileSize: 32, subTileSize: 24, subTileStride: 8 },
  "objects": { tileSize: 32, subTileSize: 24, subTileStride: 8 },
  // With 25 px between them, 14 locations are on the signs of six frames.
  "traffic-signs": { tileSize: 80, subTileSize: 64, subTileStride: 16 },
};

// Nuclei are all over the tissue: sub-tiles side by side, each looked at in nine
// places. With as many draws of places 20 px apart, 30 of 625 would be read.
const PLACES: Partial<Record<string, number>> = { "colon": 3 };

// Of colon, all ten folds: under six seeds the accuracy of one head is 0.87 to
// 0.90 (mean 0.88), that of the mean of four or five 0.89 to 0.90.
const HEADS: Partial<Record<string, number>> = { "colon": 4 };

// Of colon, on folds 1 to 8: 1e-3 is too low (0.85 in the place of 0.92), and
// without copies in other colours folds of another stain fall to 0.79.
const LEARNING_RATE = 2e-3, WEIGHT_DECAY = 1e-2, EPOCHS = 30, BATCH = 16;
const ATTENTION_LEARNING_RATE = 1e-2;
const STAINS = 0.3;
const DENSE: DenseConfig = {
  maxLocations: 4096,
  copies: 2,
  locations: 120,
  strongest: 0,
  objectWeight: 1,
  dropout: true,
};
// Of an encoder a second copy brings nothing (colon, ten folds), and reading it is
// a third of the time; of scattering it brings 0.02.
const ENCODER_COPIES = 1;
const SAMPLES = 30;

/** Settings of images with a few small objects, in the place of those of textures. */
interface RareObjects {
  size: ObjectSize;
  /** True if the encoder sees the whole image for attention. */
  overview: boolean;
  /** True if the object is read anew in a close-up, where boxes teach it. */
  closeUp: boolean;
  view?: Pick<ViewConfig, "support">;
  network: Pick<NetworkConfig, "components" | "evidence">;
  training?: Pick<TrainingConfig, "epochs" | "weightDecay">;
  dense: Partial<DenseConfig>;
}

// Of needles of 6 to 14 px that no study uses: the 20 px of most contrast in the
// preset's view hold one in all positive images. As many as draws are enough, and
// then hardly any is missed: of 100 of them 30 draws with replacement lost 0.06 of
// the accuracy from all locations, of 40 0.02 (8 px, trials). With 64 components or dropout it does not find needles (8 px,
// dictionary): 0.90 and 0.88 in the place of 0.95.
const NEEDLES: RareObjects = {
  size: "tiny",
  overview: false,
  closeUp: false,
  view: { support: SAMPLES },
  network: { components: null, evidence: { sharpness: 1, objects: 20 } },
  dense: { copies: 0, dropout: false },
};

// Of road signs of 18 to 123 px, by trials on two of four folds, with the boxes of
// six frames. With sharpness 1, 4250 empty locations outweigh a sign; among 64
// components there is hardly one of it, and with dropout no training frame without
// a sign is told. a and b hold no detector of signs, the encoder's maps do.
const SIGNS: RareObjects = {
  size: "large",
  overview: true,
  closeUp: true,
  network: { components: null, evidence: { sharpness: 2, objects: 1 } },
  training: { epochs: 60, weightDecay: 0.3 },
  dense: {
    maxLocations: 8192,
    copies: 0,
    locations: 200,
    strongest: 64,
    objectWeight: 0.3,
    dropout: false,
  },
};

// Several clusters of objects, of which most say nothing: no place is left out.
const OBJECTS: RareObjects = {
  size: "tiny",
  overview: false,
  closeUp: false,
  network: { components: null, evidence: { sharpness: 1, objects: 20 } },
  dense: { copies: 0, dropout: false },
};

const RARE: Partial<Record<string, RareObjects>> = {
  "needle": NEEDLES,
  "objects": OBJECTS,
  "traffic-signs": SIGNS,
};

/** The size of the objects that a preset is for, as an encoder should show them. */
export function objectSizeOf({ preset }: Pick<Config, "preset">): ObjectSize {
  return RARE[preset]?.size ?? "common";
}

/** True if an encoder sees the whole image for attention, under a preset. */
export function hasOverview({ preset }: Pick<Config, "preset">): boolean {
  return RARE[preset]?.overview ?? false;
}

/** True if a preset takes close-ups of objects whose boxes are known. */
export function hasCloseUp({ preset }: Pick<Config, "preset">): boolean {
  return RARE[preset]?.closeUp ?? false;
}

/**
 * `config` with frozen features in the place of its feature network.
 *
 * @param encoder the file of `encoder`; null for other features.
 * @param options.overview how it sees the whole image, for attention; null if
 *   networks a and b do.
 * @param options.closeUp how it reads close-ups; null if there are no boxes to learn
 *   them from.
 * @throws {ConfigError} If its views do not fit.
 */
export function withFrozenFeatures(
  config: Config,
  features: FrozenFeatures,
  encoder: EncoderConfig | null,
  { overview = null, closeUp = null }: {
    overview?: OverviewConfig | null;
    closeUp?: CloseUpConfig | null;
  } = {},
): Config {
  const { view, network, training, evaluation } = config;
  const rare = RARE[config.preset];
  const { stains } = training.augmentation;
  const window = encoder && inputWindow(encoder);
  const grid = {
    ...GRIDS[config.preset] ?? gridOf(view),
    ...window !== null && { subTileSize: window },
  };
  return parseConfig({
    ...config,
    view: {
      ...view,
      ...grid,
      tileStride: grid.tileSize,
      samples: SAMPLES,
      ...rare?.view,
    },
    network: {
      ...network,
      features,
      encoder,
      colours: stains > 0 ? "stains" : "opponent",
      attention: "learned",
      overview,
      closeUp,
      heads: HEADS[config.preset] ?? 1,
      places: window !== null ? 1 : PLACES[config.preset] ?? 1,
      centreFeatures: false,
      head: "evidence",
      ...rare?.network,
    },
    training: {
      ...training,
      epochs: EPOCHS,
      batchSize: BATCH,
      learningRate: LEARNING_RATE,
      attentionLearningRate: ATTENTION_LEARNING_RATE,
      weightDecay: WEIGHT_DECAY,
      contrastiveFrom: null,
      augmentation: {
        ...training.augmentation,
        stains: stains > 0 ? STAINS : 0,
      },
      saliencyWarmStart: null,
      ...rare?.training,
      dense: {
        ...DENSE,
        ...encoder && { copies: ENCODER_COPIES },
        ...rare?.dense,
      },
    },
    evaluation: { ...evaluation, draws: "seeded", samples: SAMPLES },
  }, `preset ${config.preset} with ${features}`);
}

/** Locations three quarters of a sub-tile apart. */
function gridOf({ tileSize, subTileSize }: ViewConfig): Grid {
  const subTileStride = Math.min(tileSize, Math.ceil(0.75 * subTileSize));
  return { tileSize, subTileSize, subTileStride };
}
