/**
 * Splits and folds of a data set: stratified by label, grouped (a patient's
 * images stay together), seeded, and independent of the order of the rows.
 *
 * @module
 */
import { dirname, relative, resolve } from "node:path";
import { randomKey, RandomStream } from "../../kernels/random.ts";
import { DataError } from "../errors.ts";
import { writeFileAtomically } from "../files.ts";
import { isUrl } from "../image/bytes/source.ts";
import type { ManifestEntry, Split } from "./manifest.ts";
import { count, formatTable } from "./table.ts";

/** Most new folds. */
export const MAX_FOLDS = 1000;

/** Images that stay together, with their count per label. */
interface Group {
  entries: ManifestEntry[];
  labels: Map<string, number>;
}

/** A part to be filled: `share` of the images. */
interface Part {
  name: string;
  share: number;
}

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
  const partOf = assign(entries, parts, seed);
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
 * Returns the entries with a new `fold` from 1 to `folds`, in their order.
 *
 * @throws {DataError} If a class has too few groups for the folds.
 */
export function makeFolds(
  entries: readonly ManifestEntry[],
  { folds, seed }: { folds: number; seed: number },
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
  const partOf = assign(entries, parts, seed);
  return entries.map((entry) => ({ ...entry, fold: partOf.get(entry)! + 1 }));
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

/** Writes a manifest of `entries`, with the columns that any of them fills. */
export async function writeSplits(
  path: string,
  entries: readonly ManifestEntry[],
): Promise<void> {
  const folder = dirname(resolve(path));
  const written = (file: string | undefined) =>
    file === undefined || isUrl(file) ? file : relative(folder, file);
  const optional = (["split", "fold", "group", "mpp", "rois"] as const)
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

/** Index of the part each entry goes to. */
function assign(
  entries: readonly ManifestEntry[],
  parts: readonly Part[],
  seed: number,
): Map<ManifestEntry, number> {
  const groups = makeGroups(entries);
  checkGroups(groups, parts);
  const wanted = targets(entries, parts);
  const filled = parts.map(() => new Map<string, number>());
  const sizes = parts.map(() => 0);
  const partOf = new Map<ManifestEntry, number>();

  for (const { entries: members, labels } of order(groups, wanted, seed)) {
    const costs = parts.map((_, p) => cost(labels, filled[p]!, wanted[p]!));
    const best = costs.keys().reduce((a, b) =>
      costs[b]! - costs[a]! < -TIE ||
        (costs[b]! - costs[a]! <= TIE && sizes[b]! < sizes[a]!)
        ? b
        : a
    );
    for (const [label, n] of labels) {
      filled[best]!.set(label, (filled[best]!.get(label) ?? 0) + n);
    }
    sizes[best]! += members.length;
    for (const entry of members) partOf.set(entry, best);
  }
  checkParts(parts, filled, wanted);
  return partOf;
}

// Costs closer than this are equal but for rounding.
const TIE = 1e-9;

function makeGroups(entries: readonly ManifestEntry[]): Group[] {
  const byGroup = Map.groupBy(
    entries,
    ({ group, path }) =>
      group === undefined ? `image ${path}` : `group ${group}`,
  );
  return [...byGroup.values()].map((members) => ({
    entries: members,
    labels: countLabels(members),
  }));
}

function countLabels(entries: readonly ManifestEntry[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { label, strata = [label] } of entries) {
    for (const name of strata) counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return counts;
}

/** Target number of images of each label in each part: at least one. */
function targets(
  entries: readonly ManifestEntry[],
  parts: readonly Part[],
): Map<string, number>[] {
  const totals = countLabels(entries);
  return parts.map(({ share }) =>
    new Map([...totals].map(([label, n]) => [label, Math.max(1, share * n)]))
  );
}

/**
 * Groups in the order of placement: large ones first, while there is room to
 * balance them; then rare labels; then at random, independent of the order of
 * the rows.
 */
function order(
  groups: Group[],
  [wanted]: Map<string, number>[],
  seed: number,
): Group[] {
  const byName = groups.toSorted((a, b) =>
    firstName(a) < firstName(b) ? -1 : 1
  );
  const rarity = ({ labels }: Group) =>
    Math.min(...labels.keys().map((label) => wanted!.get(label)!));
  const label = ({ labels }: Group) => [...labels.keys()].sort()[0]!;
  const random = new RandomStream(randomKey(seed));
  return random.shuffle(byName).sort((a, b) =>
    b.entries.length - a.entries.length || rarity(a) - rarity(b) ||
    (label(a) < label(b) ? -1 : label(a) > label(b) ? 1 : 0)
  );
}

function firstName({ entries }: Group): string {
  return entries.map(({ image }) => image).sort()[0]!;
}

/**
 * Increase of a part's distance from its targets if it takes a group of
 * `labels`.
 */
function cost(
  labels: Map<string, number>,
  filled: Map<string, number>,
  wanted: Map<string, number>,
): number {
  let sum = 0;
  for (const [label, n] of labels) {
    const excess = (filled.get(label) ?? 0) - wanted.get(label)!;
    sum += (n * n + 2 * n * excess) / wanted.get(label)!;
  }
  return sum;
}

function checkGroups(groups: Group[], parts: readonly Part[]): void {
  const groupsOf = new Map<string, number>();
  for (const { labels } of groups) {
    for (const label of labels.keys()) {
      groupsOf.set(label, (groupsOf.get(label) ?? 0) + 1);
    }
  }
  for (const [label, n] of groupsOf) {
    if (n < parts.length) {
      throw new DataError(
        `Cannot make ${count(parts.length, "part")} (${nameList(parts)}): ` +
          `class "${label}" has only ${count(n, "group")} of images; ` +
          `make fewer parts or add images`,
      );
    }
  }
}

function checkParts(
  parts: readonly Part[],
  filled: Map<string, number>[],
  wanted: Map<string, number>[],
): void {
  for (const [p, { name }] of parts.entries()) {
    for (const label of wanted[p]!.keys()) {
      if (!filled[p]!.has(label)) {
        throw new DataError(
          `Cannot make ${nameList(parts)}: ${name} has no image of class ` +
            `"${label}", because its groups are too large; make fewer parts or ` +
            `write the column by hand`,
        );
      }
    }
  }
}

function nameList(parts: readonly Part[]): string {
  return parts.map(({ name }) => name).join(", ");
}
