/**
 * The keys that a configuration can have, and the one that was meant.
 *
 * @module
 */
import { z } from "zod";
import { nearest } from "../nearest.ts";
import { configSchema } from "./config_schema.ts";

/** Parts of a JSON schema that hold keys. */
interface Keyed {
  properties?: Record<string, Keyed>;
  anyOf?: Keyed[];
  oneOf?: Keyed[];
}

const KEYS: readonly string[] = [
  ...new Set(
    dottedKeys(z.toJSONSchema(configSchema, { io: "input" }) as Keyed),
  ),
];

/**
 * The key of a configuration that was probably meant by `key`: spelt nearly so,
 * or its last word alone. Compares with the keys of the schema only, because
 * the sender chooses how many other keys there are.
 *
 * @param key a dotted path, such as `training.epoch`.
 */
export function nearestKey(key: string): string | undefined {
  const keys = KEYS.filter((known) => known !== key);
  const word = nearest(lastWord(key), keys.map(lastWord));
  return nearest(key, keys) ?? keys.find((key) => lastWord(key) === word);
}

function lastWord(key: string): string {
  return key.slice(key.lastIndexOf(".") + 1);
}

function dottedKeys(
  { properties = {}, anyOf = [], oneOf = [] }: Keyed,
  prefix = "",
): string[] {
  const own = Object.entries(properties).flatMap(([name, value]) => [
    prefix + name,
    ...dottedKeys(value, `${prefix}${name}.`),
  ]);
  return [
    ...own,
    ...[...anyOf, ...oneOf].flatMap((one) => dottedKeys(one, prefix)),
  ];
}
