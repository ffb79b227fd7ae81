/**
 * Figures of an epoch from the reports of its steps, for the log and for
 * progress.
 *
 * @module
 */
import { NETS, type StepReport } from "./step/step.ts";

/** Progress of a run. */
export interface Progress {
  /** The current epoch, counted from 1. */
  epoch: number;
  /** Epochs to train. */
  epochs: number;
  /** Steps done in this epoch. */
  step: number;
  /** Steps in an epoch. */
  steps: number;
  /** Mean loss over the epoch so far; NaN while frozen features are read. */
  loss: number;
  /** Accuracy over the epoch so far, in [0, 1]; NaN if the target has none. */
  accuracy: number;
  /** Images trained on a second, over the epoch so far. */
  imagesPerSecond: number;
  /** Estimated time until the last epoch is done. */
  secondsLeft: number;
}

/** Figures of one epoch that the log and the checkpoints keep. */
export type EpochFigures = Record<string, number | null>;

/** An image that a run goes without, or an epoch. */
export interface SkippedImage {
  /** As the manifest names it. */
  image: string;
  /** Its absolute path, or its URL. */
  path: string;
  /** Its line in the manifest. */
  line: number;
  /** Why it cannot be read. */
  error: string;
}

/** An epoch that is done and logged. */
export interface EpochDone {
  /** Counted from 1. */
  epoch: number;
  /** Epochs to train. */
  epochs: number;
  /** Its figures. */
  figures: EpochFigures;
  /** Time it took, with scoring. */
  seconds: number;
  /** Images that could not be read in it. */
  skipped: readonly SkippedImage[];
}

/** Progress of a run after the latest of the epoch's steps. */
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
    accuracy: accuracyOf(reports) ?? NaN,
    imagesPerSecond: images / (elapsedMs / 1000),
    secondsLeft: stepsLeft * elapsedMs / step / 1000,
  };
}

/** Figures of an epoch from its steps. */
export function epochFigures(reports: readonly StepReport[]): EpochFigures {
  const accuracy = accuracyOf(reports);
  const channels = reports[0]!.liveChannels.map((_, c) =>
    reports.some(({ liveChannels }) => liveChannels[c])
  );
  const norms = NETS.map((net) => [
    `gradientNorm_${net}`,
    mean(reports.map(({ gradientNorms }) => gradientNorms[net])),
  ]);
  return {
    loss: mean(reports.map(({ loss }) => loss)),
    ...(accuracy !== null && { accuracy }),
    ...Object.fromEntries(norms),
    liveChannels: channels.filter(Boolean).length,
    featureCosine: mean(reports.map(({ featureCosine }) => featureCosine)),
    tileEntropy: mean(reports.map(({ tileEntropy }) => tileEntropy)),
    subTileEntropy: mean(reports.map(({ subTileEntropy }) => subTileEntropy)),
  };
}

/** Share of the images that are right; null if the target has no such thing. */
function accuracyOf(reports: readonly StepReport[]): number | null {
  const known = reports.filter(({ correct }) => correct !== null);
  return known.length === 0 ? null : sum(known.map(({ correct }) => correct!)) /
    sum(known.map(({ images }) => images));
}

function mean(values: readonly number[]): number {
  return sum(values) / values.length;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
