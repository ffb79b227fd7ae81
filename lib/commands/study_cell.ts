/**
 * One cell of a study: a cross-validation in a process of its own, so that its
 * peak memory is its own and a user can run the same command.
 *
 * @module
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { TrainingError } from "../errors.ts";
import { writeFileAtomically } from "../files.ts";
import type { CellResult } from "../study/rows.ts";
import type { Cell } from "../study/study.ts";

const MAIN = fileURLToPath(new URL("../../main.ts", import.meta.url));
// What the task `train` grants.
const PERMISSIONS = ["read", "write", "env", "sys", "ffi", "net"];
const RESULT_FILE = "cell.json";

/** What the process needs to know. */
export interface CellOptions {
  manifest: string;
  /** Folder of its runs. */
  folder: string;
  /** Only these folds. */
  folds: readonly number[] | undefined;
  backend: string;
  signal: AbortSignal;
}

/**
 * Runs `cell`, or what is left of it.
 *
 * @throws {TrainingError} With what the process said, if it failed.
 */
export async function runCell(
  cell: Cell,
  options: CellOptions,
): Promise<CellResult> {
  options.signal.throwIfAborted();
  const done = await readCell(options.folder);
  if (done) return done;
  await Deno.mkdir(options.folder, { recursive: true });
  const { results } = JSON.parse(await trained(cell, options));
  const result: CellResult = { seed: cell.seed, folds: results };
  await writeFileAtomically(
    join(options.folder, RESULT_FILE),
    `${JSON.stringify(result)}\n`,
  );
  return result;
}

/** The result of the cell in `folder`, if it is done. */
export async function readCell(
  folder: string,
): Promise<CellResult | undefined> {
  const file = join(folder, RESULT_FILE);
  const text = await Deno.readTextFile(file).catch(() => undefined);
  return text === undefined ? undefined : JSON.parse(text);
}

/** What `train` prints. */
async function trained(cell: Cell, options: CellOptions): Promise<string> {
  const config = join(options.folder, "asked.json");
  await writeFileAtomically(config, JSON.stringify(cell.variant.config));
  const process = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--no-prompt",
      ...PERMISSIONS.map((name) => `--allow-${name}`),
      MAIN,
      ...trainArguments(cell, { ...options, config }),
    ],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const stop = () => process.kill("SIGTERM");
  options.signal.addEventListener("abort", stop);
  try {
    const { code, stdout, stderr } = await process.output();
    options.signal.throwIfAborted();
    if (code === 0) return new TextDecoder().decode(stdout);
    const said = new TextDecoder().decode(stderr).trim();
    throw new TrainingError(`Cannot finish ${options.folder}: ${said}`);
  } finally {
    options.signal.removeEventListener("abort", stop);
  }
}

function trainArguments(
  { variant, seed }: Cell,
  { manifest, folder, folds, backend, config }: CellOptions & {
    config: string;
  },
): string[] {
  const [protocol, ...more] = variant.protocols;
  return [
    ...["train", "--data", manifest, "--out", folder, "--config", config],
    ...["--folds", "manifest", "--seed", String(seed), "--workers", "1"],
    ...["--protocol", more.length > 0 ? "both" : protocol!],
    ...["--backend", backend, "--json"],
    ...(folds ?? []).flatMap((fold) => ["--fold", String(fold)]),
  ];
}
