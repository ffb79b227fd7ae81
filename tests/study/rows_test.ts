import assert from "node:assert/strict";
import type { EvaluationReport } from "../../lib/eval/report.ts";
import { preset } from "../../lib/model/presets.ts";
import { reportText } from "../../lib/study/report.ts";
import {
  type CellResult,
  rowOf,
  type StudyRow,
  teachersOf,
} from "../../lib/study/rows.ts";
import type { Study, Variant } from "../../lib/study/study.ts";
import type { FoldResult } from "../../lib/train/runs/crossval.ts";

const variant: Variant = {
  name: "changed",
  about: "",
  data: "set",
  config: preset("colon"),
  protocols: ["held-out"],
  seeds: [0],
  against: "main",
};

function close(actual: number, expected: number, tolerance = 1e-9): void {
  assert.ok(
    Math.abs(actual - expected) <= tolerance,
    `${actual} is not ${expected}`,
  );
}

/** A fold whose only figure of interest is its accuracy. */
function fold(number: number, accuracy: number): FoldResult {
  const metric = (value: number | null) => ({ value, interval: null });
  return {
    protocol: "held-out",
    fold: number,
    bestEpoch: 1,
    seconds: 10 * number,
    cpuSeconds: number,
    peakBytes: 1000 + number,
    report: {
      metrics: {
        accuracy: metric(accuracy),
        auc: metric(number === 3 ? null : accuracy),
      },
      confusion: [[5, 0], [0, 5]], // 10 images
      attention: null,
    } as unknown as EvaluationReport,
  };
}

/** The same, with figures of its objects. */
function foldOfObjects(
  accuracy: number,
  hits: Record<"drawn" | "chance", number>,
): FoldResult {
  const only = fold(1, accuracy);
  return {
    ...only,
    report: {
      ...only.report,
      attention: {
        drawn: { value: hits.drawn, interval: null },
        chance: { value: hits.chance, interval: null },
      },
    } as EvaluationReport,
  };
}

function cell(seed: number, accuracies: number[]): CellResult {
  const folds = accuracies.map((accuracy, i) => fold(i + 1, accuracy));
  return { seed, folds };
}

Deno.test("a row can omit the folds that settings were chosen by", () => {
  const cells = [cell(0, [0.5, 0.7, 0.9])];
  const row = rowOf(variant, "held-out", cells, { samples: 10, chosenBy: [1] });
  assert.deepEqual([row.folds, row.unseen], [2, true]);
  close(row.accuracy.mean!, 0.8);
  close(row.cpuSecondsPerFold, 2.5);
});

Deno.test("a row takes the mean over folds of the seeds' means", () => {
  const row = rowOf(variant, "held-out", [
    cell(0, [0.5, 0.7, 0.9]),
    cell(1, [0.7, 0.9, 0.9]),
  ], { samples: 10 });
  assert.deepEqual([row.folds, row.seeds, row.peakBytes], [3, 2, 1003]);
  close(row.accuracy.mean!, (0.6 + 0.8 + 0.9) / 3);
  // Of three folds, not of six runs: t with 2 degrees of freedom is 4.303.
  const sd = Math.sqrt(
    (1 / 6) ** 2 / 2 + (1 / 30) ** 2 / 2 + (2 / 15) ** 2 / 2,
  );
  close(row.accuracy.sd!, sd, 1e-6);
  close(
    row.accuracy.low!,
    row.accuracy.mean! - 4.30265 * sd / Math.sqrt(3),
    1e-4,
  );
  assert.equal(row.accuracy.high, 1); // Student's t would leave [0, 1]
  close(row.auc.mean!, 0.7); // undefined in fold 3
  close(row.secondsPerFold, 20);
  assert.deepEqual(row.hitRate, {
    mean: null,
    sd: null,
    low: null,
    high: null,
  });
});

Deno.test("a difference is taken on the same folds and seeds only", () => {
  const row = rowOf(variant, "held-out", [
    cell(0, [0.5, 0.7]),
    cell(1, [0.1, 0.1]), // the other variant has no seed 1
  ], { samples: 10, other: [cell(0, [0.4, 0.9, 0.3])] });
  assert.equal(row.accuracyDifference!.folds, 2);
  assert.equal(row.accuracyDifference!.against, "main");
  close(row.accuracyDifference!.mean!, (0.1 - 0.2) / 2);
});

Deno.test("another seed makes no new fold of a difference", () => {
  const own = [cell(0, [0.5, 0.7, 0.9]), cell(1, [0.7, 0.5, 0.6])];
  const other = [cell(0, [0.4, 0.7, 0.6]), cell(1, [0.4, 0.6, 0.3])];
  const of = (cells: CellResult[], other: CellResult[]) =>
    rowOf(variant, "held-out", cells, { samples: 10, other })
      .accuracyDifference!;
  const { folds, mean, low } = of(own, other);
  assert.equal(folds, 3);
  // The seeds' means are 0.2, -0.05 and 0.3: t with 2 degrees of freedom.
  close(mean!, 0.15);
  close(low!, 0.15 - 4.30265 * Math.sqrt(0.0325) / Math.sqrt(3), 1e-4);
  // The same again under another seed tells nothing new.
  const again = (cells: CellResult[]) =>
    cells.map((cell) => ({ ...cell, seed: cell.seed + 2 }));
  const repeated = of([...own, ...again(own)], [...other, ...again(other)]);
  close(repeated.low!, low!);
});

Deno.test("one fold has the intervals of its images, under any seeds", () => {
  const rowOfCells = (...cells: CellResult[]) =>
    rowOf(variant, "held-out", cells, { samples: 10 });
  const one = rowOfCells(cell(0, [0.9]));
  // Wilson, 9 of 10; as statsmodels' proportion_confint(9, 10, method="wilson")
  close(one.accuracy.low!, 0.59585, 1e-5);
  close(one.accuracy.high!, 0.98212, 1e-5);
  assert.ok(one.auc.low! > 0.5 && one.auc.high! < 1);
  // Two seeds of 0.8 and 1 are as one of 0.9: no image is new.
  const two = rowOfCells(cell(0, [0.8]), cell(1, [1]));
  assert.deepEqual(two.accuracy, one.accuracy);
  assert.deepEqual(two.auc, one.auc);
});

Deno.test("folds that agree leave the error of their images", () => {
  const row = rowOf(variant, "held-out", [cell(0, [1, 1, 1, 1])], {
    samples: 10,
  });
  // Student's t would say [1, 1]; Wilson's of 40 of 40 is 0.91238 to 1.
  close(row.accuracy.low!, 0.91238, 1e-5);
  assert.equal(row.accuracy.high, 1);
  assert.ok(row.auc.low! > 0.7 && row.auc.low! < 0.95, `${row.auc.low}`);
});

/** The report of rows. */
function reportOf(variants: readonly Variant[], rows: StudyRow[]): string {
  const study: Study = {
    name: "toy",
    title: "Toy",
    question: "Is it?",
    data: {},
    variants,
  };
  return reportText(study, {
    study: "toy",
    command: "",
    environment: {},
    done: 2,
    cells: 2,
    quick: false,
    rows,
  }, []);
}

Deno.test("the first paragraph says which baseline wins", () => {
  const main: Variant = { ...variant, name: "main" };
  delete main.against;
  const baseline: Variant = { ...variant, name: "mean", baseline: true };
  const pooled: Variant = { ...baseline, pooled: true };
  const first = (accuracy: number, variant: Variant, other?: CellResult[]) => {
    const row = (variant: Variant, accuracy: number, samples: number | null) =>
      rowOf(variant, "held-out", [cell(0, [accuracy])], { samples, other });
    const rows = [row(main, 0.8, 10), row(variant, accuracy, null)];
    return reportOf([main, variant], rows).split("\n")[2]!;
  };
  const others = [cell(0, [0.8])];
  assert.match(
    first(0.9, pooled, others),
    /^The highest accuracy is 0\.900 .*\(`mean`, a baseline, held-out\)\. Baselines that win: `mean` by \+0\.100 \(1 fold\) over `main`\.$/,
  );
  assert.match(
    first(0.7, baseline, others),
    /^The highest accuracy is 0\.800 .*\(`main`, held-out, 30 epochs\)\. No baseline does better/,
  );
  // It cannot lose against what is not there.
  assert.match(first(0.7, baseline), /No baseline is compared yet: /);
});

Deno.test("a teacher has the figures of its own, beside its student", () => {
  const [student, other] = [fold(1, 0.6), fold(1, 0.9)];
  const { report } = other;
  const cells = [{
    seed: 0,
    folds: [
      { ...student, teacher: { report, seconds: 5, cpuSeconds: 4 } },
      fold(2, 0.5), // an image was too large for all locations
    ],
  }];
  const teacher: Variant = {
    ...variant,
    name: "teacher",
    teacherOf: variant.name,
    against: variant.name,
  };
  const row = rowOf(teacher, "held-out", cells.map(teachersOf), {
    samples: null,
    other: cells,
  });
  assert.deepEqual([row.folds, row.samples], [1, null]);
  close(row.accuracy.mean!, 0.9);
  close(row.accuracyDifference!.mean!, 0.3);
  assert.deepEqual([row.secondsPerFold, row.cpuSecondsPerFold], [5, 4]);
  const line = reportOf([teacher], [row]).split("\n")
    .find((line) => line.startsWith("| teacher"))!;
  assert.equal(line.split("|")[5]!.trim(), "all");
});

Deno.test("a report tells hits of 0 from no annotation", () => {
  const folds = [foldOfObjects(0.5, { drawn: 0, chance: 0.0138 })];
  const rows = [[{ seed: 0, folds }], [cell(0, [0.5])]].map((cells) =>
    rowOf(variant, "held-out", cells, { samples: 10 })
  );
  const text = reportOf([variant], rows);
  const lines = text.split("\n").filter((line) => line.startsWith("| changed"));
  const hits = lines.map((line) => line.split("|")[8]!.trim());
  assert.deepEqual(hits, ["0.000 (0.014, 0.0)", ""]);
});
