/**
 * The sections of labelled images: metrics, curves, operating points, confusion.
 *
 * @module
 */
import type { AttentionHitsSummary, Estimate } from "../eval/attention_hits.ts";
import {
  averagePrecision,
  calibrationCurve,
  precisionRecallCurve,
  rocCurve,
  type ScoredImage,
  sensitivityAt,
} from "../eval/curves.ts";
import { type EvaluationReport, METRIC_NAMES } from "../eval/report.ts";
import { type LegendCorner, lineChart, type Series } from "../study/chart.ts";
import { figure } from "../words.ts";
import { type Content, type Html, html } from "./html.ts";
import { bar, charts, range, table } from "./parts.ts";
import type { PredictedCase } from "./records.ts";

// As many as have colours of their own.
const CURVES = 7;
const SPECIFICITIES = [0.8, 0.9, 0.95, 0.99] as const;

type Metrics = EvaluationReport["metrics"];

/** Each metric with its interval. */
export function metricsTable(
  { metrics, classes }: Pick<EvaluationReport, "metrics" | "classes">,
): Html {
  const names = Object.entries(METRIC_NAMES) as [keyof Metrics, string][];
  return html`${
    table(
      ["Metric", { title: "Value", number: true }, "95 % interval", ""],
      names.map(([key, name]) => {
        const { value, interval } = metrics[key];
        return [
          name,
          figure(value),
          range(interval),
          key === "logLoss" ? null : bar(value, interval), // it may exceed 1
        ];
      }),
    )
  }${
    classes.length === 2
      ? html`<p class="note">AUC, F1 and Brier score are those of “${classes[
        1
      ]!}”.</p>`
      : null
  }`;
}

/** Images by true and predicted class, shaded by their share of the true one. */
export function confusionTable(
  confusion: readonly (readonly number[])[],
  classes: readonly string[],
): Html {
  const share = (row: readonly number[], count: number) =>
    (count / Math.max(1, row.reduce((a, b) => a + b, 0))).toFixed(3);
  return html`
    <div class="scroll">
      <table class="confusion">
        <thead>
          <tr><th>true \\ predicted</th>${classes.map((name) =>
            html`<th scope="col">${name}</th>`
          )}</tr>
        </thead>
        <tbody>${confusion.map((row, i) =>
          html`
            <tr><th scope="row">${classes[i]!}</th>${row.map((count, j) =>
              html`<td class="${i === j ? "right" : ""}" style="--share:${
                share(row, count)
              }">${count}</td>`
            )}</tr>
          `
        )}</tbody>
      </table>
    </div>
  `;
}

/** The confusion of all folds. */
export function summedConfusion(
  matrices: readonly (readonly (readonly number[])[])[],
): number[][] {
  const [first = []] = matrices;
  return first.map((row, i) =>
    row.map((_, j) => matrices.reduce((sum, matrix) => sum + matrix[i]![j]!, 0))
  );
}

/** ROC, precision and recall, and calibration of the classes. */
export function curves(
  images: readonly PredictedCase[],
  classes: readonly string[],
): Content {
  if (images.length === 0) return NO_PREDICTIONS;
  const shown = shownClasses(images, classes);
  const scored = shown.map((name) => scoredImages(images, name));
  const series = (
    curve: (images: readonly ScoredImage[]) => Series["points"],
    dots = false,
  ) =>
    shown.map((name, i): Series => ({
      name: `class ${name}`,
      points: curve(scored[i]!),
      dots,
    }));
  return html`
    ${charts([
      shareChart("ROC", ["false positive rate", "true positive rate"], {
        series: series(rocCurve),
        legend: "bottom right",
        diagonal: true,
      }),
      shareChart("Precision and recall", ["recall", "precision"], {
        series: series(precisionRecallCurve),
        legend: "bottom right",
      }),
      shareChart("Calibration", ["mean probability", "share of the class"], {
        series: series(calibrationCurve, true),
        diagonal: true,
      }),
    ])}<p
      class="note">${shown.length < classes.length && classes.length > 2
        ? `One class against all others; the ${shown.length} with most images. `
        : classes.length > 2
        ? "One class against all others. "
        : null}Calibration: ten bins of equal width; on the diagonal, as many images belong to the class as its probability says.</p>
    <h3>Sensitivity at stated specificities</h3>
    ${operatingPoints(shown, scored)}
  `;
}

const NO_PREDICTIONS = html`<p>No table of predictions was recorded.</p>`;

/** The second of two classes; else those with most images. */
function shownClasses(
  images: readonly PredictedCase[],
  classes: readonly string[],
): string[] {
  if (classes.length === 2) return [classes[1]!];
  const count = (name: string) =>
    images.filter(({ label }) => label === name).length;
  const most = classes.toSorted((a, b) => count(b) - count(a)).slice(0, CURVES);
  return classes.filter((name) => most.includes(name));
}

/** The images as those of a class, or not. */
export function scoredImages(
  images: readonly PredictedCase[],
  positive: string,
): ScoredImage[] {
  return images.map(({ label, probabilities, where }) => ({
    probability: probabilities[positive]!,
    positive: label === positive,
    group: where?.group,
  }));
}

function operatingPoints(
  classes: readonly string[],
  scored: readonly (readonly ScoredImage[])[],
): Html {
  const rows = classes.flatMap((name, i) => {
    const images = scored[i]!;
    const points = SPECIFICITIES.map((at) => sensitivityAt(images, at))
      .filter((point) => point !== null);
    return points.map(
      ({ atLeast, specificity, sensitivity, interval, threshold }) => [
        name,
        figure(atLeast),
        figure(specificity),
        figure(sensitivity),
        range(interval),
        bar(sensitivity, interval),
        threshold.toFixed(4),
      ],
    );
  });
  if (rows.length === 0) {
    return html`<p>No threshold reaches them: the images of one class only, or too few.</p>`;
  }
  const number = true;
  return html`
    ${table([
      "Class",
      { title: "Specificity, at least", number },
      { title: "reached", number },
      { title: "Sensitivity", number },
      "95 % interval",
      "",
      { title: "Threshold", number },
    ], rows)}<p
      class="note">The thresholds were chosen on these same images, which is optimistic: check them on others. Average precision: ${classes
        .map((name, i) => `${name} ${figure(averagePrecision(scored[i]!))}`)
        .join(", ")}.</p>
  `;
}

/** A chart of two shares. */
export function shareChart(
  title: string,
  [x, y]: readonly [string, string],
  { series, legend, diagonal = false }: {
    series: readonly Series[];
    legend?: LegendCorner;
    diagonal?: boolean;
  },
): string {
  const reference: Series = {
    name: "diagonal",
    points: [[0, 0], [1, 1]],
    reference: true,
  };
  return lineChart(title, {
    x: { label: x, low: 0, high: 1 },
    y: { label: y, low: 0, high: 1 },
    series: [...diagonal ? [reference] : [], ...series],
    ...(legend && { legend }),
    hover: true,
  });
}

/** Hits of annotated objects, beside what chance would hit. */
export function attentionTable(
  { images, drawn, mass, top, chance, drawnToChance }: AttentionHitsSummary,
): Html {
  const row = (name: string, { value, interval }: Estimate) => [
    name,
    figure(value),
    range(interval),
    bar(value, interval, { second: chance.value }),
  ];
  return html`<p>On ${images} images with annotated objects; the grey tick is chance.</p>${
    table(
      ["Share", { title: "Value", number: true }, "95 % interval", ""],
      [
        row("sub-tiles that hit an object", drawn),
        row("their weight", mass),
        row("images whose heaviest sub-tile hits", top),
        row("by chance", chance),
        row("ratio of hits to chance", drawnToChance),
      ],
    )
  }`;
}
