/**
 * The folder of a run: its contents, and checks that a run continues only with
 * the settings and images that it was started with.
 *
 * @module
 */
import type { TargetName } from "../../target.ts";
import { dirname, join } from "node:path";
import { type ManifestEntry, readManifest } from "../../data/manifest.ts";
import { DataError, UsageError } from "../../errors.ts";
import { exists, spelled } from "../../files.ts";
import type { ForegroundChoice } from "../../image/foreground/tissue.ts";
import { LAST } from "../../model/checkpoint.ts";
import type { Config } from "../../model/config.ts";
import { configChanges, same } from "../../model/config_changes.ts";
import { CONFIG_FILE, SPLITS_FILE } from "../../train/runs/run_data.ts";
import { CROSSVAL_FILE } from "../../train/runs/crossval.ts";
import { foregroundFile, LOG_FILE, readLog } from "../../train/run_log.ts";
import { type BoxChoice, boxFlags } from "./boxes.ts";
import { readConfig } from "./config_flags.ts";

/**
 * Checks `folder` and tells if it holds a run to continue.
 *
 * @throws {UsageError} If a run would be overwritten, or there is none to resume.
 */
export async function runStarted(
  folder: string,
  resume: boolean,
): Promise<boolean> {
  if (await Deno.stat(folder).then(({ isFile }) => isFile, () => false)) {
    throw new UsageError(
      `Cannot write a run to ${folder}: it is a file; give a folder as --out`,
    );
  }
  const started = await exists(join(folder, LAST));
  if (started && !resume) {
    throw new UsageError(
      `${folder} already holds a run: add --resume to continue it, or give another --out`,
    );
  }
  if (!started && resume) {
    throw new UsageError(
      `Cannot resume ${folder}: it has no ${LAST}; leave out --resume to start a run`,
    );
  }
  return started;
}

/** Reads the images of a run from its folder. */
export interface RunSplits {
  file: string;
  entries: readonly ManifestEntry[];
}

/**
 * Reads the images of the run that made a checkpoint; none if there are no
 * splits beside it, or some of the images no longer exist.
 *
 * @param checkpoint a run's folder, or a checkpoint in it.
 */
export async function runSplits(
  checkpoint: string,
  target: TargetName,
): Promise<RunSplits> {
  const path = await spelled(checkpoint);
  const { isDirectory } = await Deno.stat(path);
  const folder = isDirectory ? path : dirname(path);
  const file = join(folder, SPLITS_FILE);
  if (!await exists(file)) return { file, entries: [] };
  try {
    const { entries } = await readManifest(file, { target });
    return { file, entries };
  } catch (error) {
    if (error instanceof DataError) return { file, entries: [] };
    throw error;
  }
}

/**
 * Reads the run's seed and checks the flags against the values it was started
 * with.
 *
 * @throws {UsageError} Naming the flag.
 */
export async function seedOf(
  folder: string,
  { seed: asked, foreground, boxes }: {
    seed: number | undefined;
    foreground: ForegroundChoice | undefined;
    boxes: BoxChoice | undefined;
  },
): Promise<number> {
  const [first] = await readLog(join(folder, LOG_FILE));
  const seed = first?.seed as number;
  if (asked !== undefined && asked !== seed) {
    throw new UsageError(
      `Cannot resume ${folder} with --seed ${asked}: it was started with ${seed}; leave out --seed`,
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
  const started = first?.boxes as BoxChoice | undefined;
  if (boxFlags(boxes) !== boxFlags(started)) {
    throw new UsageError(
      `Cannot resume ${folder} with ${boxFlags(boxes)}: it was started with ${
        boxFlags(started)
      }; give the same`,
    );
  }
  return seed;
}

// All keys except `training` and the preset's name.
const MODEL_KEYS = [
  "view",
  "network",
  "evaluation",
  "mpp",
  "referenceClass",
] as const satisfies (keyof Config)[];

/**
 * Checks that only training settings differ from the run's.
 *
 * @throws {UsageError} Naming the settings that would make another model.
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

/** Training settings that differ from the run's, as `KEY OLD -> NEW`. */
export async function changedTraining(
  folder: string,
  { training }: Config,
): Promise<string[]> {
  const stored = await readConfig(join(folder, CONFIG_FILE));
  return [...configChanges(stored.training, training, "training")].map((
    { key, before, after },
  ) => `${key} ${JSON.stringify(before)} -> ${JSON.stringify(after)}`);
}

/**
 * Tells if `folder` holds a cross-validation, finished or not.
 *
 * @throws {UsageError} If it has another configuration or seed.
 */
export async function crossValidationStarted(
  folder: string,
  { config, seed, foreground, boxes }: {
    config: Config;
    seed: number;
    foreground: ForegroundChoice | undefined;
    boxes: BoxChoice | undefined;
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
    ...(same(stored.boxes ?? null, boxes ?? null) ? [] : ["--boxes"]),
  ];
  if (changed.length === 0) return true;
  throw new UsageError(
    `Cannot continue ${folder} with another ${
      changed.join(" and ")
    }: give those it was started with, or another --out`,
  );
}
