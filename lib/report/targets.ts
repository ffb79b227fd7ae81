/**
 * The sections of a target other than classes: its metrics, and the figure that
 * shows them.
 *
 * @module
 */
import { labelReader } from "../data/goals.ts";
import type { MeanInterval } from "../eval/bootstrap.ts";
import { precisionRecallCurve, rocCurve } from "../eval/curves.ts";
import type { MetricWithInterval } from "../eval/report.ts";
import {
  kaplanMeier,
  type SurvivalStep,
} from "../eval/targets/kaplan_meier.ts";
import type { TargetReport } from "../eval/targets/report.ts";
import {
  type OtherTarget,
  TARGET_METRIC_NAMES,
  UNBOUNDED_METRICS,
} from "../eval/targets/scoring.ts";
import { lineChart, type Series } from "../study/chart.ts";
import type { TargetSummary } from "../train/runs/crossval.ts";
import { figure } from "../words.ts";
import { type Content, type Html, html } from "./html.ts";
import type { KeyFigure, Section } from "./page.ts";
import { bar, charts, facts, range, table } from "./parts.ts";
import type { PredictedCase } from "./records.ts";
import { confusionTable, shareChart } from "./scores.ts";

// As many as have colours of their own.
const CURVES = 7;

type Metrics = Readonly<Record<string, MetricWithInterval>>;

/** The figures at the head of a report. */
export function targetFigures({ metrics, images }: TargetReport): KeyFigure[] {
  return [
    ...Object.entries(metrics).map(([key, { value, interval }]) => ({
      name: nameOf(key),
      value: figure(value),
      note: range(interval),
    })),
    { name: "Images tested", value: String(images) },
  ];
}

/** Those of a cross-validation. */
export function targetMeans({ metrics }: TargetSummary): KeyFigure[] {
  return Object.entries(metrics).map(([key, { mean, interval }]) => ({
    name: nameOf(key),
    value: figure(mean),
    note: range(interval),
  }));
}

/** The means over folds, as rows of a table. */
export function targetRows(
  { metrics }: TargetSummary,
): [string, MeanInterval][] {
  return Object.entries(metrics).map(([key, mean]) => [nameOf(key), mean]);
}

/** The sections of images that were scored. */
export function targetSections(
  report: TargetReport,
  images: readonly PredictedCase[],
  { prefix = "", about = null, title = "Metrics" }: {
    prefix?: string;
    about?: Content;
    title?: string;
  } = {},
): Section[] {
  const { metrics, byLabel = {}, confusion, classes, failures } = report;
  return [
    {
      id: `${prefix}metrics`,
      title,
      content: html`${about}${metricsTable(metrics)}${
        Object.entries(byLabel).map(([label, own]) =>
          html`<h3>${label}, ${own.images} images</h3>${
            metricsTable(own.metrics)
          }`
        )
      }${
        confusion
          ? html`<h3>Confusion</h3>${confusionTable(confusion, classes)}`
          : null
      }${
        failures.length > 0
          ? html`<h3>Images that could not be read</h3>${
            facts(failures.map(({ image, error }) => [image, error]))
          }`
          : null
      }`,
    },
    ...figureSections(report, images, prefix),
  ];
}

/** The figure of a target, from its table of predictions. */
export function figureSections(
  { target, classes }: Pick<TargetReport, "target" | "classes">,
  images: readonly PredictedCase[],
  prefix = "",
): Section[] {
  const figure = FIGURES[target];
  if (!figure || images.length === 0) return [];
  return [{
    id: `${prefix}figure`,
    title: figure.title,
    content: figure.content(images, classes),
  }];
}

/** A figure, and the heading that it stands under. */
interface TargetFigure {
  title: string;
  content: (
    images: readonly PredictedCase[],
    classes: readonly string[],
  ) => Html;
}

const FIGURES: Partial<Record<OtherTarget, TargetFigure>> = {
  labels: { title: "ROC, precision and recall", content: labelCurves },
  value: { title: "Predicted and true values", content: scatter },
  survival: { title: "Kaplan-Meier curves", content: survivalCurves },
};

function nameOf(key: string): string {
  const name = TARGET_METRIC_NAMES[key] ?? key;
  return name[0]!.toUpperCase() + name.slice(1);
}

function metricsTable(metrics: Metrics): Html {
  return table(
    ["Metric", { title: "Value", number: true }, "95 % interval", ""],
    Object.entries(metrics).map(([key, { value, interval }]) => [
      nameOf(key),
      figure(value),
      range(interval),
      UNBOUNDED_METRICS.has(key) ? null : bar(value, interval),
    ]),
  );
}

function labelCurves(
  images: readonly PredictedCase[],
  classes: readonly string[],
): Html {
  const { namesIn } = labelReader("labels");
  const shown = classes.slice(0, CURVES).map((name) => ({
    name,
    images: images.map(({ label, probabilities, where }) => ({
      probability: probabilities[name]!,
      positive: namesIn(label).includes(name),
      group: where?.group,
    })),
  }));
  const series = (curve: typeof rocCurve) =>
    shown.map(({ name, images }): Series => ({
      name,
      points: curve(images),
    }));
  return charts([
    shareChart("ROC", ["false positive rate", "true positive rate"], {
      series: series(rocCurve),
      legend: "bottom right",
      diagonal: true,
    }),
    shareChart("Precision and recall", ["recall", "precision"], {
      series: series(precisionRecallCurve),
      legend: "bottom right",
    }),
  ]);
}

function scatter(images: readonly PredictedCase[]): Html {
  const points = images.map(({ label, predicted }) =>
    [Number(label), Number(predicted)] as const
  );
  const all = points.flat();
  const low = Math.min(...all), high = Math.max(...all, low + 1e-9);
  return charts([
    lineChart("Predicted and true values", {
      x: { label: "true value", low, high },
      y: { label: "predicted value", low, high },
      series: [
        { name: "equal", points: [[low, low], [high, high]], reference: true },
        { name: "images", points, dots: true },
      ],
      hover: true,
    }),
  ]);
}

function survivalCurves(images: readonly PredictedCase[]): Html {
  const { goal } = labelReader("survival");
  const sorted = images.toSorted((a, b) =>
    Number(a.predicted) - Number(b.predicted)
  );
  const half = Math.ceil(sorted.length / 2);
  const groups = [
    { name: "lower risk", images: sorted.slice(0, half) },
    { name: "higher risk", images: sorted.slice(half) },
  ].filter(({ images }) => images.length > 0).map(({ name, images }) => ({
    name,
    steps: kaplanMeier(images.map(({ label }) => goal(label, []))),
  }));
  const last = Math.max(...groups.flatMap(({ steps }) => steps.at(-1)!.time));
  const stairs = (steps: readonly SurvivalStep[], of: keyof SurvivalStep) =>
    steps.flatMap((step, i): [number, number][] =>
      i === 0
        ? [[step.time, step[of]]]
        : [[step.time, steps[i - 1]![of]], [step.time, step[of]]]
    );
  const chart = lineChart("Kaplan-Meier", {
    x: { label: "time", low: 0, high: last || 1 },
    y: { label: "share without an event", low: 0, high: 1 },
    series: [
      ...groups.flatMap(({ name, steps }) =>
        (["low", "high"] as const).map((end): Series => ({
          name: `${name}, ${end} end`,
          points: stairs(steps, end),
          reference: true,
        }))
      ),
      ...groups.map(({ name, steps }): Series => ({
        name,
        points: stairs(steps, "survival"),
      })),
    ],
    legend: "top right",
    hover: true,
  });
  return html`
    ${charts([chart])}<p
      class="note">Images above and below the median of their predicted risk; thin lines are 95 % intervals. The time is in the unit of the table.</p>
  `;
}
