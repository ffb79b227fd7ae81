/**
 * Where the data sets and odd files lie that are too large, or not ours, to be
 * kept in the repository. Tests that need them are ignored without them.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { join } from "node:path";

const shared = fileURLToPath(new URL("../../shared", import.meta.url));

/** Path of a file or folder of the shared data; undefined where it is absent. */
export function sharedData(...parts: string[]): string | undefined {
  const path = join(shared, "data", ...parts);
  return existsSync(path) ? path : undefined;
}
