/**
 * The log of a run, or of the folds of a cross-validation, and its curves.
 *
 * @module
 */
import { type Line, lineChart } from "./chart.ts";

/** An epoch with its figures. */
export type Epoch = { type: "epoch"; epoch: number } & FigureOf;

/** A fold that is done. */
export type Fold = {
  type: "fold";
  bestEpoch: number;
  images: number;
  accuracy: number | null;
  auc: number | null;
};

/** How a run was started. */
export interface Started {
  type: "run";
  boxes?: { objects: number; images: number; ignored: number };
}

/** A line; those of a cross-validation name their fold. */
export type LogLine = (Epoch | Fold | Started) & {
  protocol?: string;
  fold?: number;
};

type FigureOf = Record<string, number | string | null>;

/** The lines of a text. */
export function logOf(text: string): LogLine[] {
  return text.split("\n").filter(Boolean).map((line) => JSON.parse(line));
}

export function isEpoch(line: LogLine): line is Epoch & LogLine {
  return line.type === "epoch";
}

/** A figure by epoch. */
export function valuesOf(
  epochs: readonly Epoch[],
  name: string,
): (number | null)[] {
  return epochs.map((epoch) => (epoch[name] ?? null) as number | null);
}

/** Figures of the log by chart: their names, as the legend says them. */
const CURVES: Record<string, Record<string, string>> = {
  Loss: { loss: "training", validationLoss: "validation" },
  Accuracy: {
    accuracy: "training",
    validationAccuracy: "validation",
    testAccuracy: "fold",
  },
  AUC: { validationAuc: "validation", testAuc: "fold" },
  Entropy: { tileEntropy: "stage I", subTileEntropy: "stage II" },
};

/** A chart of each kind of figure that the epochs have. */
export function charts(epochs: readonly Epoch[]): HTMLElement[] {
  const lines = (names: Record<string, string>): Line[] =>
    Object.entries(names)
      .map(([key, name]) => ({ name, values: valuesOf(epochs, key) }))
      .filter(({ values }) => values.some((value) => value !== null));
  return Object.entries(CURVES)
    .map(([title, names]) => ({ title, drawn: lines(names) }))
    .filter(({ drawn }) => drawn.length > 0)
    .map(({ title, drawn }) => lineChart(title, drawn));
}
