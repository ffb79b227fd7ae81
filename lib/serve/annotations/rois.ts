/**
 * The annotations of a manifest as the server trains on them, within the folders
 * that requests may name.
 *
 * @module
 */
import type { AnnotatedImage } from "../../data/annotations/object.ts";
import type { Manifest } from "../../data/manifest.ts";
import { readNamedRois, type RoiSource, withDrawn } from "../../data/rois.ts";
import type { Sources } from "../intake/allowed_sources.ts";

/**
 * The annotations that the files of a manifest state, with those drawn in the
 * place of an image's own.
 *
 * @throws {DataError} If a file of many images has faults.
 */
export async function allowedRois(
  manifest: Manifest,
  drawn: readonly AnnotatedImage[],
  sources: Sources,
): Promise<RoiSource> {
  const isFile = (path: string) =>
    sources.file(path).then(() => true, () => false);
  const stated = await readNamedRois(manifest, isFile);
  return withDrawn(stated, drawn, manifest.entries);
}
