/**
 * Gives the results that are kept here the intervals of lib/eval/intervals.ts:
 * they were made when one fold had a bootstrap interval, and several had only
 * Student's t. Runs are not needed: a row holds the means, Student's t and the
 * number of folds, the manifests the images of each fold.
 *
 *     deno run -A docs/studies/intervals.ts COLON_MANIFEST GTSDB_MANIFEST
 *
 * Running it again changes nothing.
 *
 * @module
 */
import { join } from "node:path";
import { type ManifestEntry, readManifest } from "../../lib/data/manifest.ts";
import {
  aucInterval,
  type ClassCounts,
  hullOf,
  type Interval,
  wilsonInterval,
} from "../../lib/eval/proportion.ts";
import { writeFileAtomically, writeJson } from "../../lib/files.ts";
import { colonStudy } from "../../lib/study/colon.ts";
import { needleStudy } from "../../lib/study/needle.ts";
import {
  figureText,
  INTERVALS_TEXT,
  type StudyResults,
} from "../../lib/study/report.ts";
import type { Figure, StudyRow } from "../../lib/study/rows.ts";
import { trendCharts } from "../../lib/study/trends.ts";

/** The images of a test fold. */
interface Fold {
  images: number;
  /** Undefined if there are more than two classes. */
  classes?: ClassCounts;
}

const HERE = import.meta.dirname!;
const QUICK = { manifest: "none", quick: false };
// As the study draws them: half of its test images are positive.
const NEEDLE: Fold = {
  images: 120,
  classes: { positives: 60, negatives: 60 },
};

const [colonManifest, gtsdbManifest] = Deno.args;
if (colonManifest === undefined || gtsdbManifest === undefined) {
  console.error("Usage: intervals.ts COLON_MANIFEST GTSDB_MANIFEST");
  Deno.exit(2);
}
const colonFolds = Map.groupBy(
  (await readManifest(colonManifest)).entries,
  ({ fold }) => fold!,
);
const { chosenBy = [] } = colonStudy(QUICK);
const colon = ({ unseen }: StudyRow) =>
  [...colonFolds].filter(([fold]) => !unseen || !chosenBy.includes(fold))
    .map(([, entries]) => binaryFold(entries));
const frames = (await readManifest(gtsdbManifest)).entries
  .filter(({ split }) => split === "test").length;

for (const folder of ["colon", "colon/long-seed-1", "colon/samples-30"]) {
  await update(join(HERE, folder), colon);
}
await update(join(HERE, "gtsdb"), () => [{ images: frames }]);
const needle = await update(join(HERE, "needle"), () => [NEEDLE]);
for (const [i, { svg }] of trendCharts(needleStudy(QUICK), needle).entries()) {
  const file = `figures/accuracy-${i + 1}.svg`;
  await writeFileAtomically(join(HERE, "needle", file), svg);
}

function binaryFold(entries: readonly ManifestEntry[]): Fold {
  const positives = entries.filter(({ classIndex }) => classIndex === 1).length;
  const negatives = entries.length - positives;
  return { images: entries.length, classes: { positives, negatives } };
}

/** Rewrites the results of a folder, and the figures in its report. */
async function update(
  folder: string,
  foldsOf: (row: StudyRow) => Fold[],
): Promise<readonly StudyRow[]> {
  const file = join(folder, "results.json");
  const results = JSON.parse(await Deno.readTextFile(file)) as StudyResults;
  const rows = results.rows.map((row) => ({
    ...row,
    accuracy: accuracyOf(row, foldsOf(row)),
    auc: aucOf(row, foldsOf(row)),
  }));
  const path = join(folder, "report.md");
  const report = await Deno.readTextFile(path);
  await writeJson(file, { ...results, rows });
  await writeFileAtomically(path, reportWith(report, results.rows, rows));
  return rows;
}

function accuracyOf(
  { folds, accuracy }: StudyRow,
  all: readonly Fold[],
): Figure {
  assertFolds(folds, all);
  const trials = all.reduce((sum, { images }) => sum + images, 0);
  const successes = accuracy.mean! * trials; // folds of one size
  return withLeast(folds, accuracy, wilsonInterval({ successes, trials })!);
}

function aucOf({ folds, auc }: StudyRow, all: readonly Fold[]): Figure {
  const sets = all.flatMap(({ classes }) => classes ?? [])
    .filter(({ positives, negatives }) => positives > 0 && negatives > 0);
  if (sets.length === 0 || auc.mean === null) return auc;
  return withLeast(folds, auc, aucInterval(auc.mean, ...sets));
}

/** Student's t over folds, and at least `least`; of one fold that alone. */
function withLeast(folds: number, figure: Figure, least: Interval): Figure {
  const { low, high } = figure;
  if (folds === 1 || low === null || high === null) {
    return { ...figure, ...least };
  }
  return { ...figure, ...hullOf({ low, high }, least) };
}

function assertFolds(folds: number, all: readonly Fold[]): void {
  if (folds === all.length) return;
  throw new Error(`A row has ${folds} folds, its data set ${all.length}`);
}

/** The report with the figures of `after` in the place of those of `before`. */
function reportWith(
  report: string,
  before: readonly StudyRow[],
  after: readonly StudyRow[],
): string {
  const rows = before.entries();
  const table = report.split("\n").map((line) => {
    if (!line.startsWith("| ") || /^\| (variant|---)/.test(line)) return line;
    const [i, row] = rows.next().value!;
    const cells = line.split("|");
    if (!cells[1]!.trim().startsWith(row.variant)) {
      throw new Error(`The table has ${cells[1]} where ${row.variant} belongs`);
    }
    cells[6] = ` ${figureText(after[i]!.accuracy)} `;
    cells[7] = ` ${figureText(after[i]!.auc)} `;
    return cells.join("|");
  }).join("\n");
  const best = before.findIndex(({ accuracy, unseen }) =>
    !unseen && spaced(figureText(accuracy)).test(headlineOf(report))
  );
  return table
    .replace(
      spaced(figureText(before[best]!.accuracy)),
      figureText(after[best]!.accuracy),
    )
    .replace(
      /Accuracy, AUC and hit rate are means[^]*?bootstrap[^]*?\)\./,
      INTERVALS_TEXT,
    );
}

function headlineOf(report: string): string {
  return report.slice(0, report.indexOf("`"));
}

/** `text`, over whichever lines it is broken. */
function spaced(text: string): RegExp {
  return new RegExp(RegExp.escape(text).replaceAll("\\x20", "\\s+"));
}
