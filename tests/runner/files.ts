/**
 * Which test files are long, and which need more than this process.
 *
 * @module
 */

// Seconds on one core of those that take longest, to begin with: else a lane
// is left alone with one of them.
const SECONDS: Record<string, number> = {
  "commands/demo_test.ts": 120,
};

/** The files, those that take longest first. */
export function longestFirst(files: readonly string[]): string[] {
  return files.toSorted((a, b) => secondsOf(b) - secondsOf(a));
}

function secondsOf(file: string): number {
  const key = Object.keys(SECONDS).find((key) => file.endsWith(key));
  return key === undefined ? 1 : SECONDS[key]!;
}

// They start the program or servers, or compute for long.
const NOT_FAST = [];

/** Whether a file needs neither a GPU nor another process, nor long. */
export function isFast(file: string): boolean {
  return true;
}
