/**
 * `deno task test`: all tests, or those of the files and folders named, three
 * processes side by side and a process a file.
 *
 * Other flags are Deno's own, as `--filter=NAME`. `--fast` runs only what needs
 * neither a GPU nor another process.
 *
 * @module
 */
import { statSync } from "node:fs";
import { relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { isFast, longestFirst } from "./files.ts";
import { type Outcome, PERMISSIONS, runTests } from "./process.ts";

const TESTS = fileURLToPath(new URL("..", import.meta.url));
const FIXTURE = fileURLToPath(new URL("fixture.ts", import.meta.url));
const LANES = 3; // some tests wait more than they compute

/** Test files that run in one process, and their results. */
interface Result extends Outcome {
  files: readonly string[];
}

async function main(argv: string[]): Promise<number> {
  const started = performance.now();
  const fast = argv.includes("--fast");
  const flags = argv.filter((word) =>
    word.startsWith("-") && word !== "--fast"
  );
  const places = argv.filter((word) => !word.startsWith("-"));
  const files = [
    ...new Set((places.length > 0 ? places : [TESTS]).flatMap(testFiles)),
  ]
    .filter((file) => !fast || isFast(file));
  if (files.length === 0) {
    console.error(
      `Cannot test ${places.join(", ")}: no file there ends in _test.ts`,
    );
    return 2;
  }
  if (!flags.includes("--no-check") && !await typesAreRight(files)) return 1;
  const groups = fast
    ? shares(files)
    : longestFirst(files).map((file) => [file]);
  const options = { flags: [...new Set(["--no-check", ...flags])], fast };
  const results = await withShared(
    groups.length,
    (shared) => runAll(groups, { ...options, shared }),
  );
  return conclude(results, {
    fast,
    seconds: (performance.now() - started) / 1000,
  });
}

/** Test files at `place`, as paths from the current folder. */
function testFiles(place: string): string[] {
  const path = relative(Deno.cwd(), resolve(place)) || ".";
  const stats = statSync(path, { throwIfNoEntry: false });
  if (stats === undefined) return [];
  if (stats.isFile()) return [path];
  return [...Deno.readDirSync(path)].flatMap(({ name, isDirectory }) => {
    if (isDirectory) return testFiles(`${path}/${name}`);
    return name.endsWith("_test.ts") ? [`${path}/${name}`] : [];
  });
}

/** Types are checked once, not by every process. */
async function typesAreRight(files: readonly string[]): Promise<boolean> {
  const { success } = await new Deno.Command(Deno.execPath(), {
    args: ["check", "--quiet", ...files],
    stdin: "null",
  }).spawn().status;
  return success;
}

function shares(files: readonly string[]): string[][] {
  return Array.from(
    { length: LANES },
    (_, lane) => files.filter((_, i) => i % LANES === lane),
  ).filter((files) => files.length > 0);
}

// From so many files on, some will begin with what is shared.
const MANY_FILES = 8;

/**
 * Draws and trains what many files begin with and copy, and calls `run` with the
 * environment that tells them where it is.
 */
async function withShared<T>(
  processes: number,
  run: (environment: Record<string, string>) => Promise<T>,
): Promise<T> {
  if (processes < MANY_FILES) return await run({});
  const place = await Deno.makeTempDir({ prefix: "zoomin-shared-" });
  try {
    const { success } = await new Deno.Command(Deno.execPath(), {
      args: ["run", ...PERMISSIONS, "--no-check", FIXTURE, place],
      stdin: "null",
    }).spawn().status;
    if (!success) console.error("Nothing is shared: each file draws its own");
    return await run(success ? { ZOOMIN_TEST_SHARED: place } : {});
  } finally {
    await Deno.remove(place, { recursive: true });
  }
}

/**
 * Runs all groups, in lanes; prints the result of each as it ends.
 *
 * @param shared environment of all.
 */
async function runAll(
  groups: readonly string[][],
  { flags, fast, shared }: {
    flags: readonly string[];
    fast: boolean;
    shared: Record<string, string>;
  },
): Promise<Result[]> {
  const env: Record<string, string> = {
    ...shared,
    ...(fast && { ZOOMIN_TEST_GPU: "0" }),
  };
  const alone = groups.length === 1;
  const queue = groups.values();
  const results: Result[] = [];
  const work = async () => {
    for (const files of queue) {
      const started = performance.now();
      const said: string[] = [];
      const outcome = await runTests(files, {
        flags,
        env,
        onLine: (line) => alone ? console.log(line) : said.push(line),
      });
      if (outcome.failed > 0 && !alone) console.log(said.join("\n"));
      results.push({ files, ...outcome });
      tell(files, outcome, (performance.now() - started) / 1000);
    }
  };
  await Promise.all(Array.from({ length: LANES }, work));
  return results;
}

function tell(
  files: readonly string[],
  { passed, failed, ignored, note }: Outcome,
  seconds: number,
): void {
  console.log(
    `${nameOf(files)} ... ${failed > 0 ? "FAILED" : "ok"} (${
      counts(passed, failed, ignored.length)
    }, ${Math.round(seconds)} s)${note ? `; ${note}` : ""}`,
  );
}

function nameOf(files: readonly string[]): string {
  return files.length === 1 ? files[0]! : `${files.length} files`;
}

function counts(passed: number, failed: number, ignored: number): string {
  return `${passed} passed, ${failed} failed` +
    (ignored > 0 ? `, ${ignored} ignored` : "");
}

/** Prints failures, ignored tests and Deno's closing line. Returns the exit code. */
function conclude(
  results: readonly Result[],
  { fast, seconds }: { fast: boolean; seconds: number },
): number {
  for (const { files, failures } of results) {
    if (failures !== "") console.log(`\n--- ${nameOf(files)}\n${failures}`);
  }
  const ignored = results.flatMap(({ ignored }) => ignored);
  if (fast) console.log(`\n${ignored.length} need a GPU, and were skipped`);
  else if (ignored.length > 0) {
    console.log(`\nIgnored:\n  ${ignored.join("\n  ")}`);
  }
  for (const { files, note } of results) {
    if (note) console.log(`\n${nameOf(files)}: ${note}`);
  }
  const sum = (count: (result: Result) => number) =>
    results.reduce((total, result) => total + count(result), 0);
  const passed = sum(({ passed }) => passed);
  const failed = sum(({ failed }) => failed);
  console.log(
    `\n${failed > 0 ? "FAILED" : "ok"} | ${passed} passed | ${failed} failed${
      ignored.length > 0 ? ` | ${ignored.length} ignored` : ""
    } (${Math.round(seconds)}s)`,
  );
  return failed > 0 ? 1 : 0;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
