/**
 * Mutants: small faults put into the code on purpose. A test that can fail
 * catches the fault; a mutant that survives shows a check that cannot.
 *
 * @module
 */
import { join } from "node:path";

/** Faults of one file, and the tests that must catch each of them. */
export interface MutantGroup {
  /** From the repository's root, as are `tests`. */
  file: string;
  tests: readonly string[];
  /** The tests need a GPU: the file is a shader, or runs one. */
  gpu?: boolean;
  changes: readonly Change[];
}

/** One fault: the text that it replaces occurs once in the file. */
export type Change = readonly [
  find: string,
  replacement: string,
  /** Why no test can catch it; such a mutant is not counted. */
  equivalent?: string,
];

/** One fault by itself. */
export interface Mutant extends Omit<MutantGroup, "changes"> {
  name: string;
  find: string;
  replacement: string;
  equivalent?: string | undefined;
}

/** The faults of all groups, each with a name of one line. */
export function mutantsOf(groups: readonly MutantGroup[]): Mutant[] {
  return groups.flatMap(({ changes, ...group }) =>
    changes.map(([find, replacement, equivalent]) => ({
      ...group,
      name: `${group.file}: ${oneLine(find)} -> ${oneLine(replacement)}`,
      find,
      replacement,
      equivalent,
    }))
  );
}

/** Returns the reason why a mutant cannot be applied to the tree at `root`. */
export async function staleness(
  { file, find, tests }: Mutant,
  root: string,
): Promise<string | undefined> {
  for (const path of [file, ...tests]) {
    const found = await Deno.stat(join(root, path)).catch(() => undefined);
    if (!found?.isFile) return `there is no file ${path}`;
  }
  const source = await Deno.readTextFile(join(root, file));
  const times = source.split(find).length - 1;
  return times === 1 ? undefined : `its text occurs ${times} times`;
}

function oneLine(text: string): string {
  const line = text.replaceAll(/\s+/g, " ").trim();
  return line === "" ? "(nothing)" : line;
}
