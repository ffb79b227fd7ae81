/**
 * The published experiment on colon cancer, our settings against it, each of
 * them against its alternatives, and other methods trained by the same code.
 *
 * @module
 */
import { UsageError } from "../errors.ts";
import { type Config, withSettings } from "../model/config.ts";
import { preset } from "../model/presets.ts";
import type { Protocol } from "../train/crossval.ts";
import type { Study, StudyRequest, Variant } from "./study.ts";

const BOTH: readonly Protocol[] = ["held-out", "best-epoch"];
const HELD_OUT: readonly Protocol[] = ["held-out"];
const MAIN = "ours", SHORT = "ours-30";
const SHORT_EPOCHS = 30;

/** Settings that make another variant of ours. */
interface Change {
  name: string;
  about: string;
  settings: readonly string[];
  baseline?: boolean;
}

// The whole image is one tile: stage II alone looks, at the scale of ATS.
const ONE_STAGE = [
  "view.tileSize=500",
  "view.tileStride=500",
];
// The whole image is one sub-tile: the feature network reads all of it.
const WHOLE_IMAGE = [
  "view.scale1=0.002",
  "view.scale2=0.002",
  "view.tileSize=500",
  "view.tileStride=500",
  "view.subTileSize=500",
  "view.samples=1",
  "evaluation.samples=1",
];

const CHANGES: readonly Change[] = [
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
    name: "features-ats",
    about: "the feature network of ATS",
    settings: ["network.features=ats"],
  },
  {
    name: "features-resnet",
    about: "the residual feature network",
    settings: ["network.features=resnet"],
  },
  {
    name: "uniform",
    about: "sub-tiles drawn uniformly: no attention",
    settings: ["network.attention=uniform"],
    baseline: true,
  },
  {
    name: "one-stage",
    about: "attention sampling in one stage (ATS, 10 sub-tiles)",
    settings: ONE_STAGE,
    baseline: true,
  },
  {
    name: "cnn",
    about: "a plain CNN (the same feature network) on the whole image",
    settings: WHOLE_IMAGE,
    baseline: true,
  },
];

/** The study `colon`. */
export function colonStudy({ manifest, quick }: StudyRequest): Study {
  if (manifest === undefined) {
    throw new UsageError(
      "Cannot run the study colon without --data MANIFEST: its images are not part of zoomin",
    );
  }
  const long = quick ? 2 : 100, short = quick ? 2 : SHORT_EPOCHS;
  const ours = (epochs: number, settings: readonly string[] = []) =>
    withSettings(preset("colon"), [`training.epochs=${epochs}`, ...settings]);
  const variant = (name: string, about: string, config: Config): Variant => ({
    name,
    about,
    config,
    data: "colon",
    protocols: HELD_OUT,
    seeds: [0],
    against: SHORT,
  });
  const { against: _, ...main } = variant(
    MAIN,
    "our settings, the length of the published experiment",
    ours(long),
  );
  const { against: __, ...shortMain } = variant(
    SHORT,
    "our settings at the length of the variants",
    ours(short),
  );
  return {
    name: "colon",
    title: "Colon cancer, ten published folds",
    question:
      "Does the method reach its published accuracy on held-out images, which of its parts matter, and does it beat simpler methods?",
    data: {
      colon: {
        prepare: () => Promise.resolve(manifest),
        ...(quick && { folds: [1, 2] }),
      },
    },
    variants: [
      { ...shortMain, samples: [30, 100] },
      { ...main, protocols: BOTH, seeds: quick ? [0] : [0, 1] },
      variant(
        "paper",
        "the published settings",
        withSettings(preset("colon-paper"), [
          `training.epochs=${short}`,
          "training.validation=0.15", // held out, as all are
        ]),
      ),
      ...CHANGES.map(({ name, about, settings, baseline }) => ({
        ...variant(name, about, ours(short, settings)),
        ...(baseline && { baseline }),
      })),
    ],
  };
}
