/**
 * Checks the paths of output files before the work begins.
 *
 * @module
 */
import { dirname } from "node:path";
import { UsageError } from "../../errors.ts";

/**
 * Checks that a file can be written at `path`.
 *
 * @param name name of the file in messages.
 * @throws {UsageError} If it is a folder, or its folder does not exist.
 */
export function checkOutputFile(path: string, name: string): void {
  if (namesFolder(path)) {
    throw new UsageError(`Cannot write ${name}: it is a folder; name a file`);
  }
  if (!isFolder(dirname(path))) {
    throw new UsageError(
      `Cannot write ${name}: the folder ${
        dirname(path)
      } does not exist; create it first`,
    );
  }
}

/** True if `path` is a folder, or names one by a trailing slash. */
export function namesFolder(path: string): boolean {
  return /[/\\]$/.test(path) || isFolder(path);
}

/**
 * Checks that no file of `outputs` is one of `inputs`, under any name.
 *
 * @param inputs files, folders and URLs, which need not exist.
 * @throws {UsageError} Naming the first such file.
 */
export async function checkApart(
  outputs: readonly string[],
  inputs: readonly string[],
): Promise<void> {
  const written = new Map<string, string>();
  for (const output of outputs) {
    const file = await fileOf(output);
    if (file !== undefined) written.set(file, output);
  }
  if (written.size === 0) return; // inputs may be a hundred thousand
  for (const input of inputs) {
    const output = written.get(await fileOf(input) ?? "");
    if (output !== undefined) {
      throw new UsageError(
        `Cannot write to ${output}: it is one of the input files; give another name`,
      );
    }
  }
}

/** Canonical path of an existing file. */
function fileOf(path: string): Promise<string | undefined> {
  return Deno.realPath(path).catch(() => undefined);
}

/** True if `path` is an existing folder. */
function isFolder(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch {
    return false;
  }
}
