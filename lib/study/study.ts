/**
 * What a study is: named ways to train, each tried on the same folds and seeds,
 * so that they can be compared pair by pair.
 *
 * @module
 */
import type { Config } from "../model/config.ts";
import type { Protocol } from "../train/crossval.ts";

/** One way to train. */
export interface Variant {
  /** Names its folder and its rows. */
  name: string;
  /** What it is, in a line of the report. */
  about: string;
  /** The name of its data set. */
  data: string;
  config: Config;
  protocols: readonly Protocol[];
  seeds: readonly number[];
  /** Its checkpoints are evaluated with so many sub-tiles an image, too. */
  samples?: readonly number[];
  /** The variant it is compared with, fold by fold and seed by seed. */
  against?: string;
  /** Whether it stands for another method. */
  baseline?: boolean;
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
  /** Folds that are tested; all of the manifest where left out. */
  folds?: readonly number[];
  /** Whether its images may stand in a report. */
  photographs?: boolean;
  /** Makes sure that the images are there, and returns their manifest. */
  prepare(folder: string): Promise<string>;
}

/** Variants and what they are to answer. */
export interface Study {
  name: string;
  title: string;
  question: string;
  /** Folds that settings were chosen by: the others have rows of their own. */
  chosenBy?: readonly number[];
  /** What the charts of accuracy go along. */
  trendAxis?: string;
  /** What a reader must know to judge the figures, a paragraph each. */
  notes?: readonly string[];
  data: Readonly<Record<string, StudyData>>;
  /** In the order in which they are run: what matters most comes first. */
  variants: readonly Variant[];
}

/** What a user can ask of a study. */
export interface StudyRequest {
  /** Manifest of the images, where the study does not draw them. */
  manifest?: string | undefined;
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
export function cellsOf({ variants }: Study): Cell[] {
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
