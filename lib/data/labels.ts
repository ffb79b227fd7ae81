/**
 * Labels that are probably not meant as they are written: two spellings of one,
 * or the word of a program for a missing value.
 *
 * @module
 */
import { DataError, shortened } from "../errors.ts";
import type { TargetName } from "../target.ts";
import { labelReader } from "./goals.ts";
import type { Manifest, ManifestEntry } from "./manifest.ts";
import { count } from "./table.ts";

// As pandas reads them, but not "none", which is a class of many data sets.
const MISSING = new Set([
  "na",
  "n/a",
  "<na>",
  "#na",
  "#n/a",
  "#n/a n/a",
  "nan",
  "-nan",
  "null",
  "1.#ind",
  "-1.#ind",
  "1.#qnan",
  "-1.#qnan",
]);

// More would scroll the first one off the screen.
const SHOWN = 20;

/** The doubts about labels, each with the first line of its images. */
export function doubtfulLabels(
  entries: readonly ManifestEntry[],
  target: TargetName = "classes",
): string[] {
  const { namesIn } = labelReader(target);
  const named = entries.flatMap((entry) =>
    namesIn(entry.label).map((name) => ({ name, entry }))
  );
  const uses = [...Map.groupBy(named, ({ name }) => name)]
    .map(([name, all]): [string, ManifestEntry[]] => [
      name,
      all.map(({ entry }) => entry),
    ]);
  return [
    ...[...Map.groupBy(uses, ([label]) => meaning(label)).values()]
      .filter((spellings) => spellings.length > 1)
      .map((spellings) =>
        `${spellings.map(useText).join(" and ")}: one class?`
      ),
    ...uses.filter(([label]) => MISSING.has(meaning(label)))
      .map((use) => `${useText(use)}: a missing value?`),
    ...uses.filter(([label]) => label !== label.trim())
      .map((use) => `${useText(use)}: with a space at its end?`),
  ];
}

/**
 * Checks that each class has one spelling, and that none is a missing value.
 *
 * @param advice what to do if the labels are meant as they are.
 * @throws {DataError} With all doubtful labels, each by its first line.
 */
export function checkLabels(
  { path, entries, target }: Pick<Manifest, "path" | "entries" | "target">,
  advice: string,
): void {
  const doubts = doubtfulLabels(entries, target);
  if (doubts.length === 0) return;
  const more = doubts.length - SHOWN;
  throw new DataError([
    `Cannot take the labels of ${path} as they are:`,
    ...doubts.slice(0, SHOWN),
    ...(more > 0 ? [`and ${more} more`] : []),
    `correct them, or ${advice}`,
  ].join("\n"));
}

/** The same for all spellings of a label. */
function meaning(label: string): string {
  const text = label.normalize("NFKC").trim().replaceAll(/\s+/g, " ")
    .toLowerCase();
  const isNumber = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/.test(text);
  return isNumber ? String(Number(text)) : text;
}

/** A label with the images that have it. */
function useText([label, entries]: [string, ManifestEntry[]]): string {
  return `"${shortened(label)}" (${count(entries.length, "image")}, line ${
    entries[0]!.line
  })`;
}
