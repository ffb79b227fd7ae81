/**
 * The images of a table, summed up.
 *
 * @module
 */
import type { CheckedImage } from "./checked_images.ts";

/** The least, the middle and the largest of some values. */
export interface Spread {
  min: number;
  median: number;
  max: number;
}

/** The images that can be read. */
export interface ImagesSummary {
  /** Images by format. */
  formats: Record<string, number>;
  /** Longer and shorter side, px. */
  longSide: Spread;
  shortSide: Spread;
  levels: Spread;
  /** Micrometres per px; null if no image states them. */
  mpp: Spread | null;
  /** Images that do not state them. */
  withoutMpp: number;
  /** Share of tissue; null if it was not read. */
  foreground: Spread | null;
  /** Images by what their decoders warn of. */
  warnings: Record<string, number>;
}

/** Sums up the images; null if there are none. */
export function summaryOf(
  images: readonly CheckedImage[],
): ImagesSummary | null {
  if (images.length === 0) return null;
  const mpps = images.flatMap(({ mpp }) => mpp ?? []);
  const shares = images.flatMap(({ foreground }) => foreground ?? []);
  const of = (value: (image: CheckedImage) => number) =>
    spread(images.map(value));
  return {
    formats: counts(images.map(({ format }) => format)),
    longSide: of(({ width, height }) => Math.max(width, height)),
    shortSide: of(({ width, height }) => Math.min(width, height)),
    levels: of(({ levels }) => levels),
    mpp: mpps.length > 0 ? spread(mpps) : null,
    withoutMpp: images.length - mpps.length,
    foreground: shares.length > 0 ? spread(shares) : null,
    warnings: counts(images.flatMap(({ warnings }) => warnings)),
  };
}

function spread(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  return {
    min: sorted[0]!,
    median: sorted[Math.floor((sorted.length - 1) / 2)]!,
    max: sorted.at(-1)!,
  };
}

function counts(words: readonly string[]): Record<string, number> {
  return Object.fromEntries(
    [...Map.groupBy(words, (word) => word)]
      .map(([word, same]) => [word, same.length]),
  );
}
