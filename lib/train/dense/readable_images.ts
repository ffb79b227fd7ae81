/**
 * Images that go bad while a run on all locations reads them: they are read again,
 * and then left out of the run, if the user wants that.
 *
 * @module
 */
import { setTimeout } from "node:timers/promises";
import type { ManifestEntry } from "../../data/manifest.ts";
import { ImageError } from "../../errors.ts";
import type { OnSkipped } from "../batches.ts";
import type { SkippedImage } from "../epoch_metrics.ts";
import { RETRY_MS } from "../trainer.ts";

/** Reads an image; undefined if it is left out. */
export type ReadImage = <T>(
  entry: ManifestEntry,
  read: () => Promise<T>,
) => Promise<T | undefined>;

/** The images of a run that can be read. */
export class ReadableImages {
  readonly #skipBad: boolean;
  readonly #skipped = new Map<string, SkippedImage>(); // by path

  /** @param skipBad images that cannot be read are left out; else they are errors. */
  constructor(skipBad: boolean) {
    this.#skipBad = skipBad;
  }

  /** The images that were left out. */
  get skipped(): SkippedImage[] {
    return [...this.#skipped.values()];
  }

  /** Leaves an image out; undefined if such images are errors. */
  get onSkipped(): OnSkipped | undefined {
    return this.#skipBad ? this.#skip : undefined;
  }

  #skip: OnSkipped = ({ image, path, line }, { message }) => {
    this.#skipped.set(path, { image, path, line, error: message });
  };

  /** Reads an image, a second time if that fails. */
  read: ReadImage = async (entry, read) => {
    if (!this.#skipBad) return await read();
    if (this.#skipped.has(entry.path)) return undefined;
    try {
      return await this.#again(read);
    } catch (error) {
      if (!(error instanceof ImageError)) throw error;
      this.#skip(entry, error);
      return undefined;
    }
  };

  async #again<T>(read: () => Promise<T>): Promise<T> {
    try {
      return await read();
    } catch (error) {
      if (!(error instanceof ImageError)) throw error;
      await setTimeout(RETRY_MS);
      return await read();
    }
  }

  /**
   * Does `work` on images, from the start without those that it cannot read.
   *
   * @param undo makes all as it was before the work.
   * @throws What `work` throws, if that is no error of one of the images.
   */
  async workOn<Image extends { entry: ManifestEntry }, T>(
    images: readonly Image[],
    work: (images: readonly Image[]) => Promise<T>,
    undo: () => void,
  ): Promise<T> {
    if (!this.#skipBad) return await work(images);
    const failed = new Set<string>(); // once
    for (;;) {
      const left = images.filter(({ entry }) => !this.#skipped.has(entry.path));
      try {
        return await work(left);
      } catch (error) {
        const bad = error instanceof ImageError && namedBy(error, left);
        if (!bad) throw error;
        undo();
        if (failed.has(bad.path)) this.#skip(bad, error);
        else await setTimeout(RETRY_MS);
        failed.add(bad.path);
      }
    }
  }
}

/** The image that an error names: of several the one with the longest path. */
function namedBy(
  { message }: ImageError,
  images: readonly { entry: ManifestEntry }[],
): ManifestEntry | undefined {
  return images.map(({ entry }) => entry)
    .filter(({ path }) => message.includes(path))
    .sort((a, b) => b.path.length - a.path.length)[0];
}
