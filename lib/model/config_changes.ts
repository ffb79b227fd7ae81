/**
 * Differences of configurations, by the path of keys.
 *
 * @module
 */
import { isRecord } from "./config.ts";

/** A setting that differs. */
export interface ConfigChange {
  /** Its path, such as `training.epochs`. */
  key: string;
  before: unknown;
  after: unknown;
}

/** The settings of `after` that are not those of `before`. */
export function* configChanges(
  before: unknown,
  after: unknown,
  key = "",
): Generator<ConfigChange> {
  if (same(before, after)) return;
  if (!isRecord(before) || !isRecord(after)) {
    yield { key, before, after };
    return;
  }
  for (const name of Object.keys(after)) {
    const path = key === "" ? name : `${key}.${name}`;
    yield* configChanges(before[name] ?? null, after[name], path);
  }
}

/** True if two values have the same JSON. */
export function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
