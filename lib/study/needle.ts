/**
 * How small may objects be? Synthetic needles that cover less and less of the
 * image, ours against sampling in one stage and without attention.
 *
 * @module
 */
import { join } from "node:path";
import { formatTable } from "../data/table.ts";
import { type ManifestEntry, readManifest } from "../data/manifest.ts";
import { NEEDLE_DEFAULTS, needleDataset } from "../data/synthetic/needle.ts";
import { writeDataset } from "../data/synthetic/writer.ts";
import { exists, writeFileAtomically } from "../files.ts";
import { withSettings } from "../model/config.ts";
import { preset } from "../model/presets.ts";
import { frozenVariants } from "./frozen_variants.ts";
import type { Study, StudyData, StudyRequest, Variant } from "./study.ts";

/** The objects of a data set. */
interface Haystack {
  name: string;
  about: string;
  clusters: number;
  objects: number;
  diameter: number; // px
  /** Share of the image that the objects' boxes cover, %. */
  coverage: number;
}

// Named by the share of the 512 x 512 image that the boxes of all its objects,
// needles and look-alikes, cover together. Objects have the demo's size, which a
// sub-tile holds, in the number that makes up that share; they are smaller if two
// of that size are too much.
const HAYSTACKS: readonly Haystack[] = [
  haystack("5.0-clusters", 2, 13, 22),
  haystack("1.0-clusters", 2, 3, 21),
  haystack("0.3-clusters", 2, 2, 14),
  haystack("0.1-clusters", 2, 2, 8),
  haystack("0.03-alone", 2, 1, 6),
  haystack("1.0-alone", 6, 1, 21),
  haystack("0.3-alone", 2, 1, 20),
  haystack("0.1-alone", 2, 1, 12),
];

// The larger first: there coverage matters, not the number of images.
const TRAINING_IMAGES = [240, 60] as const;
const TEST_IMAGES = 120;

// As the demo, which explains them.
const SETTINGS = [
  "view.scale1=0.125",
  "view.tileStride=8",
  "view.scale2=0.25",
  "view.tileSize=64",
  "view.subTileSize=24",
  "view.samples=16",
  "evaluation.samples=48",
  "training.validation=0.15",
  "training.attentionLearningRate=0.0005",
  "training.entropyWeight=0.001",
];
const WARM_START = [
  'training.saliencyWarmStart={"steps":60,"frozenEpochs":4}',
];
const ONE_STAGE = ["view.tileSize=512", "view.tileStride=512"];

const METHODS = [
  { name: "ours", about: "two stages", settings: WARM_START },
  {
    name: "one-stage",
    about: "attention sampling in one stage",
    settings: [...WARM_START, ...ONE_STAGE],
  },
  {
    name: "uniform",
    about: "no attention",
    settings: ["network.attention=uniform"],
  },
] as const;

/** The study `needle`. */
export function needleStudy({ quick, frozen }: StudyRequest): Study {
  const sizes = quick ? [8] : TRAINING_IMAGES;
  const haystacks = quick ? HAYSTACKS.slice(0, 1) : HAYSTACKS;
  const cells = sizes.flatMap((images) =>
    haystacks.map((haystack) => ({
      images,
      haystack,
      data: `${haystack.name}-${images}`,
    }))
  );
  return {
    name: "needle",
    title: "Synthetic needles",
    trendAxis: "log10 of the share of the image that all objects cover, %",
    question:
      "Down to which share of the image, and from how many images, does each method still learn?",
    data: Object.fromEntries(
      cells.map(({ data, haystack, images }) => [
        data,
        needleData(haystack, images, quick ? 8 : TEST_IMAGES),
      ]),
    ),
    variants: cells.flatMap(({ data, haystack, images }) => {
      const set = {
        about: `; ${haystack.about}, ${images} training images`,
        trend: {
          chart: `${
            haystack.objects > 1 ? "clusters" : "alone"
          }, ${images} training images`,
          x: Math.log10(haystack.coverage),
        },
      };
      const methods = METHODS.map(({ name, about, settings }): Variant => ({
        name: `${name}-${data}`,
        about: `${about}${set.about}`,
        data,
        config: withSettings(preset("needle"), [
          ...SETTINGS,
          // The same number of steps for every number of images.
          `training.epochs=${quick ? 1 : Math.round(12 * 240 / images)}`,
          ...settings,
        ]),
        protocols: ["held-out"],
        seeds: [0],
        trend: { ...set.trend, series: name },
        ...(name === "ours" ? {} : { against: `ours-${data}`, baseline: true }),
      }));
      const more = frozenVariants(frozen, {
        ...set,
        data,
        suffix: `-${data}`,
        // Views of the preset, for which those of frozen features were chosen.
        config: preset("needle"),
        settings: [
          "training.validation=0", // 60 images: each is worth more in training
          ...(quick ? ["training.epochs=1"] : []),
        ],
        seeds: [0],
        against: `ours-${data}`,
      });
      return [...methods, ...more];
    }),
  };
}

function haystack(
  name: string,
  clusters: number,
  objects: number,
  diameter: number,
): Haystack {
  const about = `${clusters} clusters of ${objects} objects of ${diameter} px`;
  const coverage = 100 * clusters * objects *
    (diameter / NEEDLE_DEFAULTS.size) ** 2;
  return { name, about, clusters, objects, diameter, coverage };
}

function needleData(
  { clusters, objects, diameter }: Haystack,
  images: number,
  test: number,
): StudyData {
  const options = {
    ...NEEDLE_DEFAULTS,
    images,
    test,
    clusters,
    objects,
    diameter,
  };
  return {
    folds: [TESTED],
    photographs: true,
    async prepare(folder) {
      const file = join(folder, "folds.csv");
      if (await exists(file)) return file;
      const { manifest } = await writeDataset(folder, needleDataset(options));
      const { entries } = await readManifest(manifest);
      await writeSplitAsFolds(file, entries);
      return file;
    },
  };
}

/** The fold that holds the test images of a set with one split. */
export const TESTED = 1;
const TRAINED_ON = 2;

/** A manifest whose test images are one fold, and all others another. */
export async function writeSplitAsFolds(
  file: string,
  entries: readonly ManifestEntry[],
): Promise<void> {
  const rows = entries.map(({ image, label, split }) => [
    image,
    label,
    String(split === "test" ? TESTED : TRAINED_ON),
  ]);
  await writeFileAtomically(
    file,
    formatTable(["image", "label", "fold"], rows),
  );
}
