/**
 * Place of the data sets and odd files that are too large for the repository, or
 * not ours. Tests that need them are ignored without them; with
 * ZOOMIN_REQUIRE_DATA=1 they fail.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { join } from "node:path";

const isRequired = Deno.env.get("ZOOMIN_REQUIRE_DATA") === "1";
const shared = fileURLToPath(new URL("../../shared", import.meta.url));

/**
 * Path of a file or folder of the shared data; undefined if it is absent and
 * may be.
 */
export function sharedData(...parts: string[]): string | undefined {
  const path = join(shared, "data", ...parts);
  return existsSync(path) || isRequired ? path : undefined;
}
