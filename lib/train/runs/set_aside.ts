/**
 * The images that cannot be read: found before the first epoch, and set aside if
 * the user wants that. A run that continues sets the same ones aside.
 *
 * @module
 */
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import type { ManifestEntry } from "../../data/manifest.ts";
import { count } from "../../data/table.ts";
import { ImageError, isOfContent, retold } from "../../errors.ts";
import { exists, writeJson } from "../../files.ts";
import type { ImageCache } from "../../image/image_cache.ts";
import { openAtMpp } from "../../image/resampled.ts";
import type { Config } from "../../model/config.ts";
import type { SkippedImage } from "../epoch_metrics.ts";

/** The images that a run has set aside, in its folder. */
const SKIPPED_FILE = "skipped.json";

// Images opened together, as a batch is.
const TOGETHER = 4;
// More are counted: a whole folder may be missing.
const SHOWN = 100;

/** Options of {@linkcode setAside}. */
export interface SetAsideOptions {
  config: Config;
  cache: ImageCache;
  /** Folder of the run. */
  folder: string;
  /**
   * Sets images aside that cannot be read; they are errors if false, or if omitted,
   * where there is no such choice.
   */
  skipBad?: boolean | undefined;
  /** Continues a run. */
  resume: boolean;
  /** Called after each image. */
  onOpened?: ((done: number, total: number) => void) | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * Opens every image, and reads its last block.
 *
 * @returns those that cannot be read.
 * @throws {ImageError} With all of them, unless they are to be set aside.
 */
export async function setAside(
  entries: readonly ManifestEntry[],
  { folder, skipBad, resume, ...options }: SetAsideOptions,
): Promise<SkippedImage[]> {
  const recorded = resume ? await readSkipped(folder) : [];
  const known = new Set(recorded.map(({ path }) => path));
  const rest = entries.filter(({ path }) => !known.has(path));
  const bad = await unreadable(rest, options);
  if (bad.length > 0 && !skipBad) {
    throw refusal(
      bad,
      skipBad === undefined
        ? "mend them, or remove their lines"
        : "mend them, or train without them with --skip-bad",
    );
  }
  // Later than at the start they are skipped epoch by epoch: the batches of a
  // run do not change.
  return resume ? recorded : bad.map(skippedImage);
}

/** Records what was set aside, so that the run continues without it. */
export async function writeSkipped(
  folder: string,
  skipped: readonly SkippedImage[],
): Promise<void> {
  const file = join(folder, SKIPPED_FILE);
  if (skipped.length > 0) await writeJson(file, skipped);
  // Else there may be that of a run that was started and ended at once.
  else await Deno.remove(file).catch(() => {});
}

/** What was set aside when a run was started. */
export async function readSkipped(folder: string): Promise<SkippedImage[]> {
  const file = join(folder, SKIPPED_FILE);
  return await exists(file) ? JSON.parse(await Deno.readTextFile(file)) : [];
}

/** An image that cannot be read, and why. */
export interface BadImage {
  entry: ManifestEntry;
  error: ImageError;
}

/** A bad image as results and logs record it. */
export function skippedImage({ entry, error }: BadImage): SkippedImage {
  const { image, path, line } = entry;
  return { image, path, line, error: error.message };
}

async function unreadable(
  entries: readonly ManifestEntry[],
  { config, cache, onOpened, signal }: Omit<
    SetAsideOptions,
    "folder" | "skipBad" | "resume"
  >,
): Promise<BadImage[]> {
  const bad: BadImage[] = [];
  let done = 0;
  const queue = entries.values();
  const openEach = async () => {
    for (const entry of queue) {
      await setTimeout(0); // decoded images never wait: let signals in
      try {
        await openOnce(entry, { cache, mpp: config.mpp, signal });
      } catch (error) {
        if (!(error instanceof ImageError)) throw error;
        bad.push({ entry, error });
      }
      onOpened?.(++done, entries.length);
    }
  };
  await Promise.all(Array.from({ length: TOGETHER }, openEach));
  return bad.sort((a, b) => a.entry.line - b.entry.line);
}

/** Opens an image, and reads the end of its largest and smallest level. */
async function openOnce(
  entry: ManifestEntry,
  { cache, mpp, signal }: {
    cache: ImageCache;
    mpp: number | null;
    signal: AbortSignal | undefined;
  },
): Promise<void> {
  const pyramid = await openAtMpp(cache, entry, mpp, signal);
  try {
    for (const level of new Set([0, pyramid.levels.length - 1])) {
      const { width, height } = pyramid.levels[level]!;
      const corner = { x: width - 1, y: height - 1, width: 1, height: 1 };
      await pyramid.read(corner, level, signal);
    }
  } finally {
    pyramid.close();
  }
}

/** An error of all bad images; of the kind that may pass, if any may. */
function refusal(bad: readonly BadImage[], advice: string): ImageError {
  const lines = bad.slice(0, SHOWN).map(({ entry, error }) =>
    `${entry.manifest}:${entry.line}: ${error.message}`
  );
  const more = bad.length - lines.length;
  const cause = bad.find(({ error }) => !isOfContent(error)) ?? bad[0]!;
  return retold(
    cause.error,
    [
      `Cannot train: ${count(bad.length, "image")} cannot be read:`,
      ...lines,
      ...(more > 0 ? [`and ${more} more`] : []),
      advice,
    ].join("\n"),
  );
}
