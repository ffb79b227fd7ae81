/**
 * Road scenes: which speed limit stands somewhere in a frame?
 *
 * @module
 */
import { createHash } from "node:crypto";
import { dirname, join } from "node:path";
import { type ManifestEntry, readManifest } from "../data/manifest.ts";
import { UsageError } from "../errors.ts";
import { exists } from "../files.ts";
import { withSettings } from "../model/config.ts";
import { preset } from "../model/presets.ts";
import { TESTED, writeSplitAsFolds } from "./needle.ts";
import { frozenVariants } from "./frozen_variants.ts";
import type { Study, StudyRequest, Variant } from "./study.ts";

// Boxes of the signs.
const BOXES = "signs.csv";
// Frames whose boxes a variant learns from.
const BOXED = 6;

/** The study `gtsdb`. */
export function gtsdbStudy(
  { manifest, quick, frozen }: StudyRequest,
): Study {
  if (manifest === undefined) {
    throw new UsageError(
      "Cannot run the study gtsdb without --data MANIFEST: its images are not part of zoomin",
    );
  }
  const seeds = quick ? [0] : [0, 1];
  const variant = (
    name: string,
    about: string,
    settings: readonly string[],
  ): Variant => ({
    name,
    about,
    data: "gtsdb",
    config: withSettings(preset("traffic-signs"), [
      `training.epochs=${quick ? 1 : 60}`,
      ...settings,
    ]),
    protocols: ["held-out"],
    seeds,
  });
  return {
    name: "gtsdb",
    title: "Road scenes with speed limits",
    question:
      "Do a hundred frames of 1360 x 800 px and four labels suffice to find signs that cover 0.13 % of a frame?",
    data: {
      gtsdb: { folds: [TESTED], prepare: (folder) => copy(manifest, folder) },
    },
    variants: [
      variant("ours", "our settings", []),
      ...frozenVariants(frozen, {
        data: "gtsdb",
        config: preset("traffic-signs"),
        boxes: BOXED,
        settings: quick ? ["training.epochs=1"] : [],
        seeds,
        against: "ours",
      }),
      {
        ...variant("uniform", "sub-tiles drawn uniformly: no attention", [
          "network.attention=uniform",
        ]),
        against: "ours",
        baseline: true,
      },
    ],
  };
}

/** Copies the set, so that its split can be written as folds beside it. */
async function copy(manifest: string, folder: string): Promise<string> {
  const file = join(folder, "folds.csv");
  if (await exists(file)) return file;
  const { entries } = await readManifest(manifest);
  const kept = await withoutTwins(entries);
  for (const { image, path } of kept) {
    const to = join(folder, image);
    await Deno.mkdir(dirname(to), { recursive: true });
    await Deno.copyFile(path, to);
  }
  await Deno.copyFile(join(dirname(manifest), BOXES), join(folder, BOXES));
  await writeSplitAsFolds(file, kept);
  return file;
}

/** All but the training images that are byte for byte a test image. */
async function withoutTwins(
  entries: readonly ManifestEntry[],
): Promise<ManifestEntry[]> {
  const hashes = await Promise.all(
    entries.map(async ({ path }) =>
      createHash("sha256").update(await Deno.readFile(path)).digest("hex")
    ),
  );
  const tested = new Set(
    hashes.filter((_, i) => entries[i]!.split === "test"),
  );
  return entries.filter(({ split }, i) =>
    split === "test" || !tested.has(hashes[i]!)
  );
}
