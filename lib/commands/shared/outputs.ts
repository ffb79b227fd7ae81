/**
 * Files that a command is to write: wrong ones are refused before the work.
 *
 * @module
 */
import { dirname } from "node:path";
import { UsageError } from "../../errors.ts";

/**
 * Checks that a file can be written at `path`.
 *
 * @param name what messages call it.
 * @throws {UsageError} If it is a folder, or is to lie in none.
 */
export function checkOutputFile(path: string, name: string): void {
  if (namesFolder(path)) {
    throw new UsageError(`Cannot write ${name}: it is a folder`);
  }
  if (!isFolder(dirname(path))) {
    throw new UsageError(
      `Cannot write ${name}: there is no folder ${dirname(path)}`,
    );
  }
}

/** Whether `path` is a folder, or is to be one: it ends with a slash. */
export function namesFolder(path: string): boolean {
  return /[/\\]$/.test(path) || isFolder(path);
}

/**
 * Checks that no file of `outputs` is one of `inputs`, by whatever name.
 *
 * @param inputs files, folders and URLs, which need not be there.
 * @throws {UsageError} Naming the first that is.
 */
export async function checkApart(
  outputs: readonly string[],
  inputs: readonly string[],
): Promise<void> {
  const read = new Set((await Promise.all(inputs.map(fileOf))).filter(Boolean));
  for (const output of outputs) {
    const file = await fileOf(output);
    if (file !== undefined && read.has(file)) {
      throw new UsageError(
        `Cannot write to ${output}: it is one of the files to read; give another name`,
      );
    }
  }
}

/** The one path of a file that is there. */
function fileOf(path: string): Promise<string | undefined> {
  return Deno.realPath(path).catch(() => undefined);
}

/** Whether there is a folder at `path`. */
function isFolder(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch {
    return false;
  }
}
