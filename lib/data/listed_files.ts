/**
 * Files that exist, by the listings of their folders: one call of the system a
 * folder, in the place of one a file.
 *
 * @module
 */
import { dirname, join } from "node:path";

// A folder of fewer may hold a million other files.
const MIN_FILES = 32;

/**
 * The paths that are listed as files in folders that hold many of `paths`. Others
 * may be files too: links, names that the system takes in another spelling.
 */
export function listedFiles(paths: readonly string[]): ReadonlySet<string> {
  const counts = new Map<string, number>();
  for (const path of paths) {
    const folder = dirname(path);
    counts.set(folder, (counts.get(folder) ?? 0) + 1);
  }
  const files = new Set<string>();
  for (const [folder, count] of counts) {
    if (count < MIN_FILES) continue;
    try {
      // readDir makes a call an entry.
      for (const { name, isFile } of Deno.readDirSync(folder)) {
        if (isFile) files.add(join(folder, name));
      }
    } catch { // its files are looked at one by one
    }
  }
  return files;
}
