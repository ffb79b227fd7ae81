/**
 * The one configuration of a network and its training: validated on the way
 * in, saved whole in every checkpoint.
 *
 * @module
 */
import type { z } from "zod";
import { ConfigError, oneLine, shortened } from "../errors.ts";
import { nearestKey } from "./config_keys.ts";
import { configSchema } from "./config_schema.ts";
import type { Config } from "./config_types.ts";

export {
  configSchema,
  FROZEN,
  type FrozenFeatures,
  isFrozen,
  MAX_SAMPLES,
  minSubTile,
  type TrainedFeatures,
} from "./config_schema.ts";
export type * from "./config_types.ts";

// The memory bound alone cuts a batch now. Files of older versions have it.
const REMOVED = "imagesPerPass";
const REMOVED_TEXT =
  "it was removed, because the memory bound decides how many images are held at once: delete it, and set --memory if need be";

// More faults than a reader mends at a time are counted.
const FAULTS_SHOWN = 5;

/** `value` without the fields of older versions; if they are null, or `all`. */
export function withoutRemoved(value: unknown, all: boolean): unknown {
  if (!isRecord(value) || !isRecord(value.training)) return value;
  const { [REMOVED]: removed, ...training } = value.training;
  return removed === null || all ? { ...value, training } : value;
}

/**
 * Checks `value`, for example parsed JSON, against the schema. Nothing is filled
 * in but fields that older versions did not have.
 *
 * @param source its name in messages: a file, a preset, the command line.
 * @throws {ConfigError} Naming the first fields that are wrong.
 *
 * @example A preset with another number of sub-tiles
 * ```ts
 * import { parseConfig, preset } from "@zoomin/zoomin";
 *
 * const { view, ...colon } = preset("colon");
 * parseConfig({ ...colon, view: { ...view, samples: 20 } }, "my settings");
 * ```
 */
export function parseConfig(value: unknown, source: string): Config {
  const result = configSchema.safeParse(withoutRemoved(value, false), {
    reportInput: true,
  });
  if (result.success) return result.data;
  throw new ConfigError(
    `Cannot use ${source} as a configuration: ${
      faultsText(result.error.issues)
    }`,
  );
}

/** The first faults, and the number of the others. */
function faultsText(issues: readonly z.core.$ZodIssue[]): string {
  const faults = issues.flatMap((issue) =>
    issue.code === "unrecognized_keys"
      ? issue.keys.map((key) => () => unknownText([...issue.path, key]))
      : [() => issueText(issue)]
  );
  const shown = faults.slice(0, FAULTS_SHOWN).map((text) => text());
  const more = faults.length - shown.length;
  return [...shown, ...(more > 0 ? [`and ${more} more`] : [])].join("; ");
}

/** Path and fault of a value, on one line; parsed with `reportInput`. */
export function issueText(issue: z.core.$ZodIssue): string {
  const isMissing = issue.code === "invalid_type" && issue.input === undefined;
  const place = issue.path.join(".") || "(whole)";
  return `${place}: ${isMissing ? "it is missing" : oneLine(issue.message)}`;
}

function unknownText(path: readonly PropertyKey[]): string {
  const key = path.join(".");
  if (key === `training.${REMOVED}`) return `${key}: ${REMOVED_TEXT}`;
  const meant = nearestKey(key);
  return `there is no "${shortened(key)}"` +
    (meant === undefined ? "" : `, did you mean "${meant}"?`);
}

/** `value`; fields that it lacks are those of `whole`. */
export function filledFrom(whole: unknown, value: unknown): unknown {
  if (!isRecord(whole) || !isRecord(value)) return value;
  if ("kind" in value) return value; // one of several forms
  const given = Object.entries(value)
    .map(([key, own]) => [key, filledFrom(whole[key], own)]);
  return { ...whole, ...Object.fromEntries(given) };
}

/** True for an object of JSON, which has keys. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

/**
 * `config` with `key=value` settings applied, keys as dotted paths
 * (`training.learningRate=0.001`), values as JSON or plain words.
 *
 * @throws {ConfigError} If a key is unknown or a value does not fit.
 *
 * @example
 * ```ts
 * import { preset, withSettings } from "@zoomin/zoomin";
 *
 * const config = withSettings(preset("colon"), ["training.epochs=10"]);
 * ```
 */
export function withSettings(
  config: Config,
  settings: readonly string[],
): Config {
  const changed = structuredClone(config);
  for (const setting of settings) {
    const equals = setting.indexOf("=");
    if (equals < 1) {
      throw new ConfigError(
        `Cannot read "${setting}" as a setting: write key=value`,
      );
    }
    assign(changed, setting.slice(0, equals), setting.slice(equals + 1));
  }
  return parseConfig(changed, "the settings given");
}

function assign(
  config: Record<string, unknown>,
  key: string,
  value: string,
): void {
  const path = key.split(".");
  const last = path.pop()!;
  let at: unknown = config;
  for (const part of path) at = child(at, part, key);
  const old = child(at, last, key);
  const given = jsonOrWord(value);
  // A class may be called 0.
  const isWord = typeof old === "string" && typeof given === "number";
  (at as Record<string, unknown>)[last] = isWord ? value : given;
}

function child(
  parent: unknown,
  name: string,
  key: string,
): unknown {
  const known = parent !== null && typeof parent === "object"
    ? Object.keys(parent)
    : [];
  if (known.includes(name)) return (parent as Record<string, unknown>)[name];
  if (key === `training.${REMOVED}`) {
    throw new ConfigError(`Cannot set "${key}": ${REMOVED_TEXT}`);
  }
  const meant = nearestKey(key);
  throw new ConfigError(
    `Cannot set "${shortened(key)}": there is no "${shortened(name)}"` +
      (meant !== undefined
        ? `; did you mean "${meant}"?`
        : known.length > 0
        ? `, only ${known.join(", ")}`
        : ""),
  );
}

function jsonOrWord(value: string): unknown {
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}
