/**
 * The manifest of a folder of images: the class of an image is the folder that it
 * is in, as in ImageNet.
 *
 * @module
 */
import { join, relative, resolve } from "node:path";
import { DataError } from "../errors.ts";
import { IMAGE_NAME } from "./image_names.ts";
import { type Split, SPLITS } from "./manifest.ts";
import { formatTable } from "./table.ts";

/** An image of the folder. */
export interface FolderImage {
  /** The absolute path. */
  path: string;
  label: string;
  split?: Split;
}

/**
 * The images in the folders of `folder`, by name; hidden ones are left out.
 *
 * @throws {DataError} If there is no such folder, or there are no classes in it.
 */
export async function folderManifest(folder: string): Promise<FolderImage[]> {
  const root = resolve(folder);
  const names = await foldersIn(root).catch((cause) => {
    throw new DataError(`Cannot list ${folder}: ${cause.message}`, { cause });
  });
  const areSplits = names.length > 0 &&
    names.every((name) => Object.hasOwn(SPLITS, name));
  const images: FolderImage[] = [];
  if (!areSplits) await addClasses(images, root, {});
  else {
    for (const name of names) {
      await addClasses(images, join(root, name), { split: SPLITS[name]! });
    }
  }
  if (images.length > 0) return images;
  throw new DataError(
    `No image is in a folder of ${folder}: put the images of each class into a folder with its name`,
  );
}

/** The manifest as CSV, with paths relative to `folder`. */
export function folderTable(
  images: readonly FolderImage[],
  folder: string,
): string {
  const base = resolve(folder);
  const hasSplit = images.some(({ split }) => split !== undefined);
  return formatTable(
    ["image", "label", ...(hasSplit ? ["split"] : [])],
    images.map(({ path, label, split }) => [
      relative(base, path).replaceAll("\\", "/"),
      label,
      ...(hasSplit ? [split] : []),
    ]),
  );
}

async function addClasses(
  images: FolderImage[],
  folder: string,
  side: Pick<FolderImage, "split">,
): Promise<void> {
  for (const label of await foldersIn(folder)) {
    for (const path of await imagesIn(join(folder, label))) {
      images.push({ path, label, ...side });
    }
  }
}

/** Images in a folder and in those in it. */
async function imagesIn(folder: string): Promise<string[]> {
  const entries = await entriesIn(folder);
  const files = entries.filter((entry) => !entry.isDirectory)
    .filter(({ name }) => IMAGE_NAME.test(name));
  const stems = new Set(files.map(({ name }) => name.replace(IMAGE_NAME, "")));
  const paths = files.map(({ name }) => join(folder, name));
  for (const { name, isDirectory } of entries) {
    // A slide in MIRAX format has a folder of its name.
    if (!isDirectory || stems.has(name)) continue;
    paths.push(...await imagesIn(join(folder, name)));
  }
  return paths;
}

async function foldersIn(folder: string): Promise<string[]> {
  return (await entriesIn(folder))
    .filter(({ isDirectory }) => isDirectory).map(({ name }) => name);
}

interface Entry {
  name: string;
  isDirectory: boolean;
}

/** What is in a folder, by name; links count as what they lead to. */
async function entriesIn(folder: string): Promise<Entry[]> {
  const entries: Entry[] = [];
  for await (const { name, isSymlink, isDirectory } of Deno.readDir(folder)) {
    if (name.startsWith(".")) continue;
    const target = isSymlink
      ? await Deno.stat(join(folder, name)).catch(() => undefined)
      : { isDirectory };
    if (target) entries.push({ name, isDirectory: target.isDirectory });
  }
  return entries.sort((a, b) => a.name < b.name ? -1 : 1);
}
