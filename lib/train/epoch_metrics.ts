/**
 * Figures of an epoch from the reports of its steps: for the log, and for who
 * watches.
 *
 * @module
 */
import { NETS, type StepReport } from "./step.ts";

/** Where a run stands. */
export interface Progress {
  epoch: number;
  epochs: number;
  step: number;
  steps: number;
  /** Means over the epoch so far. */
  loss: number;
  accuracy: number;
  imagesPerSecond: number;
  secondsLeft: number;
}

/** Figures of one epoch that the log and the checkpoints keep. */
export type EpochFigures = Record<string, number | null>;

/** Where a run stands after the latest of the epoch's steps. */
export function progressOf(
  reports: readonly StepReport[],
  { elapsedMs, ...place }:
    & Pick<Progress, "epoch" | "epochs" | "steps">
    & { elapsedMs: number },
): Progress {
  const { epoch, epochs, steps } = place;
  const step = reports.length;
  const images = sum(reports.map(({ images }) => images));
  const stepsLeft = (epochs - epoch + 1) * steps - step;
  return {
    ...place,
    step,
    loss: mean(reports.map(({ loss }) => loss)),
    accuracy: sum(reports.map(({ correct }) => correct)) / images,
    imagesPerSecond: images / (elapsedMs / 1000),
    secondsLeft: stepsLeft * elapsedMs / step / 1000,
  };
}

/** Figures of an epoch from its steps. */
export function epochFigures(reports: readonly StepReport[]): EpochFigures {
  const images = sum(reports.map(({ images }) => images));
  const channels = reports[0]!.liveChannels.map((_, c) =>
    reports.some(({ liveChannels }) => liveChannels[c])
  );
  const norms = NETS.map((net) => [
    `gradientNorm_${net}`,
    mean(reports.map(({ gradientNorms }) => gradientNorms[net])),
  ]);
  return {
    loss: mean(reports.map(({ loss }) => loss)),
    accuracy: sum(reports.map(({ correct }) => correct)) / images,
    ...Object.fromEntries(norms),
    liveChannels: channels.filter(Boolean).length,
    featureCosine: mean(reports.map(({ featureCosine }) => featureCosine)),
    tileEntropy: mean(reports.map(({ tileEntropy }) => tileEntropy)),
    subTileEntropy: mean(reports.map(({ subTileEntropy }) => subTileEntropy)),
  };
}

function mean(values: readonly number[]): number {
  return sum(values) / values.length;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
