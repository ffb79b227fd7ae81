/**
 * The report of a run, a cross-validation, a study or an evaluation: one HTML
 * file, made of what they recorded.
 *
 * @module
 */
import { basename, join } from "node:path";
import { count } from "../data/table.ts";
import { writeFileAtomically } from "../files.ts";
import type { MeanInterval } from "../eval/bootstrap.ts";
import type { EvaluationReport } from "../eval/report.ts";
import { type AnyReport, isTargetReport } from "../eval/targets/report.ts";
import type { SkippedImage } from "../train/epoch_metrics.ts";
import {
  type AnySummary,
  type FoldResult,
  foldsOfClasses,
  isTargetSummary,
  type ProtocolSummary,
} from "../train/runs/crossval.ts";
import type { Protocol } from "../train/runs/fold_task.ts";
import { duration, figure, megabytes } from "../words.ts";
import { cases } from "./cases.ts";
import { shared, type SharedRun } from "./shared_run.ts";
import { type Content, type Html, html } from "./html.ts";
import { modelCard } from "./model_card.ts";
import { type KeyFigure, type Page, pageText, type Section } from "./page.ts";
import { bar, facts, range, table } from "./parts.ts";
import { REPORT_FILE } from "./report_file.ts";
import {
  type CrossValidationFolder,
  type EvaluationFolder,
  type PredictedCase,
  readRecorded,
  type Recorded,
  type RunFolder,
} from "./records.ts";
import {
  attentionTable,
  confusionTable,
  curves,
  metricsTable,
  summedConfusion,
} from "./scores.ts";
import { studyPage } from "./study_page.ts";
import {
  figureSections,
  targetFigures,
  targetMeans,
  targetRows,
  targetSections,
} from "./targets.ts";
import {
  costFacts,
  costOf,
  dataSection,
  environmentSection,
  learningCharts,
  path,
  settingsSection,
} from "./training.ts";

/** Options of a report. */
export interface ReportOptions {
  /** A run, for readers who may not know where its files lie. */
  shared?: SharedRun | undefined;
  /** Stops the reading of pictures. */
  signal?: AbortSignal | undefined;
}

/**
 * The report of what lies in `path`, as a file.
 *
 * @param path folder of a run, a cross-validation, a study or an evaluation.
 * @throws {UsageError} If it is none of them.
 * @throws {DataError} If a file is damaged.
 */
export async function reportOf(
  path: string,
  { shared: how, signal }: ReportOptions = {},
): Promise<string> {
  const recorded = await readRecorded(path);
  return pageText(
    await pageOf(how ? shared(recorded, how) : recorded, signal),
  );
}

/**
 * Writes the report of what lies in `folder` into it, and returns its path.
 *
 * @throws {UsageError | DataError} As {@linkcode reportOf}.
 */
export async function writeReportOf(
  folder: string,
  options: ReportOptions = {},
): Promise<string> {
  const file = join(folder, REPORT_FILE);
  await writeFileAtomically(file, await reportOf(folder, options));
  return file;
}

async function pageOf(
  recorded: Recorded,
  signal: AbortSignal | undefined,
): Promise<Page> {
  switch (recorded.kind) {
    case "run":
      return await runPage(recorded, signal);
    case "evaluation":
      return await evaluationPage(recorded, signal);
    case "cross-validation":
      return await crossValidationPage(recorded, signal);
    case "study":
      return await studyPage(recorded);
    default:
      throw new TypeError(`Unknown record ${recorded satisfies never}`);
  }
}

async function runPage(
  run: RunFolder,
  signal: AbortSignal | undefined,
): Promise<Page> {
  const { folder, checkpoint, log, entries, evaluations, fold } = run;
  const { metrics, epoch, config } = checkpoint;
  const tests: Section[] = [];
  if (fold) {
    const { report } = fold.result;
    tests.push(...await scoreSections(report, fold.images, { signal }));
  }
  for (const [i, { record, images }] of evaluations.entries()) {
    tests.push(
      ...await scoreSections(record.report, images, {
        signal,
        prefix: `e${i + 1}-`,
        about: evaluationAbout(evaluations[i]!),
        title: `Evaluation on ${basename(record.data)}, ${record.split}`,
      }),
    );
  }
  const tested = fold?.result.report ?? evaluations[0]?.record.report;
  const trained = entries.filter(({ split }) => split === "train");
  return {
    kind: "Training run",
    title: basename(folder),
    lead: `${
      count(trained.length, "training image")
    }, ${checkpoint.classes.length} classes, preset ${config.preset}; the checkpoint is that of epoch ${epoch}.`,
    figures: [
      ...tested ? scoreFigures(tested) : lastFigures(metrics),
      { name: "Time", value: duration(costOf(log).seconds) },
    ],
    sections: [
      ...tests,
      ...trainingSections(run),
      {
        id: "card",
        title: "Model card",
        content: modelCard(checkpoint, {
          trained,
          data: dataOf(run),
          tested: tested?.images ?? 0,
        }),
      },
    ],
  };
}

function dataOf({ log }: RunFolder): string | undefined {
  const data = log[0]?.data;
  return typeof data === "string" ? data : undefined;
}

/** Images that the run has set aside. */
function skippedOf({ log }: RunFolder): readonly SkippedImage[] {
  const skipped = log[0]?.skipped;
  return Array.isArray(skipped) ? skipped : [];
}

function trainingSections(run: RunFolder): Section[] {
  const { log, entries, checkpoint } = run;
  return [
    {
      id: "data",
      title: "Data",
      content: dataSection(entries, {
        data: dataOf(run),
        by: "split",
        skipped: skippedOf(run),
      }),
    },
    {
      id: "curves",
      title: "Training",
      content: learningCharts([log], checkpoint.epoch || null),
    },
    { id: "cost", title: "Time and memory", content: costFacts(log) },
    {
      id: "settings",
      title: "Settings",
      content: settingsSection(checkpoint.config, checkpoint.seed),
    },
    {
      id: "machine",
      title: "Environment",
      content: environmentSection(log[0]),
    },
  ];
}

async function evaluationPage(
  evaluation: EvaluationFolder,
  signal: AbortSignal | undefined,
): Promise<Page> {
  const { record, images, run } = evaluation;
  const { report, data, split, environment } = record;
  const trained = run?.entries.filter(({ split }) => split === "train") ?? [];
  return {
    kind: "Evaluation",
    title: run ? basename(run.folder) : basename(evaluation.folder),
    lead: `${count(report.images, "image")} of ${
      basename(data)
    }, split ${split}.`,
    figures: scoreFigures(report),
    sections: [
      ...await scoreSections(report, images, {
        signal,
        about: evaluationAbout(evaluation),
      }),
      ...run ? trainingSections(run) : [],
      {
        id: "test-machine",
        title: "Environment of the evaluation",
        content: environmentSection(environment),
      },
      ...run
        ? [{
          id: "card",
          title: "Model card",
          content: modelCard(run.checkpoint, {
            trained,
            data: dataOf(run),
            tested: report.images,
          }),
        }]
        : [],
    ],
  };
}

function evaluationAbout({ record, folder }: EvaluationFolder): Html {
  return facts([
    ["Table", html`${path(record.data)}, split ${record.split}`],
    ...record.ensemble
      ? [
        [
          "Ensemble",
          html`${count(record.ensemble.members.length, "model")} of ${
            path(record.ensemble.folder)
          }, ${record.ensemble.protocol}, folds ${
            record.ensemble.members.map(({ fold }) => fold).join(", ")
          }`,
        ] as const,
      ]
      : [],
    ["Checkpoint, SHA-256", html`<code>${record.checkpoint}</code>`],
    ["Sub-tiles an image", record.samples],
    ["Seed", record.seed],
    ["Time", duration(record.seconds)],
    ["Peak memory", megabytes(record.peakBytes)],
    ["Recorded in", path(folder)],
  ]);
}

/** The figures at the head, of images that were scored. */
function scoreFigures(report: AnyReport): KeyFigure[] {
  return isTargetReport(report) ? targetFigures(report) : classFigures(report);
}

function classFigures(
  { images, metrics: { accuracy, auc, expectedCalibrationError } }:
    EvaluationReport,
): KeyFigure[] {
  const shown = { Accuracy: accuracy, AUC: auc };
  return [
    ...Object.entries(shown).map(([name, { value, interval }]) => ({
      name,
      value: figure(value),
      note: range(interval),
    })),
    {
      name: "Calibration error",
      value: figure(expectedCalibrationError.value),
      note: range(expectedCalibrationError.interval),
    },
    { name: "Images tested", value: String(images) },
  ];
}

/** Those of a run that was not tested: of the epoch that was chosen. */
function lastFigures(
  metrics: Readonly<Record<string, number | null>>,
): KeyFigure[] {
  const names = {
    validationAccuracy: "Accuracy, validation",
    validationAuc: "AUC, validation",
    validationLoss: "Loss, validation",
    accuracy: "Accuracy, training",
  };
  return Object.entries(names).filter(([key]) => metrics[key] !== undefined)
    .map(([key, name]) => ({ name, value: figure(metrics[key]) }));
}

/** All sections of images that were scored. */
async function scoreSections(
  report: AnyReport,
  images: readonly PredictedCase[],
  { signal, ...how }: SectionOptions & { signal: AbortSignal | undefined },
): Promise<Section[]> {
  return isTargetReport(report)
    ? targetSections(report, images, how)
    : await classSections(report, images, { signal, ...how });
}

/** How the sections of an evaluation are named. */
interface SectionOptions {
  /** Keeps the anchors of two evaluations apart. */
  prefix?: string;
  about?: Content;
  title?: string;
}

async function classSections(
  report: EvaluationReport,
  images: readonly PredictedCase[],
  { signal, prefix = "", about = null, title = "Metrics" }: SectionOptions & {
    signal: AbortSignal | undefined;
  },
): Promise<Section[]> {
  const { classes, confusion, attention, failures, byGroup } = report;
  return [
    {
      id: `${prefix}metrics`,
      title,
      content: html`${about}${metricsTable(report)}${
        failures.length > 0
          ? html`<h3>Images that could not be read</h3>${
            facts(failures.map(({ image, error }) => [image, error]))
          }`
          : null
      }<h3>Confusion</h3>${confusionTable(confusion, classes)}`,
    },
    ...byGroup
      ? [{
        id: `${prefix}groups`,
        title: `By group, ${byGroup.by}`,
        content: html`<p>${
          count(byGroup.groups, "group")
        } of images, such as patients, each predicted as one; intervals are over groups.</p>${
          metricsTable({ ...byGroup, classes })
        }<h3>Confusion</h3>${confusionTable(byGroup.confusion, classes)}`,
      }]
      : [],
    {
      id: `${prefix}roc`,
      title: "ROC and calibration",
      content: curves(images, classes),
    },
    ...attention
      ? [{
        id: `${prefix}hits`,
        title: "Annotated objects",
        content: attentionTable(attention),
      }]
      : [],
    {
      id: `${prefix}cases`,
      title: "Best and worst cases",
      content: await cases(images, signal),
    },
  ];
}

async function crossValidationPage(
  validation: CrossValidationFolder,
  signal: AbortSignal | undefined,
): Promise<Page> {
  const { folder, record, entries, folds, checkpoint } = validation;
  const { summaries, results, config, seed, environment, skipped } = record;
  // The protocol that did not choose by the test images, if it was run.
  const main = summaries.at(-1);
  const sections: Section[] = [];
  for (const { protocol } of summaries.toReversed()) {
    sections.push(
      ...await protocolSections(validation, protocol, signal),
    );
  }
  return {
    kind: "Cross-validation",
    title: basename(folder),
    lead: `${count(entries.length, "image")} in ${
      count(new Set(entries.map(({ fold }) => fold)).size, "fold")
    }, preset ${config.preset}${
      main ? `; the figures are those of “${main.protocol}”` : ""
    }.`,
    figures: main
      ? [
        ...meansOf(main),
        { name: "Folds done", value: String(results.length) },
      ]
      : [],
    sections: [
      ...sections,
      {
        id: "data",
        title: "Data",
        content: dataSection(entries, { data: undefined, by: "fold", skipped }),
      },
      {
        id: "settings",
        title: "Settings",
        content: settingsSection(checkpoint?.config ?? config, seed),
      },
      {
        id: "machine",
        title: "Environment",
        content: environmentSection(environment ?? folds[0]?.log[0]),
      },
      ...checkpoint
        ? [{
          id: "card",
          title: "Model card",
          content:
            html`<p>Of the first fold's checkpoint; those of the others differ in their weights and calibration.</p>${
              modelCard(checkpoint, {
                trained: entries.filter(({ fold }) =>
                  fold !== results[0]!.fold
                ),
                data: undefined,
                tested: entries.length,
              })
            }`,
        }]
        : [],
    ],
  };
}

function meanFigure(
  name: string,
  { mean, interval }: MeanInterval,
): KeyFigure {
  return { name, value: figure(mean), note: range(interval) };
}

/** The figures at the head of a cross-validation. */
function meansOf(summary: AnySummary): KeyFigure[] {
  return isTargetSummary(summary) ? targetMeans(summary) : [
    meanFigure("Accuracy", summary.accuracy),
    meanFigure("AUC", summary.auc),
    meanFigure("Hit rate", summary.hitRate),
  ];
}

async function protocolSections(
  validation: CrossValidationFolder,
  protocol: Protocol,
  signal: AbortSignal | undefined,
): Promise<Section[]> {
  const { folds, record } = validation;
  const own = folds.filter(({ result }) => result.protocol === protocol);
  const summary = record.summaries.find((one) => one.protocol === protocol)!;
  return isTargetSummary(summary)
    ? [
      {
        id: `${protocol}-folds`,
        title: `Folds, ${protocol}`,
        content: html`<p>${ABOUT[protocol]}</p>${
          meansTable(targetRows(summary))
        }`,
      },
      ...trainingOfFolds(own, protocol),
      ...figureSections(
        { ...summary, classes: own[0]!.result.report.classes },
        own.flatMap(({ images }) => images),
        `${protocol}-`,
      ),
    ]
    : await classProtocolSections(own, summary, signal);
}

/** Means over folds, a line each. */
function meansTable(rows: readonly [string, MeanInterval][]): Html {
  const number = true;
  return table(
    [
      "Mean over folds",
      { title: "Mean", number },
      { title: "Deviation", number },
      "95 % interval",
      "",
    ],
    rows.map(([name, { mean, sd, interval }]) => [
      name,
      figure(mean),
      figure(sd),
      range(interval),
      bar(mean, interval),
    ]),
  );
}

function trainingOfFolds(
  own: CrossValidationFolder["folds"],
  protocol: Protocol,
): Section[] {
  return [{
    id: `${protocol}-curves`,
    title: `Training, ${protocol}`,
    content:
      html`<p class="note">Means over the folds that reached an epoch.</p>${
        learningCharts(own.map(({ log }) => log), null)
      }`,
  }];
}

async function classProtocolSections(
  own: CrossValidationFolder["folds"],
  { protocol, ...summary }: ProtocolSummary,
  signal: AbortSignal | undefined,
): Promise<Section[]> {
  const images = own.flatMap(({ images }) => images);
  const results = foldsOfClasses(own.map(({ result }) => result));
  const { classes } = own[0]!.result.report;
  const rows: [string, MeanInterval][] = [
    ["accuracy", summary.accuracy],
    ["balanced accuracy", summary.balancedAccuracy],
    ["AUC", summary.auc],
    ["hit rate", summary.hitRate],
    ["hit rate by chance", summary.chanceHitRate],
  ];
  return [
    {
      id: `${protocol}-folds`,
      title: `Folds, ${protocol}`,
      content: html`<p>${ABOUT[protocol]}</p>${meansTable(rows)}${
        foldTable(results)
      }<h3>Confusion, all folds</h3>${
        confusionTable(
          summedConfusion(results.map(({ report }) => report.confusion)),
          classes,
        )
      }`,
    },
    ...trainingOfFolds(own, protocol),
    {
      id: `${protocol}-roc`,
      title: `ROC and calibration, ${protocol}`,
      content: html`
        <p
          class="note">The test images of all folds together, each scored by its fold's model; the area of this curve is not the mean of the folds' AUC.</p>${curves(
            images,
            classes,
          )}
      `,
    },
    {
      id: `${protocol}-cases`,
      title: `Best and worst cases, ${protocol}`,
      content: await cases(images, signal),
    },
  ];
}

const ABOUT: Record<Protocol, string> = {
  "best-epoch":
    "The published protocol: each fold reports its best epoch on the fold itself, which is optimistic.",
  "held-out":
    "Each fold is touched once, after its epoch was chosen without it.",
};

function foldTable(results: readonly FoldResult[]): Html {
  const number = true;
  return table(
    [
      { title: "Fold", number },
      { title: "Epoch", number },
      { title: "Images", number },
      { title: "Accuracy", number },
      { title: "AUC", number },
      { title: "Hits", number },
      { title: "Chance", number },
      { title: "Time", number },
      { title: "CPU time", number },
      { title: "Peak memory", number },
    ],
    results.map(({ fold, bestEpoch, report, ...cost }) => [
      fold,
      bestEpoch,
      report.images,
      figure(report.metrics.accuracy.value),
      figure(report.metrics.auc.value),
      figure(report.attention?.drawn.value),
      figure(report.attention?.chance.value),
      duration(cost.seconds),
      duration(cost.cpuSeconds),
      cost.peakBytes === null ? "-" : megabytes(cost.peakBytes),
    ]),
  );
}
