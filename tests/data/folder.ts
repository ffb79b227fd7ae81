/**
 * Temporary folders with files in place of images.
 *
 * @module
 */
import { join } from "node:path";

/** Runs `use` with a new folder, removed at the end. */
export async function withFolder<T>(
  use: (folder: string) => Promise<T>,
): Promise<T> {
  const folder = await Deno.makeTempDir({ prefix: "zoomin-" });
  try {
    return await use(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Writes files that differ, each with its own name as content. */
export async function writeImages(
  folder: string,
  names: readonly string[],
): Promise<void> {
  for (const name of names) await Deno.writeTextFile(join(folder, name), name);
}
