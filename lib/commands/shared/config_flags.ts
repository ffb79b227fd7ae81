/**
 * Configuration from the command line.
 *
 * @module
 */
import { resolve } from "node:path";
import { ConfigError, oneLine, UsageError } from "../../errors.ts";
import { spelled } from "../../files.ts";
import {
  type Config,
  filledFrom,
  parseConfig,
  withSettings,
} from "../../model/config.ts";
import {
  closeUpSettings,
  encoderSettings,
  overviewSettings,
} from "../../encoder/inspect.ts";
import {
  hasCloseUp,
  hasOverview,
  objectSizeOf,
  withFrozenFeatures,
} from "../../model/frozen_settings.ts";
import { preset, presetNames } from "../../model/presets.ts";
import type { FrozenChoice } from "../../study/study.ts";
import { type FlagValues, integer, oneOf, text, texts } from "./flags.ts";

/** Flags of {@linkcode configFrom}. */
export const CONFIG_FLAGS = {
  preset: text(
    "NAME",
    `${
      presetNames.filter((name) => !name.endsWith("-paper")).join(", ")
    }; NAME-paper has the published settings (colon)`,
    { words: presetNames },
  ),
  config: text(
    "FILE",
    "JSON configuration in place of a preset, like config.json of a run; it needs only the values that differ from the preset it names",
    { paths: "files" },
  ),
  set: texts(
    "KEY=VALUE",
    "change one value, e.g. training.learningRate=0.0005",
  ),
  epochs: integer("N", "short for --set training.epochs=N"),
  features: oneOf(
    ["scattering", "dictionary"] as const,
    "NAME",
    "train on fixed filters (scattering) or on patches of the images (dictionary), which need no download",
  ),
  encoder: text(
    "FILE.onnx",
    "train on the features of this pretrained network, which stays as it is (docs/encoders.md)",
    { paths: "files" },
  ),
};

/**
 * Reads a preset or a file and applies the changed settings.
 *
 * @param options.resumed the file to use if the flags name neither.
 * @param options.boxes true if annotated objects are trained on.
 * @throws {ConfigError | UsageError} Naming the field or the flag.
 */
export async function configFrom(
  { config: given, preset: name, set, epochs, foreground, ...frozen }:
    & FlagValues<typeof CONFIG_FLAGS>
    & { foreground: string | undefined },
  { resumed, boxes = false }: { resumed?: string; boxes?: boolean } = {},
): Promise<Config> {
  if (given !== undefined && name !== undefined) {
    throw new UsageError(
      "Both --preset and --config were given: give one of them",
    );
  }
  const file = given ?? (name === undefined ? resumed : undefined);
  checkFrozen(frozen, file);
  const base = file === undefined
    ? await withFrozen(preset(name ?? "colon"), { ...frozen, boxes })
    : file === given
    ? await readChanges(file)
    : await readConfig(file);
  const isWord = foreground === "none" || foreground === "tissue"; // not a file
  return withSettings(base, [
    ...set,
    ...(epochs === undefined ? [] : [`training.epochs=${epochs}`]),
    ...(isWord ? [`view.foreground=${foreground}`] : []), // kept with the model
  ]);
}

/** `--encoder` and `--features`. */
type FrozenFlags = Pick<
  FlagValues<typeof CONFIG_FLAGS>,
  "encoder" | "features"
>;

/** @throws {UsageError} If one is given beside a configuration. */
function checkFrozen(
  { encoder, features }: FrozenFlags,
  file: string | undefined,
): void {
  const flag = encoder !== undefined
    ? "--encoder"
    : features !== undefined
    ? "--features"
    : undefined;
  if (flag === undefined || file === undefined) return;
  throw new UsageError(
    `${file} names the features already: leave out ${flag}, or give --preset in the place of --config or --resume`,
  );
}

/** A preset with frozen features in the place of its own, if chosen. */
async function withFrozen(
  config: Config,
  flags: FrozenFlags & { boxes: boolean },
): Promise<Config> {
  const chosen = await frozenChoice(flags, config);
  if (!chosen) return config;
  const { features, encoder, overview, closeUp } = chosen;
  return withFrozenFeatures(config, features, encoder, { overview, closeUp });
}

/**
 * The frozen features that the flags choose, if any, for a preset.
 *
 * @param flags.boxes true if annotated objects are trained on.
 * @throws {UsageError} If both are given.
 * @throws {EncoderError} If the file is of no use.
 */
export async function frozenChoice(
  { encoder, features, boxes = false }: FrozenFlags & { boxes?: boolean },
  config: Pick<Config, "preset">,
): Promise<FrozenChoice | undefined> {
  if (encoder !== undefined && features !== undefined) {
    throw new UsageError(
      "Both --encoder and --features were given: give one of them",
    );
  }
  if (features !== undefined) {
    return { features, encoder: null, overview: null, closeUp: null };
  }
  if (encoder === undefined) return undefined;
  // A checkpoint is used from any folder.
  const path = resolve(await spelled(encoder));
  return {
    features: "encoder",
    encoder: await encoderSettings(path, objectSizeOf(config)),
    overview: hasOverview(config) ? await overviewSettings(path) : null,
    closeUp: boxes && hasCloseUp(config) ? await closeUpSettings(path) : null,
  };
}

/**
 * Reads the configuration in a file.
 *
 * @throws {ConfigError} Naming the file, and the fields that are wrong.
 */
export async function readConfig(file: string): Promise<Config> {
  return parseConfig(await readJson(file), file);
}

/** Completes a partial configuration from its preset. */
async function readChanges(file: string): Promise<Config> {
  const value = await readJson(file);
  const name = (value as { preset?: unknown } | null)?.preset;
  if (name === undefined) {
    throw new ConfigError(
      `The configuration ${file} has no "preset": set it to one of ${
        presetNames.join(", ")
      }, and add only the values that differ`,
    );
  }
  const isKnown = typeof name === "string" && presetNames.includes(name);
  return parseConfig(isKnown ? filledFrom(preset(name), value) : value, file);
}

async function readJson(file: string): Promise<unknown> {
  let text: string;
  try {
    text = await Deno.readTextFile(await spelled(file));
  } catch (cause) {
    throw new ConfigError(`Cannot read the configuration ${file}`, { cause });
  }
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new ConfigError(
      `Cannot read ${file} as JSON: ${oneLine((cause as Error).message)}`,
      { cause },
    );
  }
}
