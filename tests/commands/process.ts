/**
 * Runs the program as a user does: in a process of its own, with the
 * permissions that the tasks of deno.json grant and no others.
 *
 * @module
 */
import assert from "node:assert/strict";
import { cp } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { exists } from "../../lib/files.ts";

/** The folder of the repository. */
export const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** Command lines of the tasks, by name. */
export const taskCommands: Record<string, string> = Object.fromEntries(
  Object.entries<{ command: string }>(
    JSON.parse(await Deno.readTextFile(join(ROOT, "deno.json"))).tasks,
  ).map(([name, { command }]) => [name, command]),
);

/** Exit code and output of a process. */
export interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
}

/** A task as a process. */
export interface TaskCommand {
  /** What it sets before "deno". */
  env: Record<string, string>;
  /** The words behind it. */
  args: string[];
}

/** The command line of a task. */
export function taskOf(command: string): TaskCommand {
  const words = command.split(" ");
  const at = words.indexOf("deno");
  const set = words.slice(0, at).map((word) => word.split("="));
  return { env: Object.fromEntries(set), args: words.slice(at + 1) };
}

/** The words of a task before main.ts, for any current folder: run --allow-... */
export function taskFlags(name: string): string[] {
  const { args } = taskOf(taskCommands[name]!);
  return args.slice(0, args.indexOf("main.ts"))
    .map((word) => word.replace(/^--lock=/, `$&${ROOT}/`));
}

/** Starts `deno task ARGV` in `folder`. */
export function start(folder: string, ...argv: string[]): Deno.ChildProcess {
  return startWith([], folder, argv);
}

/** As {@linkcode start}, with more flags of `deno run`. */
export function startWith(
  more: readonly string[],
  folder: string,
  argv: readonly string[],
): Deno.ChildProcess {
  const name = Object.hasOwn(taskCommands, argv[0] ?? "") ? argv[0]! : "train";
  return new Deno.Command(Deno.execPath(), {
    args: [...taskFlags(name), ...more, join(ROOT, "main.ts"), ...argv],
    cwd: folder,
    env: taskOf(taskCommands[name]!).env,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

/** Waits for the end of a process. */
export async function outcome(process: Deno.ChildProcess): Promise<Outcome> {
  const { code, stdout, stderr } = await process.output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  const result = {
    code,
    stdout: text(stdout),
    // Without Deno's own lines of what it fetches once.
    stderr: text(stderr).replaceAll(/^Download .*\n/gm, ""),
  };
  // Not a terminal: no status line is rewritten, and none is coloured.
  // deno-lint-ignore no-control-regex
  assert.doesNotMatch(result.stdout + result.stderr, /[\r\x1b]/);
  return result;
}

/** Runs `deno task ARGV` in `folder`. */
export async function zoomin(
  folder: string,
  ...argv: string[]
): Promise<Outcome> {
  return await outcome(start(folder, ...argv));
}

/** As {@linkcode zoomin}, and asserts success. */
export async function succeed(
  folder: string,
  ...argv: string[]
): Promise<Outcome> {
  const result = await zoomin(folder, ...argv);
  assert.equal(result.code, 0, result.stderr);
  return result;
}

/** Lines on stderr of every command, or of every training. */
const USUAL = /^(engine: |(fold \d+ \S+ {2})?epoch \d+\/\d+ {2}|report: )/;

/** Lines on stderr, but for those of the engine, the epochs and the report. */
export function remarks({ stderr }: Outcome): string[] {
  return stderr.split("\n").filter((line) => line !== "" && !USUAL.test(line));
}

/**
 * Checks that a process failed with `code`, said why, and printed no result.
 */
export function assertFails(
  result: Outcome,
  { code, message }: { code: number; message: RegExp },
): void {
  assert.equal(result.code, code, result.stderr);
  assert.equal(result.stdout, "");
  assert.match(remarks(result).join("\n"), message);
  assert.doesNotMatch(result.stderr, /^ {4}at /m, "a stack is no message");
}

/** As {@linkcode assertFails}, and asserts that the reason is one line. */
export function assertFailsInOneLine(
  result: Outcome,
  expected: { code: number; message: RegExp },
): void {
  assertFails(result, expected);
  assert.equal(remarks(result).length, 1, result.stderr);
}

/** Runs checks of processes, as many at a time as there are cores. */
export async function inParallel<T>(
  items: readonly T[],
  check: (item: T) => Promise<void>,
): Promise<void> {
  const queue = items.values();
  const workers = Array.from(
    { length: Math.min(navigator.hardwareConcurrency, 4) },
    async () => {
      for (const item of queue) await check(item);
    },
  );
  await Promise.all(workers);
}

// What the runner has drawn and trained for all test files, if it has.
const SHARED = Deno.env.get("ZOOMIN_TEST_SHARED");

/** Copies a folder of what is shared, with the places that it names. */
async function copyShared(name: string, folder: string): Promise<void> {
  await cp(join(SHARED!, name), join(folder, name), { recursive: true });
  const log = join(folder, name, "log.jsonl");
  if (!await exists(log)) return;
  const text = await Deno.readTextFile(log);
  await Deno.writeTextFile(
    log,
    text.replaceAll(SHARED!, await Deno.realPath(folder)),
  );
}

/** Draws twelve images to train on and eight to test, into FOLDER/set. */
export async function drawSet(folder: string): Promise<void> {
  if (SHARED !== undefined) return await copyShared("set", folder);
  await succeed(
    folder,
    ...["dataset", "needle", "--out", "set", "--images", "12", "--test", "8"],
    ...["--size", "128", "--clusters", "2", "--objects", "2"],
    ...["--diameter", "8"],
  );
}

/** Settings with which an epoch takes a third of a second. */
export const SMALL: readonly string[] = [
  ...["--preset", "needle"],
  ...[
    "view.scale1=0.125",
    "view.tileStride=8",
    "view.scale2=0.25",
    "view.tileSize=64",
    "view.subTileSize=28",
    "view.samples=4",
    "evaluation.samples=4",
    "evaluation.draws=seeded",
    "training.batchSize=5",
    "training.validation=0.2",
    "training.contrastiveFrom=3",
    "training.saliencyWarmStart=null",
    "training.patience=null",
  ].flatMap((setting) => ["--set", setting]),
  ...["--backend", "wasm"],
];

/** Draws the set and trains on it: FOLDER/set and FOLDER/run. */
export async function drawAndTrain(folder: string): Promise<void> {
  await drawSet(folder);
  if (SHARED !== undefined) return await copyShared("run", folder);
  await succeed(
    folder,
    ...["train", "--data", "set/manifest.csv", "--out", "run"],
    ...[...SMALL, "--epochs", "1"],
  );
}

/** Creates a folder for the tests of a file, removed after the last of them. */
export function folderOfFile(
  prepare: (folder: string) => Promise<void>,
): string {
  const folder = Deno.makeTempDirSync({ prefix: "zoomin-" });
  Deno.test.beforeAll(() => prepare(folder));
  Deno.test.afterAll(() => Deno.remove(folder, { recursive: true }));
  return folder;
}
