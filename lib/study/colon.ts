/**
 * The published experiment on colon cancer, our settings against it, each of
 * them against its alternatives, and other methods trained by the same code.
 *
 * @module
 */
import { dirname, join } from "node:path";
import { readManifest } from "../data/manifest.ts";
import { formatTable } from "../data/table.ts";
import { UsageError } from "../errors.ts";
import { exists, writeFileAtomically } from "../files.ts";
import { openImage } from "../image/open.ts";
import { readOverview } from "../image/overview.ts";
import { encodePng } from "../image/formats/png.ts";
import { type Config, withSettings } from "../model/config.ts";
import { preset } from "../model/presets.ts";
import type { Protocol } from "../train/runs/fold_task.ts";
import { frozenVariants } from "./frozen_variants.ts";
import type { Study, StudyRequest, Variant } from "./study.ts";

const BOTH: readonly Protocol[] = ["held-out", "best-epoch"];
const HELD_OUT: readonly Protocol[] = ["held-out"];
const MAIN = "ours";
const LONG_EPOCHS = 100; // the published length
// Side of an image, px: as it is, and at the scale at which stage II looks.
const FULL = 500, SMALL = 100;

/** Settings that make another variant of ours. */
interface Change {
  name: string;
  about: string;
  settings: readonly string[];
  data?: string;
  baseline?: boolean;
}

// The whole image is one tile: stage II alone looks, at the scale of ATS.
const ONE_STAGE = [
  `view.tileSize=${FULL}`,
  `view.tileStride=${FULL}`,
];
// The whole image is one tile of 20 x 20 sub-tiles, which cover all of it. In
// training 30 of them at a time: all would cost 40 times our two stages.
const INSTANCES = [
  "network.attention=instances",
  ...ONE_STAGE,
  "view.scale1=0.04",
  "view.scale2=0.04",
  "view.samples=30",
  "evaluation.samples=400",
];
/**
 * The whole image is one sub-tile: the feature network reads all of it. The one
 * tile is the pixel in the middle, because a sub-tile is centred on the first
 * pixel of a tile that has one location.
 */
const wholeImage = (side: number) => [
  "network.attention=uniform",
  "view.scale1=1",
  "view.scale2=1",
  "view.tileSize=1",
  `view.tileStride=${side}`,
  `view.subTileSize=${side}`,
  "view.samples=1",
  "evaluation.samples=1",
];

const BASELINES: readonly Change[] = [
  {
    name: "uniform",
    about: "sub-tiles drawn uniformly: no attention",
    settings: ["network.attention=uniform"],
  },
  {
    name: "one-stage",
    about: "attention sampling in one stage (ATS, 10 sub-tiles)",
    settings: ONE_STAGE,
  },
  {
    name: "cnn",
    about:
      "a plain CNN (the same feature network) on the whole image at the scale that stage II sees",
    settings: wholeImage(SMALL),
    data: "colon-small",
  },
  {
    name: "instances",
    about:
      "attention-based multiple-instance learning over all sub-tiles of a 20 x 20 grid (Ilse et al. 2018)",
    settings: INSTANCES,
  },
].map((change) => ({ ...change, baseline: true }));

const CHANGES: readonly Change[] = [
  {
    name: "features-resnet",
    about: "the residual feature network",
    settings: ["network.features=resnet"],
  },
  {
    name: "normalised-stains",
    about: "the stains of all sections made alike, and varied by a fifth",
    settings: [
      "network.normaliseStains=true",
      "training.augmentation.stains=0.2",
    ],
  },
  {
    name: "validation",
    about: "the epoch chosen on 15 % of the training images",
    settings: ["training.validation=0.15"],
  },
  {
    name: "gradient-unbiased",
    about: "the unbiased gradient without what the other draws came to",
    settings: ["training.gradient=unbiased"],
  },
  {
    name: "gradient-ats",
    about: "the biased gradient of attention sampling (ATS)",
    settings: ["training.gradient=ats"],
  },
  {
    name: "contrastive",
    about: "the contrastive term from epoch 10 on",
    settings: ["training.contrastiveFrom=10"],
  },
  {
    name: "grid",
    about: "the 2 x 2 grid of the released code instead of the paper's map",
    settings: ["view.tileStride=250"],
  },
  {
    name: "entropy",
    about: "the published weight of the entropy regulariser",
    settings: ["training.entropyWeight=0.00001"],
  },
  {
    name: "features-ats",
    about: "the feature network of ATS",
    settings: ["network.features=ats"],
  },
  {
    name: "samples-30",
    about: "30 sub-tiles in training",
    settings: ["view.samples=30"],
  },
];

const LONG: Change = {
  name: "long",
  about: `the published ${LONG_EPOCHS} epochs`,
  settings: [`training.epochs=${LONG_EPOCHS}`],
};

// Ahead of `ours` on these folds, so it was tried for as long as `long`.
const LONG_RESNET: Change = {
  name: "features-resnet-long",
  about: `the residual feature network for ${LONG_EPOCHS} epochs`,
  settings: ["network.features=resnet", ...LONG.settings],
};

// It takes hours a fold without a GPU, so it comes last.
const LARGE_CNN: Change = {
  name: "cnn-full",
  about: "the plain CNN on the whole image at full resolution",
  settings: wholeImage(FULL),
  baseline: true,
};

/** The study `colon`. */
export function colonStudy(
  { manifest, quick, frozen }: StudyRequest,
): Study {
  if (manifest === undefined) {
    throw new UsageError(
      "Cannot run the study colon without --data MANIFEST: its images are not part of zoomin",
    );
  }
  const hurry = quick ? ["training.epochs=2"] : [];
  const ours = (settings: readonly string[]): Config =>
    withSettings(preset("colon"), [...settings, ...hurry]);
  const changed = ({ settings, ...rest }: Change): Variant => ({
    data: "colon",
    ...rest,
    config: ours(settings),
    protocols: HELD_OUT,
    seeds: [0],
    against: MAIN,
  });
  const folds = quick ? { folds: [1, 2] } : {};
  const twice = quick ? [0] : [0, 1];
  return {
    name: "colon",
    title: "Colon cancer, ten published folds",
    question:
      "Does the method reach its published accuracy on held-out images, which of its parts matter, and does it beat simpler methods?",
    notes: NOTES,
    chosenBy: [1, 2, 9, 10],
    data: {
      "colon": { ...folds, prepare: () => Promise.resolve(manifest) },
      "colon-small": {
        ...folds,
        prepare: (folder) => shrink(manifest, folder),
      },
    },
    variants: [
      {
        name: MAIN,
        about: "our settings",
        data: "colon",
        config: ours([]),
        protocols: BOTH,
        seeds: twice,
        samples: [10, 100],
      },
      ...frozenVariants(frozen, {
        data: "colon",
        config: preset("colon"),
        boxes: 10,
        settings: hurry,
        seeds: twice,
        against: MAIN,
      }),
      ...BASELINES.map(changed),
      {
        name: "paper",
        about: "the published settings, at our length",
        data: "colon",
        config: withSettings(preset("colon-paper"), [
          `training.epochs=${preset("colon").training.epochs}`,
          ...hurry,
        ]),
        protocols: BOTH,
        seeds: [0],
        against: MAIN,
      },
      ...CHANGES.map(changed),
      { ...changed(LONG), protocols: BOTH, seeds: twice },
      { ...changed(LONG_RESNET), protocols: BOTH, against: LONG.name },
      changed(LARGE_CNN),
    ],
  };
}

const NOTES = [
  "Where `training.validation` is 0, nothing chooses an epoch: `held-out` is the last epoch of the same training of which `best-epoch` reports the best one.",
  "The folds are contiguous, and neighbouring images come from one slide: the slides of a fold are new to the network, and differ in their stains.",
  "The settings of `ours` come from trials on parts of the same 100 images. What was settled last was settled by four folds: that stains vary by half by folds 1 and 10, that they are not normalised by folds 1, 2 and 9. The other six folds, which decided nothing of this, have a row of their own. Length, training on all of the other folds and samples at evaluation have rows of their own, too.",
  "`features-resnet-long` was added after `features-resnet` was seen ahead on these folds: that it was chosen is to its favour.",
  "The plain CNN reads 100 x 100 px, the scale at which stage II looks: at 500 x 500 px (`cnn-full`) a fold takes hours without a GPU.",
  "Multiple-instance learning trains on 30 random ones of the 400 sub-tiles at a time and evaluates on all.",
];

/** Copies of the images of SMALL px a side: means of the pixels covered. */
async function shrink(manifest: string, folder: string): Promise<string> {
  const file = join(folder, "manifest.csv");
  if (await exists(file)) return file;
  const { entries } = await readManifest(manifest);
  const rows: string[][] = [];
  for (const { image, path, label, fold } of entries) {
    const small = `${image.replace(/\.\w+$/, "")}.png`;
    const pyramid = await openImage(path);
    const picture = await readOverview(pyramid, SMALL);
    pyramid.close();
    await Deno.mkdir(dirname(join(folder, small)), { recursive: true });
    await writeFileAtomically(
      join(folder, small),
      await encodePng(picture),
    );
    rows.push([small, label, String(fold)]);
  }
  const head = ["image", "label", "fold"];
  await writeFileAtomically(file, formatTable(head, rows));
  return file;
}
