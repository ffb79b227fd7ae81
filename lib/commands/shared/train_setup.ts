/**
 * Setup shared by training and cross-validation.
 *
 * @module
 */
import type { SiteChoice } from "../../data/folds.ts";
import type { Manifest } from "../../data/manifest.ts";
import type { BackendChoice, Engine } from "../../engine/select.ts";
import type { ForegroundChoice } from "../../image/foreground/tissue.ts";
import type { Memory } from "../../memory.ts";
import type { Config } from "../../model/config.ts";
import type { NatsPlace } from "../../serve/jobs/nats/place.ts";
import type { Protocol } from "../../train/runs/fold_task.ts";
import type {
  EpochDone,
  EpochFigures,
  Progress,
  SkippedImage,
} from "../../train/epoch_metrics.ts";
import type { BoxOptions } from "../../train/boxes.ts";
import type { BoxChoice } from "./boxes.ts";
import type { FlagValues } from "./flags.ts";
import type { LABEL_FLAGS, SITE_FLAGS, TableChoice } from "./tables.ts";
import { duration, figure } from "./terminal.ts";

/** Options from the command line. */
export interface TrainArguments {
  data: string;
  /** Layout of the tables of `data`. */
  tables: TableChoice & FlagValues<typeof LABEL_FLAGS & typeof SITE_FLAGS>;
  folder: string;
  config: Config;
  seed: number;
  /** Share of test images if the manifest has no split. */
  test: number;
  /** Cross-validate with a number of folds, or with the manifest's. */
  folds: number | "manifest" | undefined;
  /** What becomes of the sites in new folds. */
  sites: SiteChoice | undefined;
  onlyFolds: number[] | undefined;
  protocols: readonly Protocol[];
  /** Cores to use; all, where that pays, if omitted. */
  workers: number | undefined;
  foreground: ForegroundChoice | undefined;
  /** Annotations to train on; labels alone if omitted. */
  boxes: BoxChoice | undefined;
  /** Folder of frozen features; not kept if omitted. */
  featureCache: string | undefined;
  /** Folder of TensorBoard's event files; none if omitted. */
  tensorboard: string | undefined;
  /** Address of an MLflow server that the run is recorded at; none if omitted. */
  mlflow: string | undefined;
  /**
   * Bound on tensors and caches; if omitted the default, plus a large image
   * cache.
   */
  memory: Memory | undefined;
  /** Where hosts share the images of a run; it has none if omitted. */
  jobs: NatsPlace | undefined;
  backend: BackendChoice;
  /** Goes on without images that cannot be read. */
  skipBad: boolean;
  resume: boolean;
  json: boolean;
}

/** Settings of every kind of run. */
export interface TrainSetup extends TrainArguments {
  engine: Engine;
  manifest: Manifest;
  /** The annotations that were chosen, read as far as they are in one file. */
  boxOptions: BoxOptions | undefined;
  signal: AbortSignal;
}

/** Decoded images kept between epochs if no bound is given, bytes. */
export const CACHE_BYTES = 2 ** 30;

/** Bytes of decoded images to keep between epochs. */
export function imageCacheBytes({ memory }: TrainSetup): number {
  return memory?.imageCacheBytes ?? CACHE_BYTES;
}

/** Progress of training in one line. */
export function progressText(p: Progress): string {
  if (Number.isNaN(p.loss)) { // nothing is trained yet
    return `features of image ${p.step}/${p.steps}  ${
      duration(p.secondsLeft)
    } left`;
  }
  const accuracy = Number.isNaN(p.accuracy)
    ? ""
    : `accuracy ${figure(p.accuracy)}  `;
  return `epoch ${p.epoch}/${p.epochs} step ${p.step}/${p.steps}  loss ${
    figure(p.loss)
  }  ${accuracy}${p.imagesPerSecond.toFixed(1)} images/s  ${
    duration(p.secondsLeft)
  } left`;
}

/** A whole epoch in one line, for a log file. */
export function epochText(
  { epoch, epochs, figures, seconds, skipped }: EpochDone,
): string {
  const known = EPOCH_WORDS.filter(([key]) => figures[key] !== undefined)
    .map(([key, name]) => `${name} ${figure(figures[key])}`);
  const without = skipped.length > 0
    ? [`without ${skipped.map(({ image }) => image).join(", ")}`]
    : [];
  return [`epoch ${epoch}/${epochs}`, ...known, duration(seconds), ...without]
    .join("  ");
}

/** An image that a run goes without, in one line. */
export function skippedText({ line, error }: SkippedImage): string {
  return `skipped: line ${line}: ${error}`;
}

const EPOCH_WORDS = [
  ["loss", "loss"],
  ["accuracy", "accuracy"],
  ["validationLoss", "validation loss"],
  ["validationAccuracy", "accuracy"],
  ["validationAuc", "AUC"],
  ["validationAveragePrecision", "average precision"],
  ["validationMae", "mean absolute error"],
  ["validationSpearman", "Spearman"],
  ["validationKappa", "weighted kappa"],
  ["validationConcordance", "concordance index"],
  ["testAccuracy", "test accuracy"],
  ["testAuc", "AUC"],
  ["teacherValidationLoss", "validation loss"],
  ["teacherValidationAccuracy", "accuracy"],
  ["teacherValidationAuc", "AUC"],
] as const;

/** The figures that are known, in words: those whose name begins with `prefix`. */
export function figuresText(
  figures: EpochFigures,
  prefix: "validation" | "teacherValidation",
): string {
  const words = EPOCH_WORDS.filter(([key]) => key.startsWith("validation"));
  return words.map(([key, name]) =>
    [`${prefix}${key.slice("validation".length)}`, name] as const
  ).filter(([key]) => figures[key] !== undefined)
    .map(([key, name]) => `${name} ${figure(figures[key])}`).join(", ");
}

/** True of a line of {@linkcode epochText}, alone or after its fold. */
export function isEpochText(text: string): boolean {
  return /^(fold \d+ \S+ {2})?epoch \d+\/\d+ /.test(text);
}
