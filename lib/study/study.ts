/**
 * A study: named ways to train, each tried on the same folds and seeds, so that
 * they can be compared pair by pair.
 *
 * @module
 */
import type {
  CloseUpConfig,
  Config,
  EncoderConfig,
  FrozenFeatures,
  OverviewConfig,
} from "../model/config.ts";
import type { Protocol } from "../train/runs/fold_task.ts";

/** One way to train. */
export interface Variant {
  /** Names its folder and its rows. */
  name: string;
  /** Its description, a line of the report. */
  about: string;
  /** The name of its data set. */
  data: string;
  config: Config;
  protocols: readonly Protocol[];
  seeds: readonly number[];
  /** Training images of each fold whose annotated objects it trains on, too. */
  boxes?: number;
  /** Numbers of sub-tiles with which its checkpoints are evaluated, too. */
  samples?: readonly number[];
  /** The variant it is compared with, fold by fold and seed by seed. */
  against?: string;
  /** Marks it as standing for another method. */
  baseline?: boolean;
  /** A dense student, whose teacher this is: it has no runs of its own. */
  teacherOf?: string;
  /** Marks the mean of frozen features under a logistic regression. */
  pooled?: boolean;
  /** Its place on a chart of accuracy. */
  trend?: Trend;
}

/** A point of a chart of accuracy against something that a study varies. */
export interface Trend {
  /** Names the chart. */
  chart: string;
  /** Names the line. */
  series: string;
  x: number;
}

/** Labelled images that a study trains on. */
export interface StudyData {
  /** Folds that are tested; all of the manifest if omitted. */
  folds?: readonly number[];
  /** Allows its images in a report. */
  photographs?: boolean;
  /** Makes sure that the images are there, and returns their manifest. */
  prepare(folder: string): Promise<string>;
}

/** Variants and the question that they are to answer. */
export interface Study {
  name: string;
  title: string;
  question: string;
  /** Folds that settings were chosen by: the others have rows of their own. */
  chosenBy?: readonly number[];
  /** Label of the x-axis of the charts of accuracy. */
  trendAxis?: string;
  /** Notes that a reader needs to judge the figures, a paragraph each. */
  notes?: readonly string[];
  data: Readonly<Record<string, StudyData>>;
  /** In the order in which they are run: the most important come first. */
  variants: readonly Variant[];
}

/** Features that are not trained. */
export interface FrozenChoice {
  features: FrozenFeatures;
  /** The file of `encoder`; null for other features. */
  encoder: EncoderConfig | null;
  /** How it sees the whole image, for attention; null if networks a and b do. */
  overview: OverviewConfig | null;
  /** How it reads close-ups, where boxes teach it; null if it takes none. */
  closeUp: CloseUpConfig | null;
}

/** A user's choices for a study. */
export interface StudyRequest {
  /** Manifest of the images, if the study does not draw them. */
  manifest?: string | undefined;
  /** Features of the variants on frozen features, which are left out without. */
  frozen?: FrozenChoice | undefined;
  /** Shows that everything works, in minutes: the figures mean nothing. */
  quick: boolean;
}

/** One process of a study: a variant under one seed. */
export interface Cell {
  variant: Variant;
  seed: number;
  /** Folder of its runs, relative to the study's. */
  folder: string;
}

/** The cells of a study: all variants once before any of them again. */
export function cellsOf(study: Study): Cell[] {
  const variants = study.variants
    .filter(({ teacherOf }) => teacherOf === undefined);
  const rounds = Math.max(...variants.map(({ seeds }) => seeds.length));
  return Array.from(
    { length: rounds },
    (_, round) =>
      variants.filter(({ seeds }) => round < seeds.length).map((variant) => {
        const seed = variant.seeds[round]!;
        const folder = `runs/${variant.name}/seed-${seed}`;
        return { variant, seed, folder };
      }),
  ).flat();
}
