/**
 * What a training and a cross-validation have in common.
 *
 * @module
 */
import type { Manifest } from "../../data/manifest.ts";
import type { BackendChoice, Engine } from "../../engine/select.ts";
import type { ForegroundChoice } from "../../image/foreground/tissue.ts";
import type { Memory } from "../../memory.ts";
import type { Config } from "../../model/config.ts";
import type { Protocol } from "../../train/crossval.ts";
import type { Progress } from "../../train/epoch_metrics.ts";
import { duration, figure } from "./terminal.ts";

/** What the command line asks for. */
export interface TrainRequest {
  data: string;
  folder: string;
  config: Config;
  seed: number;
  /** Share of test images where the manifest has no split. */
  test: number;
  /** Cross-validate: so many folds, or the manifest's. */
  folds: number | "manifest" | undefined;
  onlyFolds: number[] | undefined;
  protocols: readonly Protocol[];
  /** Folds side by side; as many as there are cores if left out. */
  workers: number | undefined;
  foreground: ForegroundChoice | undefined;
  /** The bound on tensors and caches; the default's, and a large cache of images. */
  memory: Memory | undefined;
  backend: BackendChoice;
  resume: boolean;
  json: boolean;
}

/** What all kinds of runs need. */
export interface TrainSetup extends TrainRequest {
  engine: Engine;
  manifest: Manifest;
  signal: AbortSignal;
}

// Decoded images kept between epochs where no bound is given.
const CACHE_BYTES = 2 ** 30;

/** Bytes of decoded images that are kept between epochs. */
export function imageCacheBytes({ memory }: TrainSetup): number {
  return memory?.imageCacheBytes ?? CACHE_BYTES;
}

/** Where training stands, in a line. */
export function progressText(p: Progress): string {
  return `epoch ${p.epoch}/${p.epochs} step ${p.step}/${p.steps}  loss ${
    figure(p.loss)
  }  accuracy ${figure(p.accuracy)}  ${
    p.imagesPerSecond.toFixed(1)
  } images/s  ${duration(p.secondsLeft)} left`;
}
