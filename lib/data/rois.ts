/**
 * Annotated objects of images, to measure where attention falls and, if asked
 * for, to train on. The column `rois` of the manifest names a file per image, or
 * one of many images; else they are in `regions.csv` beside the manifest. Data
 * sets with a layout of their own bring a {@linkcode RoiLayout}. If the images
 * lie elsewhere, as in the splits that a run keeps, the files may be beside the
 * images or their folder. `annotations/file.ts` names the formats.
 *
 * All objects count, except those of type "lookalike", of a type that ends in
 * "*", which QuPath ignores as well ("Ignore*", "Region*"), and of a type that
 * is the label of other images.
 *
 * @module
 */
import { dirname, join, parse, relative } from "node:path";
import { DataError } from "../errors.ts";
import { exists, spelled } from "../files.ts";
import { isUrl } from "../image/bytes/source.ts";
import { readAnnotations } from "./annotations/file.ts";
import { matchImages } from "./annotations/match.ts";
import type { AnnotatedImage, AnnotatedObject } from "./annotations/object.ts";
import type { Manifest, ManifestEntry } from "./manifest.ts";

export type { AnnotatedObject };

/** The annotations of a data set. */
export interface RoiSource {
  /**
   * The objects of an image; empty if none are annotated.
   *
   * @throws {DataError} If its file has faults.
   */
  of(entry: ManifestEntry): Promise<AnnotatedObject[]>;
  /** The image has annotations, perhaps of no object; a file of its own is not read. */
  has(entry: ManifestEntry): Promise<boolean>;
  /** The image has its label because of this object. */
  relevant(entry: ManifestEntry, object: AnnotatedObject): boolean;
}

// One table of the objects of all images, beside the manifest.
const REGIONS_FILE = "regions.csv";

/** Tells whether an image has its label because of an object. */
export type Relevance = RoiSource["relevant"];

/**
 * Finds the annotations of a data set with a layout of its own in `folder`;
 * undefined if that is not its layout.
 */
export type RoiLayout = (
  folder: string,
  entries: readonly ManifestEntry[],
) => Promise<RoiSource | undefined>;

/** The rule for sets without a layout of their own. */
function relevanceIn(entries: readonly ManifestEntry[]): Relevance {
  const labels = new Set(entries.map(({ label }) => label));
  return ({ label }, { type }) =>
    type === undefined || type === label ||
    type !== "lookalike" && !type.endsWith("*") && !labels.has(type);
}

/**
 * The annotations of a manifest, or undefined if it has none.
 *
 * @param layouts of data sets, tried after ours.
 * @throws {DataError} If a file of many images has faults.
 */
export async function readRois(
  { folder, entries }: Pick<Manifest, "folder" | "entries">,
  layouts: readonly RoiLayout[] = [],
): Promise<RoiSource | undefined> {
  if (nameRois(entries)) return named(entries);
  for (const place of [folder, ...foldersElsewhere(folder, entries)]) {
    for (const layout of [inOneTable, ...layouts]) {
      const found = await layout(place, entries);
      if (found) return found;
    }
  }
  return undefined;
}

/**
 * The annotations in the files that a manifest names, or in `regions.csv` beside
 * it, and nowhere else; undefined if there are none.
 *
 * @param isFile tells whether a file exists and may be read.
 * @throws {DataError} If a file of many images has faults.
 */
export async function readNamedRois(
  { folder, entries }: Pick<Manifest, "folder" | "entries">,
  isFile: (path: string) => Promise<boolean>,
): Promise<RoiSource | undefined> {
  if (nameRois(entries)) return named(entries);
  const path = join(folder, REGIONS_FILE);
  return await isFile(path)
    ? await perSet(path, entries, relevanceIn(entries))
    : undefined;
}

/** `source`, with other objects in the place of those of the images in `drawn`. */
export function withDrawn(
  source: RoiSource | undefined,
  drawn: readonly AnnotatedImage[],
  entries: readonly ManifestEntry[],
): RoiSource {
  const objects = new Map(drawn.map(({ image, objects }) => [image, objects]));
  return {
    of: async (entry) =>
      objects.get(entry.image) ?? await source?.of(entry) ?? [],
    has: async (entry) =>
      objects.has(entry.image) || (await source?.has(entry) ?? false),
    relevant: relevanceIn(entries),
  };
}

/**
 * The annotations in one file for all images of a manifest.
 *
 * @throws {DataError} If it has faults, or is of one image, or of other images.
 */
export async function readRoisOf(
  file: string,
  { entries }: Pick<Manifest, "entries">,
): Promise<RoiSource> {
  const images = await imagesIn(file);
  const objects = matchImages(file, images, { entries });
  if (objects.size === 0) {
    throw new DataError(
      `Cannot use the annotations ${file}: ${
        images[0] === undefined
          ? "it has no image; export it again"
          : `none of its images is in the manifest, such as "${
            images[0].image
          }"; write the paths of the manifest`
      }`,
    );
  }
  return ofSet(objects, relevanceIn(entries));
}

/**
 * The annotations in a folder with a file for each image, which has the image's
 * name and its own extension, in place of the image's or behind it.
 *
 * @throws {DataError} If no file has the name of an image.
 */
export async function readRoisIn(
  folder: string,
  { entries }: Pick<Manifest, "entries">,
): Promise<RoiSource> {
  const files = new Map<string, string>();
  for await (const { name, isDirectory } of Deno.readDir(folder)) {
    if (isDirectory || !ANNOTATIONS_NAME.test(name)) continue;
    const image = name.replace(ANNOTATIONS_NAME, "").normalize();
    files.set(image, join(folder, name));
  }
  const locate = ({ path }: ManifestEntry) => {
    const { base, name } = parse(path);
    return files.get(base.normalize()) ?? files.get(name.normalize());
  };
  if (entries.some((entry) => locate(entry) !== undefined)) {
    return perImage(locate, relevanceIn(entries), entries);
  }
  throw new DataError(
    `Cannot use the annotations in ${folder}: no file has the name of an image, such as ${
      parse(entries[0]!.path).base
    }.geojson`,
  );
}

const ANNOTATIONS_NAME = /\.(geojson|json|xml|csv)$/i;

/** The folder of images outside of `folder`, and its parent. */
function foldersElsewhere(
  folder: string,
  entries: readonly ManifestEntry[],
): string[] {
  const image = entries.find(({ path }) =>
    !isUrl(path) && relative(folder, path).startsWith("..")
  );
  if (!image) return [];
  const beside = dirname(image.path);
  return [beside, dirname(beside)];
}

function nameRois(entries: readonly ManifestEntry[]): boolean {
  return entries.some(({ rois }) => rois !== undefined);
}

function named(entries: readonly ManifestEntry[]): RoiSource {
  return perImage(({ rois }) => rois, relevanceIn(entries), entries);
}

async function inOneTable(
  folder: string,
  entries: readonly ManifestEntry[],
): Promise<RoiSource | undefined> {
  const path = join(folder, REGIONS_FILE);
  return await exists(path)
    ? await perSet(path, entries, relevanceIn(entries))
    : undefined;
}

/**
 * Annotations with a file per image, read on demand; several images may name
 * the same file of many.
 *
 * @param entries all images of the manifest, which such a file may mean.
 */
export function perImage(
  locate: (entry: ManifestEntry) => string | undefined,
  relevant: Relevance,
  entries: readonly ManifestEntry[] = [],
): RoiSource {
  const sets = new Map<string, Map<string, AnnotatedObject[]>>();
  return {
    async of(entry) {
      const located = locate(entry);
      if (located === undefined) return [];
      const path = await spelled(located);
      if (!await exists(path)) return [];
      const known = sets.get(path);
      if (known) return known.get(entry.path) ?? [];
      const read = await readAnnotations(path);
      if ("objects" in read) return read.objects;
      const set = matchImages(path, read.images, { entries });
      sets.set(path, set);
      return set.get(entry.path) ?? [];
    },
    async has(entry) {
      const located = locate(entry);
      return located !== undefined && await exists(await spelled(located));
    },
    relevant,
  };
}

/**
 * Annotations with one table for all images, which it names by their paths.
 *
 * @throws {DataError} If it has faults.
 */
export async function perSet(
  path: string,
  entries: readonly ManifestEntry[],
  relevant: Relevance,
): Promise<RoiSource> {
  const images = await imagesIn(path);
  return ofSet(matchImages(path, images, { entries, names: false }), relevant);
}

async function imagesIn(path: string): Promise<AnnotatedImage[]> {
  const read = await readAnnotations(path);
  if ("images" in read) return read.images;
  throw new DataError(
    `Cannot read ${path} as the annotations of many images: it names no image; write a column "image", or name the file in the manifest's column "rois"`,
  );
}

function ofSet(
  objects: ReadonlyMap<string, AnnotatedObject[]>,
  relevant: Relevance,
): RoiSource {
  return {
    of: ({ path }) => Promise.resolve(objects.get(path) ?? []),
    has: ({ path }) => Promise.resolve(objects.has(path)),
    relevant,
  };
}
