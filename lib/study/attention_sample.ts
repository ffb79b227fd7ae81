/**
 * The heat map of a variant on one image that it was tested on.
 *
 * @module
 */
import { join } from "node:path";
import { foldSplit } from "../data/folds.ts";
import type { Manifest, ManifestEntry } from "../data/manifest.ts";
import {
  type AnnotatedObject,
  readRois,
  type RoiSource,
} from "../data/rois.ts";
import { attentionHits } from "../eval/attention_hits.ts";
import { classifyImage } from "../eval/classify.ts";
import { writeFileAtomically } from "../files.ts";
import { readCheckpoint } from "../model/checkpoint.ts";
import { disposeModel } from "../model/frozen.ts";
import type { FoldResult } from "../train/runs/crossval.ts";
import { foldFolder } from "../train/runs/fold_task.ts";
import { STUDY_LAYOUTS } from "./roi_layouts.ts";

/** A heat map and its caption. */
export interface AttentionSample {
  /** Path of the picture. */
  path: string;
  about: string;
}

const PICTURE = "sample.png", ABOUT = "sample.txt";

/**
 * The heat map of the first test image of `fold` that has annotated objects of
 * its label; undefined if none has. It is drawn once and kept beside the
 * checkpoint.
 *
 * @param folder that of the cross-validation.
 * @param options.photograph draws the heat over the image, else over grey.
 */
export async function attentionSample(
  folder: string,
  fold: FoldResult,
  { manifest, photograph }: { manifest: Manifest; photograph: boolean },
): Promise<AttentionSample | undefined> {
  const run = foldFolder(folder, fold);
  const path = join(run, PICTURE), note = join(run, ABOUT);
  const kept = await Deno.readTextFile(note).catch(() => undefined);
  if (kept !== undefined) return { path, about: kept };
  const rois = await readRois(manifest, STUDY_LAYOUTS);
  const { test } = foldSplit(manifest.entries, fold.fold);
  const found = rois && await firstWithObjects(test, rois);
  if (!found) return undefined;
  const { png, hits } = await draw(run, { ...found, photograph });
  const about =
    `${found.entry.image} of fold ${fold.fold}: ${hits} sub-tiles hit an annotated object`;
  await writeFileAtomically(path, png);
  await writeFileAtomically(note, about);
  return { path, about };
}

async function firstWithObjects(
  entries: readonly ManifestEntry[],
  rois: RoiSource,
) {
  for (const entry of entries) {
    const all = await rois.of(entry);
    const objects = all.filter((object) => rois.relevant(entry, object));
    if (objects.length > 0) return { entry, objects };
  }
}

async function draw(
  run: string,
  { entry, objects, photograph }: {
    entry: ManifestEntry;
    objects: readonly AnnotatedObject[];
    photograph: boolean;
  },
) {
  const { model } = await readCheckpoint(run);
  try {
    const { classification, heatmap } = await classifyImage(entry.path, model, {
      mpp: entry.mpp,
      seed: 0,
      heatmap: photograph ? "over image" : "over grey",
    });
    const { image, subTiles } = classification;
    const { width, height } = subTiles[0]!;
    const { drawn } = attentionHits({
      image,
      subTileSize: { width, height },
      subTiles,
      objects,
    })!;
    return {
      png: heatmap!,
      hits: `${Math.round(drawn * subTiles.length)} of ${subTiles.length}`,
    };
  } finally {
    await disposeModel(model);
  }
}
