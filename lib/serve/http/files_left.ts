/**
 * How many files the process may still open. Its limit (`ulimit -n`) is not
 * told to Deno, so it is tried.
 *
 * @module
 */

/** Files that can be opened now, at most `most`. */
export function filesLeft(most: number): number {
  const files: Deno.FsFile[] = [];
  try {
    while (files.length < most) {
      files.push(Deno.openSync(import.meta.filename!));
    }
  } catch { // no more
  } finally {
    for (const file of files) file.close();
  }
  return files.length;
}
