/**
 * The folder of a run: what is in it, and that nothing goes on under other
 * settings or on other images than it was started with.
 *
 * @module
 */
import { dirname, join } from "node:path";
import { type ManifestEntry, readManifest } from "../../data/manifest.ts";
import { DataError, UsageError } from "../../errors.ts";
import { exists, spelled } from "../../files.ts";
import type { ForegroundChoice } from "../../image/foreground/tissue.ts";
import { LAST } from "../../model/checkpoint.ts";
import { type Config, isRecord } from "../../model/config.ts";
import { CONFIG_FILE, SPLITS_FILE } from "../../train/run_data.ts";
import { foregroundFile, LOG_FILE, readLog } from "../../train/run_log.ts";
import { readConfig } from "./config_flags.ts";

export const FOLDS_FILE = "folds.csv";
export const CROSSVAL_FILE = "crossval.json";

/**
 * Whether `folder` holds a run that is to go on.
 *
 * @throws {UsageError} If a run would be overwritten, or there is none.
 */
export async function runStarted(
  folder: string,
  resume: boolean,
): Promise<boolean> {
  if (await Deno.stat(folder).then(({ isFile }) => isFile, () => false)) {
    throw new UsageError(`Cannot write a run to ${folder}: it is a file`);
  }
  const started = await exists(join(folder, LAST));
  if (started && !resume) {
    throw new UsageError(
      `Cannot start in ${folder} as it holds a run: add --resume to go on with it, or give another --out`,
    );
  }
  if (!started && resume) {
    throw new UsageError(
      `Cannot take --resume for ${folder}: it holds no ${LAST}; leave it out to start`,
    );
  }
  return started;
}

/** The images of a run, as it keeps them. */
export interface RunSplits {
  file: string;
  entries: readonly ManifestEntry[];
}

/**
 * The images of the run that made a checkpoint; none where no splits are kept
 * beside it, or images of them are gone.
 *
 * @param checkpoint a run's folder, or a checkpoint in it.
 */
export async function runSplits(checkpoint: string): Promise<RunSplits> {
  const path = await spelled(checkpoint);
  const { isDirectory } = await Deno.stat(path);
  const folder = isDirectory ? path : dirname(path);
  const file = join(folder, SPLITS_FILE);
  if (!await exists(file)) return { file, entries: [] };
  try {
    const { entries } = await readManifest(file);
    return { file, entries };
  } catch (error) {
    if (error instanceof DataError) return { file, entries: [] };
    throw error;
  }
}

/**
 * The run's seed; what is asked for must be what it was started with.
 *
 * @throws {UsageError} Naming the flag.
 */
export async function seedOf(
  folder: string,
  { seed: asked, foreground }: {
    seed: number | undefined;
    foreground: ForegroundChoice | undefined;
  },
): Promise<number> {
  const [first] = await readLog(join(folder, LOG_FILE));
  const seed = first?.seed as number;
  if (asked !== undefined && asked !== seed) {
    throw new UsageError(
      `Cannot resume ${folder} with --seed ${asked}: it was started with ${seed}`,
    );
  }
  const file = first?.foreground ?? null;
  if (foregroundFile(foreground) !== file) {
    throw new UsageError(
      `Cannot resume ${folder} with another --foreground: it was started with ${
        file ?? "no file"
      }`,
    );
  }
  return seed;
}

// All but `training` and the preset's name.
const MODEL_KEYS = [
  "view",
  "network",
  "evaluation",
  "mpp",
  "referenceClass",
] as const satisfies (keyof Config)[];

/**
 * Checks that only settings of training differ from the run's.
 *
 * @throws {UsageError} Naming the settings that make another model.
 */
export async function checkSameModel(
  folder: string,
  config: Config,
): Promise<void> {
  const file = join(folder, CONFIG_FILE);
  const stored = await readConfig(file);
  const changed = MODEL_KEYS.filter((key) => !same(config[key], stored[key]));
  if (changed.length > 0) {
    throw new UsageError(
      `Cannot resume ${folder} with another ${
        changed.join(", ")
      } than that of ${file}: leave out --preset, --config and --set to keep it`,
    );
  }
}

/** Settings of training that differ from the run's: `KEY OLD -> NEW` each. */
export async function changedTraining(
  folder: string,
  { training }: Config,
): Promise<string[]> {
  const stored = await readConfig(join(folder, CONFIG_FILE));
  return [...changes("training", stored.training, training)];
}

/** What makes two values differ, by the keys that lead there. */
function* changes(
  path: string,
  before: unknown,
  after: unknown,
): Generator<string> {
  if (same(before, after)) return;
  if (!isRecord(before) || !isRecord(after)) {
    yield `${path} ${JSON.stringify(before)} -> ${JSON.stringify(after)}`;
    return;
  }
  for (const key of Object.keys(after)) {
    yield* changes(`${path}.${key}`, before[key] ?? null, after[key]);
  }
}

/**
 * Whether `folder` holds a cross-validation, begun or done.
 *
 * @throws {UsageError} If it has another configuration or seed.
 */
export async function crossValidationStarted(
  folder: string,
  { config, seed, foreground }: {
    config: Config;
    seed: number;
    foreground: ForegroundChoice | undefined;
  },
): Promise<boolean> {
  const file = join(folder, CROSSVAL_FILE);
  if (!await exists(file)) return false;
  const stored = JSON.parse(await Deno.readTextFile(file));
  const changed = [
    ...(stored.seed === seed ? [] : ["--seed"]),
    ...(same(stored.config, config) ? [] : ["configuration"]),
    ...(same(stored.foreground ?? null, foregroundFile(foreground))
      ? []
      : ["--foreground"]),
  ];
  if (changed.length === 0) return true;
  throw new UsageError(
    `Cannot go on in ${folder} with another ${
      changed.join(" and ")
    }: give those it was started with, or another --out`,
  );
}

/** Whether two values are the same JSON. */
export function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
