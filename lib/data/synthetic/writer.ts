/**
 * Writes a synthetic data set: images, manifest, regions and the recipe. The
 * folder is written atomically.
 *
 * @module
 */
import { dirname, join, resolve } from "node:path";
import { setTimeout } from "node:timers/promises";
import { UsageError } from "../../errors.ts";
import {
  moveIntoPlace,
  syncFolder,
  temporaryBeside,
  writeAndSync,
} from "../../files.ts";
import type { Size } from "../../image/geometry.ts";
import { libvips } from "../../image/formats/libvips.ts";
import type { Split } from "../manifest.ts";
import type { AnnotatedObject } from "../rois.ts";
import { formatTable } from "../table.ts";

/** A drawn image: 8 bits a channel, row-major `[height, width, channels]`. */
export interface Drawing extends Size {
  data: Uint8Array | Uint8ClampedArray;
  channels: 1 | 3;
  label: string;
  objects: AnnotatedObject[];
}

/** A data set that is drawn image by image, each independent of the others. */
export interface SyntheticDataset {
  /** Content of dataset.json: generator, version, options, seed. */
  recipe: Record<string, unknown>;
  counts: Partial<Record<Split, number>>;
  draw(split: Split, index: number): Drawing;
}

/** Paths of the files of a written data set. */
export interface WrittenDataset {
  manifest: string;
  regions: string;
}

/** Options of {@linkcode writeDataset}. */
export interface WriteOptions {
  /** Aborts between two images; then nothing remains. */
  signal?: AbortSignal;
  onProgress?: (done: number, total: number) => void;
}

const MANIFEST_FILE = "manifest.csv";
const REGIONS_FILE = "regions.csv";
const RECIPE_FILE = "dataset.json";

// PNGs encoded at a time, in the threads of libvips, while the next is drawn.
const ENCODINGS = 2;

/**
 * Draws `dataset` and writes it into the folder `out`.
 *
 * @throws {UsageError} If `out` holds files already.
 */
export async function writeDataset(
  out: string,
  dataset: SyntheticDataset,
  options: WriteOptions = {},
): Promise<WrittenDataset> {
  const folder = resolve(out);
  await checkVacant(out);
  await Deno.mkdir(dirname(folder), { recursive: true });
  const temporary = temporaryBeside(folder);
  try {
    await writeFiles(temporary, dataset, options);
    await moveIntoPlace(temporary, folder);
  } catch (cause) {
    await Deno.remove(temporary, { recursive: true }).catch(() => {});
    throw cause;
  }
  return writtenDataset(out);
}

/** Paths of the files of a data set in the folder `out`. */
export function writtenDataset(out: string): WrittenDataset {
  return {
    manifest: join(out, MANIFEST_FILE),
    regions: join(out, REGIONS_FILE),
  };
}

/** The folder `out` holds the complete `dataset`. */
export async function hasDataset(
  out: string,
  { recipe }: SyntheticDataset,
): Promise<boolean> {
  const file = join(out, RECIPE_FILE);
  const text = await Deno.readTextFile(file).catch(() => undefined);
  return text === recipeText(recipe);
}

function recipeText(recipe: Record<string, unknown>): string {
  return `${JSON.stringify(recipe, null, 2)}\n`;
}

async function checkVacant(out: string): Promise<void> {
  try {
    for await (const _ of Deno.readDir(out)) {
      throw new UsageError(
        `Cannot write a data set to "${out}": the folder is not empty; remove it, or give another --out`,
      );
    }
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound) return;
    if (cause instanceof Deno.errors.NotADirectory) {
      throw new UsageError(
        `Cannot write a data set to "${out}": it is a file`,
        { cause },
      );
    }
    throw cause;
  }
}

async function writeFiles(
  folder: string,
  dataset: SyntheticDataset,
  options: WriteOptions,
): Promise<void> {
  const { rows, regions } = await writeImages(folder, dataset, options);
  const write = (name: string, text: string) =>
    writeAndSync(join(folder, name), new TextEncoder().encode(text));
  await write(MANIFEST_FILE, formatTable(["image", "label", "split"], rows));
  await write(
    REGIONS_FILE,
    formatTable(["image", "left", "top", "right", "bottom", "type"], regions),
  );
  await write(RECIPE_FILE, recipeText(dataset.recipe));
  await syncFolder(folder);
}

/** Draws the images and writes them; returns the lines of both tables. */
async function writeImages(
  folder: string,
  { counts, draw }: SyntheticDataset,
  { signal, onProgress = () => {} }: WriteOptions,
) {
  await Deno.mkdir(join(folder, "images"), { recursive: true });
  const images = (Object.keys(counts) as Split[]).flatMap((split) =>
    Array.from({ length: counts[split]! }, (_, index) => ({ split, index }))
  );
  const rows: string[][] = [];
  const regions: (string | number | undefined)[][] = [];
  const encodings: Promise<void>[] = [];
  try {
    for (const { split, index } of images) {
      await setTimeout(0); // drawing is synchronous: let signals in
      if (signal?.aborted) break;
      const drawing = draw(split, index);
      const image = `images/${split}_${String(index).padStart(5, "0")}.png`;
      rows.push([image, drawing.label, split]);
      for (const { x, y, width, height, type } of drawing.objects) {
        regions.push([image, x, y, x + width, y + height, type]);
      }
      const encoding = encode(drawing, join(folder, image));
      encoding.catch(() => {}); // thrown where it is awaited
      encodings.push(encoding);
      if (encodings.length >= ENCODINGS) await encodings.shift();
      onProgress(rows.length, images.length);
    }
    await Promise.all(encodings);
  } finally {
    await Promise.allSettled(encodings); // before the folder goes
  }
  signal?.throwIfAborted();
  await syncFolder(join(folder, "images"));
  return { rows, regions };
}

async function encode(
  { data, width, height, channels }: Drawing,
  path: string,
): Promise<void> {
  const sharp = await libvips("write a PNG");
  const png = await sharp(data, { raw: { width, height, channels } })
    .png({ compressionLevel: 1 }) // noise hardly compresses: be quick
    .toBuffer();
  await writeAndSync(path, png);
}
