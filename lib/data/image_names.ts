/**
 * Files that are images by their names, where none is opened.
 *
 * @module
 */
import { dirname, join, parse } from "node:path";
import { exists } from "../files.ts";

/** Names of images end so. */
export const IMAGE_NAME =
  /\.(tiff?|svs|ndpi|scn|bif|mrxs|vms|dcm|czi|svslide|png|jpe?g|webp|bmp)$/i;

// STAMP's slide table names the features of a slide, which have its name.
const FEATURES_NAME = /\.h5$/i;

/**
 * A function that finds the images that a path without an extension, or with
 * that of a file of features, may mean; none if the path is that of an image
 * already. It reads each folder once.
 */
export function imageOfName(): (path: string) => Promise<readonly string[]> {
  const folders = new Map<string, Promise<Map<string, string[]>>>();
  return async function imagesOf(path) {
    if (IMAGE_NAME.test(path)) return [];
    const folder = dirname(path);
    const images = folders.get(folder) ?? imagesByStem(folder);
    folders.set(folder, images);
    if (!FEATURES_NAME.test(path) && await exists(path)) return [];
    const stem = path.slice(folder.length).replace(/^[/\\]/, "")
      .replace(FEATURES_NAME, "");
    return (await images).get(stem.normalize())?.toSorted() ?? [];
  };
}

async function imagesByStem(folder: string): Promise<Map<string, string[]>> {
  const images = new Map<string, string[]>();
  try {
    for await (const { name, isDirectory } of Deno.readDir(folder)) {
      if (isDirectory || !IMAGE_NAME.test(name)) continue;
      const stem = parse(name).name.normalize();
      images.set(stem, [...images.get(stem) ?? [], join(folder, name)]);
    }
  } catch { // no folder: its images are named as missing
  }
  return images;
}
