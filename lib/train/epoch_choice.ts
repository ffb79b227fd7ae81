/**
 * The choice of the best epoch: images that are scored after each, and the value
 * that decides.
 *
 * @module
 */
import { setTimeout } from "node:timers/promises";
import type { ManifestEntry } from "../data/manifest.ts";
import { ImageError } from "../errors.ts";
import { answerIn } from "../eval/answer.ts";
import { evaluate, type LabelledImage } from "../eval/evaluate.ts";
import { epochFiguresOf, fitOnValidation } from "../eval/targets/scoring.ts";
import type { ForegroundChoice } from "../image/foreground/tissue.ts";
import type { ImageCache } from "../image/image_cache.ts";
import { openAtMpp } from "../image/resampled.ts";
import type { Memory } from "../memory.ts";
import type { Config } from "../model/config.ts";
import type { Calibration } from "../model/calibration.ts";
import type { Model } from "../model/model.ts";
import type { TargetFit } from "../model/targets/fit.ts";
import { type OnSkipped, sharesOf } from "./batches.ts";
import type { EpochFigures } from "./epoch_metrics.ts";
import type { Crew } from "./hosts/crew.ts";
import type { Team } from "./parallel/team.ts";
import { valuesOf } from "./parallel/values.ts";

/** The images that choose the epoch. */
export interface ChoosingImages {
  /** Images on which the epoch is chosen; if empty, the last is taken. */
  validation: readonly ManifestEntry[];
  /**
   * Scored every epoch to choose it, as the published code does with its test
   * fold: the `best-epoch` protocol. Never together with `validation`.
   */
  chosenOnTest?: readonly ManifestEntry[];
}

/** Options of scoring them. */
interface ScoringOptions {
  cache: ImageCache;
  memory: Memory;
  foreground?: ForegroundChoice | undefined;
  /** Takes note of an image that is left out; if omitted it is an error. */
  onSkipped?: OnSkipped | undefined;
  signal?: AbortSignal | undefined;
  /** Shares the images; they are scored here if omitted. */
  team?: Team | undefined;
  /** Scores all images, if there are other hosts. */
  crew?: Crew | undefined;
}

/** The best epoch so far and its value; kept in the checkpoint. */
export interface Choice {
  bestEpoch: number;
  /** Lower is better. */
  bestValue: number | null;
}

// Evaluations during training are drawn under this seed.
const EVALUATION_SEED = 0;

/**
 * Opens the images up front, so that an unreadable one fails at once.
 *
 * @throws {ImageError} If an image cannot be read.
 */
export async function openScored(
  { validation, chosenOnTest = [] }: ChoosingImages,
  { config, cache, signal }: ScoringOptions & { config: Config },
): Promise<void> {
  for (const entry of [...validation, ...chosenOnTest]) {
    await setTimeout(0); // decoded images never wait: let signals in
    const pyramid = await openAtMpp(cache, entry, config.mpp, signal);
    pyramid.close();
  }
}

/** An epoch that was scored. */
export interface ScoredEpoch {
  /** Loss and metrics of the images, as the log names them. */
  figures: EpochFigures;
  /** From the validation images; null if they are too few for one. */
  calibration: Calibration | null;
  /** What the target learned of them; nothing if omitted. */
  fitted?: TargetFit | undefined;
}

/**
 * Scores the model on the images.
 *
 * @throws {ImageError} If an image cannot be read.
 */
export async function scoredEpoch(
  model: Model,
  { validation, chosenOnTest = [] }: ChoosingImages,
  options: ScoringOptions,
): Promise<ScoredEpoch> {
  const figures: EpochFigures = {};
  const { classes, config } = model;
  const { target, evaluation: { samples } } = config;
  let fit: Omit<ScoredEpoch, "figures"> = { calibration: null };
  const sets = { validation, test: chosenOnTest };
  for (const [name, entries] of Object.entries(sets)) {
    if (entries.length === 0) continue;
    const scored = await scoredBy(model, entries, options).catch((error) => {
      const { onSkipped } = options;
      if (!onSkipped || !(error instanceof ImageError)) throw error;
      return scoredReadable(model, entries, { ...options, onSkipped });
    });
    Object.assign(figures, epochFiguresOf(target, scored, classes, name));
    if (name !== "validation") continue;
    fit = fitOnValidation(target, scored, { classes, samples });
  }
  return { figures, ...fit };
}

/** What is said of the images, whoever scored them. */
async function scoredBy(
  model: Model,
  entries: readonly ManifestEntry[],
  { team, crew, ...options }: ScoringOptions,
): Promise<LabelledImage[]> {
  const how = { ...options, seed: EVALUATION_SEED };
  const own = (some: readonly ManifestEntry[]) => classified(model, some, how);
  const results = crew
    ? await scoredByCrew(model, entries, { crew, signal: options.signal })
    : team && team.workers > 1
    ? await shared(model, entries, { team, own, signal: options.signal })
    : await own(entries);
  return entries.map((entry, i) => ({ entry, classification: results[i]! }));
}

/** As {@linkcode scoredBy}, without the images that cannot be read. */
async function scoredReadable(
  model: Model,
  entries: readonly ManifestEntry[],
  { onSkipped, team: _, crew: _crew, ...options }: ScoringOptions & {
    onSkipped: OnSkipped;
  },
): Promise<LabelledImage[]> {
  const { images, failures } = await evaluate(model, entries, {
    ...options,
    seed: EVALUATION_SEED,
  });
  if (images.length === 0) throw failures[0]!.error;
  for (const { entry, error } of failures) onSkipped(entry, error);
  return images;
}

/** The results of images, a share of which each worker classifies. */
async function shared(
  { parameters }: Model,
  entries: readonly ManifestEntry[],
  { team, own, signal }: {
    team: Team;
    own: (some: readonly ManifestEntry[]) => Promise<Classified[]>;
    signal: AbortSignal | undefined;
  },
): Promise<Classified[]> {
  const [first, ...others] = sharesOf([...entries.keys()], team.workers)
    .map((share) => share.map((i) => entries[i]!));
  const weights = await valuesOf(parameters);
  const theirs = team.ask(
    "score",
    others.map((entries) => ({
      weights,
      entries,
      evaluationSeed: EVALUATION_SEED,
    })),
    signal,
  );
  return [...await own(first!), ...(await theirs).flat()];
}

/** The results of images, each of which anyone of a crew classifies. */
async function scoredByCrew(
  { parameters }: Model,
  entries: readonly ManifestEntry[],
  { crew, signal }: { crew: Crew; signal: AbortSignal | undefined },
): Promise<Classified[]> {
  const weights = await valuesOf(parameters);
  const results = await crew.each(
    "score",
    entries.map((entry) => ({
      weights,
      entries: [entry],
      evaluationSeed: EVALUATION_SEED,
    })),
    { homes: [...entries.keys()], signal },
  );
  return results.flat();
}

type Classified = LabelledImage["classification"];

/**
 * Classifies images under a seed.
 *
 * @throws {ImageError} The first one of an image that cannot be read.
 */
export async function classified(
  model: Model,
  entries: readonly ManifestEntry[],
  options: Omit<ScoringOptions, "team" | "crew"> & { seed: number },
): Promise<Classified[]> {
  const { images, failures } = await evaluate(model, entries, options);
  if (failures.length > 0) throw failures[0]!.error;
  return images.map(({ classification }) => answerIn(classification));
}

/** The value of an epoch; lower is better. */
export function valueOf(
  { validation, chosenOnTest }: ChoosingImages,
  epoch: number,
  figures: EpochFigures,
): number {
  // Few validation images make accuracy coarse, so the loss chooses; the
  // published protocol goes by accuracy.
  return validation.length > 0
    ? figures.validationLoss!
    : chosenOnTest && figures.testAccuracy !== undefined
    ? -figures.testAccuracy!
    : chosenOnTest
    ? figures.testLoss!
    : -epoch; // nothing to choose by: the last epoch
}

/** True if the last `patience` epochs were no better than the best. */
export function stopsEarly(
  { bestEpoch }: Choice,
  epoch: number,
  patience: number | null,
): boolean {
  return patience !== null && bestEpoch > 0 && epoch - bestEpoch >= patience;
}
