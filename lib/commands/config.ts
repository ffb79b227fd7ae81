/**
 * The configuration that a command line asks for.
 *
 * @module
 */
import { ConfigError, UsageError } from "../errors.ts";
import { spelled } from "../files.ts";
import {
  type Config,
  filledFrom,
  parseConfig,
  withSettings,
} from "../model/config.ts";
import { preset, presetNames } from "../model/presets.ts";
import type { Flags } from "./flags.ts";

/** Flags of {@linkcode configFrom}. */
export const CONFIG_FLAGS = {
  preset: { type: "string" },
  config: { type: "string" },
  set: { type: "string", multiple: true },
  epochs: { type: "string" },
} as const;

/** Their part of a usage text. */
export const CONFIG_USAGE = `  --preset NAME      ${
  presetNames.filter((name) => !name.endsWith("-paper")).join(", ")
};
                     NAME-paper has the published settings (colon)
  --config FILE      a configuration in JSON instead, as config.json of a run; it
                     may leave out what is as in the preset that it names
  --set KEY=VALUE    change one value, e.g. training.learningRate=0.0005;
                     may be repeated
  --epochs N         short for --set training.epochs=N`;

/**
 * A preset or a file, with its settings changed.
 *
 * @param resumed the file to take where the flags name neither.
 * @throws {ConfigError | UsageError} Naming the field or the flag.
 */
export async function configFrom(
  flags: Flags,
  resumed?: string,
): Promise<Config> {
  const given = flags.text("config"), name = flags.text("preset");
  if (given !== undefined && name !== undefined) {
    throw new UsageError("Cannot take --preset and --config together");
  }
  const file = given ?? (name === undefined ? resumed : undefined);
  const base = file === undefined
    ? preset(name ?? "colon")
    : file === given
    ? await readChanges(file)
    : await readConfig(file);
  const epochs = flags.integer("epochs"), look = flags.text("foreground");
  const isWord = look === "none" || look === "tissue"; // and not a file
  return withSettings(base, [
    ...flags.texts("set"),
    ...(epochs === undefined ? [] : [`training.epochs=${epochs}`]),
    ...(isWord ? [`view.foreground=${look}`] : []), // kept with the model
  ]);
}

/**
 * The configuration in a file.
 *
 * @throws {ConfigError} Naming the file, and the fields that are wrong.
 */
export async function readConfig(file: string): Promise<Config> {
  return parseConfig(await readJson(file), file);
}

/** A configuration that need only say where it differs from its preset. */
async function readChanges(file: string): Promise<Config> {
  const value = await readJson(file);
  const name = (value as { preset?: unknown } | null)?.preset;
  if (name === undefined) {
    throw new ConfigError(
      `Cannot use ${file} as a configuration: it has no "preset"; write one of ${
        presetNames.join(", ")
      }, and what differs from it`,
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
      `Cannot read ${file} as JSON: ${(cause as Error).message}`,
      { cause },
    );
  }
}
