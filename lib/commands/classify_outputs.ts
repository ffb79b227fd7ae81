/**
 * Files that `classify` writes beside its results, an image at a time: heat maps,
 * sub-tiles and GeoJSON.
 *
 * @module
 */
import { basename, extname, join } from "node:path";
import { UsageError } from "../errors.ts";
import { evidenceFile, type ImageTask } from "./classifier.ts";
import { checkApart, checkOutputFile, namesFolder } from "./shared/outputs.ts";

/** Where to write, as flags name it; a folder for several images. */
export interface OutputFlags {
  heatmap: string | undefined;
  tiles: string | undefined;
  geojson: string | undefined;
}

/** Files of the image at a place. */
type ImageOutputs = (
  place: number,
) => Pick<ImageTask, "heatmap" | "tiles" | "geojson">;

/**
 * Plans the files of all images, and creates their folders.
 *
 * @param inputs which are not to be written over.
 * @throws {UsageError} If two would be one, or a name is of no known format.
 */
export async function imageOutputs(
  { heatmap, tiles, geojson }: OutputFlags,
  images: readonly string[],
  inputs: readonly string[],
): Promise<ImageOutputs> {
  const heatmaps = await outputPaths(
    { flag: "heatmap", out: heatmap, extension: ".png" },
    images,
  );
  const regions = await outputPaths(
    { flag: "geojson", out: geojson, extension: ".geojson" },
    images,
  );
  const folders = await tileFolders(tiles, images);
  const evidences = heatmaps?.map(evidenceFile) ?? [];
  const named = new Set(heatmaps);
  const clash = evidences.find((path) => named.has(path));
  if (clash) throw writtenTwice(clash);
  const files = [...heatmaps ?? [], ...evidences, ...regions ?? []];
  await checkApart(files, inputs);
  checkHeatFormats(heatmaps);
  return (place) => ({
    heatmap: heatmaps?.[place],
    tiles: folders?.[place],
    geojson: regions?.[place],
  });
}

/** One output an image: in a folder, unless one image has its own file. */
async function outputPaths(
  { flag, out, extension }: {
    flag: string;
    out: string | undefined;
    extension: string;
  },
  images: readonly string[],
): Promise<string[] | undefined> {
  if (out === undefined) return undefined;
  if (images.length === 1 && !namesFolder(out)) {
    checkOutputFile(out, `--${flag} ${out}`);
    return [out];
  }
  await Deno.mkdir(out, { recursive: true });
  const paths = images.map((image) => {
    const name = fileName(image);
    return join(out, `${basename(name, extname(name))}${extension}`);
  });
  const twice = firstRepeated(paths);
  if (twice) throw writtenTwice(twice);
  return paths;
}

/** A folder an image for its sub-tiles. */
async function tileFolders(
  out: string | undefined,
  images: readonly string[],
): Promise<string[] | undefined> {
  if (out === undefined) return undefined;
  await makeFolder(out, "--tiles");
  const folders = images.map((image) => {
    const name = fileName(image);
    return join(out, basename(name, extname(name)));
  });
  const twice = firstRepeated(folders);
  if (twice) throw writtenTwice(twice);
  return folders;
}

/** Creates a folder for outputs, unless it is there. */
async function makeFolder(path: string, flag: string): Promise<void> {
  const info = await Deno.stat(path).catch(() => undefined);
  if (info && !info.isDirectory) {
    throw new UsageError(
      `Cannot write ${flag} ${path}: it is a file; name a folder`,
    );
  }
  await Deno.mkdir(path, { recursive: true });
}

const HEAT_FORMATS = [".png", ".tif", ".tiff", ".npy"];

/** @throws {UsageError} If the end of a name is of no format that is written. */
function checkHeatFormats(files: readonly string[] = []): void {
  const wrong = files.find((file) =>
    !HEAT_FORMATS.includes(extname(file).toLowerCase())
  );
  if (wrong === undefined) return;
  throw new UsageError(
    `Cannot write --heatmap ${wrong}: its name must end in ${
      HEAT_FORMATS.join(", ")
    }`,
  );
}

/** The first path that is there a second time. */
function firstRepeated(paths: readonly string[]): string | undefined {
  const seen = new Set<string>();
  return paths.find((path) => {
    const isRepeated = seen.has(path);
    seen.add(path);
    return isRepeated;
  });
}

function writtenTwice(path: string): UsageError {
  return new UsageError(
    `Two images would be written to ${path}: classify images of the same name in separate calls`,
  );
}

/**
 * The last part of a path or URL, without the query, which may hold a
 * signature.
 */
function fileName(image: string): string {
  return basename(image.replace(/^(https?:\/\/[^?#]*).*/is, "$1"));
}
