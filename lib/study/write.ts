/**
 * Writes the results of a study so far: results.json, report.md, figures.
 *
 * @module
 */
import { join } from "node:path";
import type { Manifest } from "../data/manifest.ts";
import { writeFileAtomically, writeJson } from "../files.ts";
import { calibrationCurve, rocCurve } from "../eval/curves.ts";
import { learningCurve } from "../train/learning_curve.ts";
import { PROTOCOLS } from "../train/runs/fold_task.ts";
import { lineChart, type Series } from "./chart.ts";
import { foldLogs, foldPredictions } from "./files.ts";
import { type Illustration, reportText, type StudyResults } from "./report.ts";
import {
  type CellResult,
  foldsOf,
  rowOf,
  type StudyRow,
  teachersOf,
} from "./rows.ts";
import { attentionSample } from "./attention_sample.ts";
import type { Cell, Study, Variant } from "./study.ts";
import { trendCharts } from "./trends.ts";

/** Figures of a study, in its folder. */
export const RESULTS_FILE = "results.json";

/** A cell that was run, or some of its folds. */
export interface DoneCell {
  cell: Cell;
  result: CellResult;
  /** By number of sub-tiles at evaluation, as far as it was done. */
  rescored: ReadonlyMap<number, CellResult>;
  manifest: Manifest;
}

/** Writes the report of the cells that are done, and returns results.json. */
export async function writeReport(
  folder: string,
  study: Study,
  done: readonly DoneCell[],
  about: Omit<StudyResults, "study" | "rows" | "about">,
): Promise<StudyResults> {
  await Deno.mkdir(join(folder, "figures"), { recursive: true });
  const results: StudyResults = {
    study: study.name,
    ...about,
    rows: study.variants.flatMap((variant) => rowsOf(variant, study, done)),
    about: {
      title: study.title,
      question: study.question,
      notes: study.notes ?? [],
      variants: study.variants.map(({ name, about }) => ({ name, about })),
    },
  };
  const illustrations = await trendsOf(folder, study, results.rows);
  for (const variant of study.variants) {
    illustrations.push(
      ...await curvesOf(folder, variant, done),
      ...await sampleOf(folder, study, variant, done),
    );
  }
  await writeJson(join(folder, RESULTS_FILE), results);
  await writeFileAtomically(
    join(folder, "report.md"),
    reportText(study, results, illustrations),
  );
  return results;
}

function rowsOf(
  variant: Variant,
  { chosenBy }: Study,
  done: readonly DoneCell[],
): StudyRow[] {
  const { teacherOf, pooled } = variant;
  const own = done.filter(({ cell }) =>
    cell.variant.name === (teacherOf ?? variant.name)
  );
  if (own.length === 0) return [];
  const other = done
    .filter(({ cell }) => cell.variant.name === variant.against)
    .map(({ result }) => result);
  const results = own.map(({ result }) =>
    teacherOf === undefined ? result : teachersOf(result)
  );
  const samples = teacherOf !== undefined || pooled
    ? null
    : variant.config.evaluation.samples;
  const rows = PROTOCOLS
    .filter((protocol) => foldsOf(results, protocol).length > 0)
    .map((protocol) => rowOf(variant, protocol, results, { samples, other }));
  const unseen = foldsOf(results, "held-out")
    .filter(({ fold }) => !chosenBy?.includes(fold));
  if (chosenBy && !variant.against && unseen.length > 0) {
    rows.push(rowOf(variant, "held-out", results, { samples, chosenBy }));
  }
  const rescored = (variant.samples ?? []).flatMap((samples) => {
    const found = own.map(({ rescored }) => rescored.get(samples))
      .filter((result) => result !== undefined);
    if (found.length === 0) return [];
    const itself = { ...variant, against: variant.name };
    return [rowOf(itself, "held-out", found, { samples, other: results })];
  });
  return [...rows, ...rescored];
}

/** Charts of accuracy against the quantity that the study varies. */
async function trendsOf(
  folder: string,
  study: Study,
  rows: readonly StudyRow[],
): Promise<Illustration[]> {
  const charts = trendCharts(study, rows);
  return await Promise.all(charts.map(async ({ name, svg }, i) => {
    const path = `figures/accuracy-${i + 1}.svg`;
    await writeFileAtomically(join(folder, path), svg);
    return { title: `Accuracy: ${name}`, path };
  }));
}

/** Learning curves, ROC and calibration of one variant. */
async function curvesOf(
  folder: string,
  { name, protocols, pooled }: Variant,
  done: readonly DoneCell[],
): Promise<Illustration[]> {
  const own = done.filter(({ cell }) => cell.variant.name === name);
  const results = own.map(({ result }) => result);
  const protocol = protocols.find((protocol) =>
    foldsOf(results, protocol).length > 0
  );
  if (!protocol) return [];
  const logs = pooled ? [] : (await Promise.all(
    own.map(({ cell, result }) =>
      foldLogs(join(folder, cell.folder), protocol, result.folds)
    ),
  )).flat();
  const { classes } = own[0]!.manifest;
  const curves = classes.map(async (positive) =>
    (await Promise.all(
      own.map(({ cell, result }) =>
        foldPredictions(join(folder, cell.folder), protocol, {
          folds: result.folds,
          positive,
        })
      ),
    )).flat()
  );
  // The curves of two classes mirror each other: one is enough.
  const shown = classes.length === 2 ? [1] : [...classes.keys()];
  const images = await Promise.all(shown.map((i) => curves[i]!));
  const named = shown.map((i) => `class ${classes[i]}`);
  const charts: (readonly [kind: string, svg: string])[] = [
    ...(pooled ? [] : [["learning", learningChart(name, logs)] as const]),
    [
      "roc",
      shareChart(`${name}: ROC`, ["false positives", "true positives"], {
        series: images.map((images, i) => ({
          name: named[i]!,
          points: rocCurve(images),
        })),
      }),
    ],
    [
      "calibration",
      shareChart(`${name}: calibration`, ["probability", "share"], {
        series: images.map((images, i) => ({
          name: named[i]!,
          points: calibrationCurve(images),
          dots: true,
        })),
      }),
    ],
  ];
  return await Promise.all(charts.map(async ([kind, svg]) => {
    const path = `figures/${name}-${kind}.svg`;
    await writeFileAtomically(join(folder, path), svg);
    return { title: `${name}: ${kind}`, path };
  }));
}

/** The heat map of a variant with attention on one image it was tested on. */
async function sampleOf(
  folder: string,
  study: Study,
  { name, config, data, pooled }: Variant,
  done: readonly DoneCell[],
): Promise<Illustration[]> {
  const own = done.find(({ cell }) => cell.variant.name === name);
  if (!own || pooled || config.network.attention !== "learned") return [];
  const { cell, result, manifest } = own;
  const photograph = study.data[data]!.photographs ?? false;
  for (const fold of foldsOf([result], "held-out")) {
    const found = await attentionSample(join(folder, cell.folder), fold, {
      manifest,
      photograph,
    });
    if (!found) continue;
    const path = `figures/${name}-attention.png`;
    await Deno.copyFile(found.path, join(folder, path));
    return [{ title: `${name}: attention, ${found.about}`, path }];
  }
  return [];
}

function learningChart(
  name: string,
  logs: Awaited<ReturnType<typeof foldLogs>>,
): string {
  const series: Series[] = ["loss", "validationLoss", "testLoss"]
    .map((figure) => ({ name: figure, points: learningCurve(logs, figure) }))
    .filter(({ points }) => points.length > 0);
  const all = series.flatMap(({ points }) => points);
  return lineChart(`${name}: loss, mean over folds`, {
    x: {
      label: "epoch",
      low: 0,
      high: Math.max(1, ...all.map(([epoch]) => epoch)),
    },
    y: { label: "loss", low: 0, high: Math.max(0.1, ...all.map(([, y]) => y)) },
    series,
  });
}

function shareChart(
  title: string,
  [x, y]: readonly [string, string],
  { series }: { series: readonly Series[] },
): string {
  const diagonal: Series = {
    name: "diagonal",
    points: [[0, 0], [1, 1]],
    reference: true,
  };
  return lineChart(title, {
    x: { label: x, low: 0, high: 1 },
    y: { label: y, low: 0, high: 1 },
    series: [diagonal, ...series],
  });
}
