/**
 * Splits and folds of a data set: stratified by label, grouped (a patient's
 * images stay together), seeded, and independent of the order of the rows.
 *
 * @module
 */
import { dirname, relative, resolve } from "node:path";
import { DataError } from "../errors.ts";
import { writeFileAtomically } from "../files.ts";
import { isUrl } from "../image/bytes/source.ts";
import type { ManifestEntry, Split } from "./manifest.ts";
import { assign } from "./assignment.ts";
import { count, formatTable } from "./table.ts";

/** Most new folds. */
export const MAX_FOLDS = 1000;

/** Options of {@link splitEntries}. */
export interface SplitOptions {
  seed: number;
  /** Fractions of the images; the rest is for training. */
  validation: number;
  test?: number;
}

/**
 * Returns the entries with a new `split`, in their order.
 *
 * @throws {DataError} If a class has too few groups for the parts.
 */
export function splitEntries(
  entries: readonly ManifestEntry[],
  { seed, validation, test = 0 }: SplitOptions,
): ManifestEntry[] {
  for (const fraction of [validation, test, validation + test]) {
    if (!(fraction >= 0 && fraction < 1)) {
      throw new RangeError(
        `Cannot split because fractions must be in [0, 1) and leave some for training: current value is ${fraction}`,
      );
    }
  }
  const sides: { name: Split; share: number }[] = [
    { name: "train", share: 1 - validation - test },
    { name: "validation", share: validation },
    { name: "test", share: test },
  ];
  const parts = sides.filter(({ share }) => share > 0);
  const partOf = assign(entries, parts, { seed });
  return entries.map((entry) => ({
    ...entry,
    split: parts[partOf.get(entry)!]!.name,
  }));
}

/** The images to cut into folds: all but those set aside as `test`. */
export function withoutTest(
  entries: readonly ManifestEntry[],
): ManifestEntry[] {
  return entries.filter(({ split }) => split !== "test");
}

/**
 * What becomes of the sites in new folds:
 *
 *     held-out  each site is in one fold as a whole, so that each fold tests on
 *               sites that were not trained on (Howard et al., Nature
 *               Communications 12, 4423, 2021)
 *     balanced  each site is spread over all folds, each of its labels evenly, so
 *               that no fold tests on what is rare in training
 */
export const SITE_CHOICES = ["held-out", "balanced"] as const;

/** Name of what becomes of the sites. */
export type SiteChoice = (typeof SITE_CHOICES)[number];

/** Options of {@linkcode makeFolds}. */
export interface FoldOptions {
  folds: number;
  seed: number;
  /** What becomes of the sites; they are not looked at if omitted. */
  sites?: SiteChoice | undefined;
}

/**
 * Returns the entries with a new `fold` from 1 to `folds`, in their order. Groups
 * stay together, and labels are even over the folds.
 *
 * @throws {DataError} If a class has too few groups for the folds, or sites, or an
 *   image has no site that needs one.
 */
export function makeFolds(
  entries: readonly ManifestEntry[],
  { folds, seed, sites }: FoldOptions,
): ManifestEntry[] {
  if (!Number.isInteger(folds) || folds < 2) {
    throw new RangeError(
      `Cannot make folds because their number must be an integer >= 2: current value is ${folds}`,
    );
  }
  const parts = Array.from({ length: folds }, (_, i) => ({
    name: `fold ${i + 1}`,
    share: 1 / folds,
  }));
  if (sites) checkSites(entries);
  const partOf = assign(entries, parts, {
    seed,
    ...(sites === "held-out" &&
      { units: wholeSites, unit: "site", exchanged: true }),
    ...(sites === "balanced" &&
      { stratumOf: ({ site, label }) => `${site}\0${label}` }),
  });
  return entries.map((entry) => ({ ...entry, fold: partOf.get(entry)! + 1 }));
}

/** @throws {DataError} If an image has no site. */
function checkSites(entries: readonly ManifestEntry[]): void {
  const without = entries.filter(({ site }) => site === undefined);
  const [first] = without;
  if (!first) return;
  throw new DataError(
    `Cannot make folds by site: ${
      count(without.length, "image")
    } of ${first.manifest} ${
      without.length === 1 ? "has" : "have"
    } no site, the first on line ${first.line}; fill in the column "site", or name another with --site-column`,
  );
}

/** Images of one site, and of sites that share a group, which is not torn. */
function wholeSites(entries: readonly ManifestEntry[]): ManifestEntry[][] {
  const siteOfGroup = new Map<string, string>();
  const parents = new Map<string, string>();
  const rootOf = (site: string): string => {
    const parent = parents.get(site) ?? site;
    return parent === site ? site : rootOf(parent);
  };
  for (const { site, group } of entries) {
    if (group === undefined) continue;
    const first = siteOfGroup.get(group) ?? site!;
    siteOfGroup.set(group, first);
    parents.set(rootOf(site!), rootOf(first));
  }
  return [...Map.groupBy(entries, ({ site }) => rootOf(site!)).values()];
}

/**
 * Cuts a validation part from training entries: the epoch is chosen on it, so
 * that the test images are used only once.
 *
 * @throws {DataError} If a class has too few groups for both parts.
 */
export function validationPart(
  entries: readonly ManifestEntry[],
  { fraction, seed }: { fraction: number; seed: number },
): { train: ManifestEntry[]; validation: ManifestEntry[] } {
  const { train = [], validation = [] } = Object.groupBy(
    splitEntries(entries, { seed, validation: fraction }),
    ({ split }) => split!,
  );
  return { train, validation };
}

/**
 * The test side (the images of `fold`) and the training side (all others).
 *
 * @throws {DataError} If the entries have no folds, or not this one.
 */
export function foldSplit(
  entries: readonly ManifestEntry[],
  fold: number,
): { train: ManifestEntry[]; test: ManifestEntry[] } {
  const folds = [...new Set(entries.map((entry) => entry.fold))];
  if (!folds.includes(fold)) {
    const known = folds.filter((f) => f !== undefined).sort((a, b) => a - b);
    throw new DataError(
      `Cannot test on fold ${fold}: ` +
        (known.length > 0
          ? `the manifest's folds are ${known.join(", ")}`
          : `the manifest has no column "fold"`),
    );
  }
  const { train = [], test = [] } = Object.groupBy(
    entries,
    (entry) => entry.fold === fold ? "test" : "train",
  );
  if (train.length === 0) {
    throw new DataError(
      `Cannot test on fold ${fold}: no image is left to train on, because all are in this fold`,
    );
  }
  const [label, ...others] = new Set(train.map(({ label }) => label));
  if (others.length === 0) {
    throw new DataError(
      `Cannot test on fold ${fold}: all images of the other folds have the label "${label}"`,
    );
  }
  return { train, test };
}

/** How a table names local files. */
export interface PathChoice {
  /**
   * The table may come to other folders and hosts, and the images stay;
   * relative to the table if omitted.
   */
  absolutePaths?: boolean | undefined;
}

/** Writes a manifest of `entries`, with the columns that any of them fills. */
export async function writeSplits(
  path: string,
  entries: readonly ManifestEntry[],
  { absolutePaths = false }: PathChoice = {},
): Promise<void> {
  const folder = dirname(resolve(path));
  const written = (file: string | undefined) =>
    file === undefined || isUrl(file) || absolutePaths
      ? file
      : relative(folder, file);
  const optional = (["split", "fold", "group", "site", "mpp", "rois"] as const)
    .filter((column) => entries.some((entry) => entry[column] !== undefined));
  const rows = entries.map((entry) => [
    written(entry.path),
    entry.label,
    ...optional.map((column) =>
      column === "rois" ? written(entry.rois) : entry[column]
    ),
  ]);
  const table = formatTable(["image", "label", ...optional], rows);
  await writeFileAtomically(path, table);
}
