/**
 * Opens the images of a manifest one by one, and notes what `check` tells of
 * them.
 *
 * @module
 */
import { setTimeout } from "node:timers/promises";
import type { ManifestEntry } from "../data/manifest.ts";
import { ImageError } from "../errors.ts";
import { foregroundOf } from "../image/foreground/tissue.ts";
import { openIdentified } from "../image/open.ts";
import { BlockCache } from "../image/pyramids/block_cache.ts";
import type { Pyramid } from "../image/pyramid.ts";
import { Memory } from "../memory.ts";

/** What the header of an image says. */
export interface CheckedImage {
  /** As the manifest names it. */
  image: string;
  line: number;
  format: string;
  width: number;
  height: number;
  levels: number;
  /** Micrometres per level-0 px: the manifest's, else the file's. */
  mpp: number | null;
  /** Share that is coloured tissue; null if it was not read. */
  foreground: number | null;
  warnings: readonly string[];
}

/** An image that cannot be read. */
export interface UnreadableImage {
  image: string;
  line: number;
  error: string;
}

/** All images of a manifest. */
export interface CheckedImages {
  images: CheckedImage[];
  unreadable: UnreadableImage[];
}

/**
 * Opens every image; a bad one is noted, and the others continue.
 *
 * @param options.read reads some blocks of each level, and the foreground.
 */
export async function checkImages(
  entries: readonly ManifestEntry[],
  { read, onChecked, signal }: {
    read: boolean;
    onChecked: (done: number) => void;
    signal: AbortSignal;
  },
): Promise<CheckedImages> {
  const found: CheckedImages = { images: [], unreadable: [] };
  const { blockCacheBytes, heldPixels } = new Memory();
  const cache = new BlockCache(blockCacheBytes);
  for (const [i, entry] of entries.entries()) {
    await setTimeout(0); // decoded images never wait: let signals in
    signal.throwIfAborted();
    const { image, line, path, mpp } = entry;
    try {
      const opened = await openIdentified(path, { cache, heldPixels, signal });
      try {
        const { format, image: pyramid } = opened;
        const foreground = read ? await readSome(pyramid, signal) : null;
        const { width, height, levels, warnings } = pyramid;
        found.images.push({
          image,
          line,
          format,
          width,
          height,
          levels: levels.length,
          mpp: mpp ?? pyramid.mpp ?? null,
          foreground,
          warnings,
        });
      } finally {
        opened.image.close();
      }
    } catch (error) {
      if (!(error instanceof ImageError)) throw error;
      found.unreadable.push({ image, line, error: error.message });
    }
    onChecked(i + 1);
  }
  return found;
}

// Blocks that are read of each level: its first, its middle and its last.
const PLACES = [0, 0.5, 1];

/** Reads some px of every level; the share of the foreground. */
async function readSome(pyramid: Pyramid, signal: AbortSignal) {
  for (const [level, { width, height }] of pyramid.levels.entries()) {
    for (const place of PLACES) {
      const x = Math.round(place * (width - 1));
      const y = Math.round(place * (height - 1));
      await pyramid.read({ x, y, width: 1, height: 1 }, level, signal);
    }
  }
  try {
    const tissue = await foregroundOf(pyramid, { kind: "tissue" }, signal);
    return tissue?.share ?? 1;
  } catch (error) {
    if (error instanceof ImageError) return 0; // without colour
    throw error;
  }
}
