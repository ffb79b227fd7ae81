/**
 * Which images of a manifest a file of annotations of many images means.
 *
 * @module
 */
import { dirname } from "node:path";
import { DataError } from "../../errors.ts";
import { locateImage, type ManifestEntry } from "../manifest.ts";
import type { AnnotatedImage, AnnotatedObject } from "./object.ts";

/**
 * The objects by the path of the image in the manifest. An image is meant by
 * its path, relative to the file or to its manifest, else by its name alone, if
 * only one image has that name. Others of the file are left out: it may be of a
 * larger set.
 *
 * @param options.names false to go by paths alone.
 * @throws {DataError} If a name fits several images.
 */
export function matchImages(
  file: string,
  images: readonly AnnotatedImage[],
  { entries, names = true }: {
    entries: readonly ManifestEntry[];
    names?: boolean;
  },
): Map<string, AnnotatedObject[]> {
  const byPath = new Map(
    entries.map((entry) => [entry.path.normalize(), entry]),
  );
  const byImage = new Map(
    entries.map((entry) => [entry.image.normalize(), entry]),
  );
  const exact = (image: string) =>
    byPath.get(locateImage(dirname(file), image).normalize()) ??
      byImage.get(image.normalize());
  const found = new Map<string, AnnotatedObject[]>();
  const others: AnnotatedImage[] = [];
  for (const annotated of images) {
    const entry = exact(annotated.image);
    if (entry) add(found, entry, annotated);
    else others.push(annotated);
  }
  if (!names) return found;
  for (const [entry, annotated] of byName(file, others, { entries, found })) {
    add(found, entry, annotated);
  }
  return found;
}

function add(
  found: Map<string, AnnotatedObject[]>,
  { path }: ManifestEntry,
  { objects }: AnnotatedImage,
): void {
  found.set(path, [...found.get(path) ?? [], ...objects]);
}

/** The pairs of those that share a name, unless the file named it by its path. */
function byName(
  file: string,
  images: readonly AnnotatedImage[],
  { entries, found }: {
    entries: readonly ManifestEntry[];
    found: ReadonlyMap<string, unknown>;
  },
): [ManifestEntry, AnnotatedImage][] {
  const named = Map.groupBy(images, ({ image }) => nameOf(image));
  return [...Map.groupBy(entries, ({ image }) => nameOf(image))]
    .filter(([name, alike]) =>
      named.has(name) && !alike.some(({ path }) => found.has(path))
    )
    .map(([name, [entry, ...more]]) => {
      const [annotated, ...others] = named.get(name)!;
      if (more.length === 0 && others.length === 0) {
        return [entry!, annotated!];
      }
      const [first, second] = more.length > 0
        ? [entry!.image, more[0]!.image]
        : [annotated!.image, others[0]!.image];
      throw new DataError(
        `Cannot tell which image ${file} means by "${
          annotated!.image
        }": ${first} and ${second} have that name; write the paths of the manifest`,
      );
    });
}

/** The last part of a path, whatever system wrote it, or of a URL. */
function nameOf(image: string): string {
  return image.slice(
    Math.max(image.lastIndexOf("/"), image.lastIndexOf("\\")) + 1,
  )
    .normalize();
}
