/**
 * One cell of a study: a cross-validation in its own process, so that its peak
 * memory can be measured and a user can run the same command.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Manifest } from "../data/manifest.ts";
import type { Engine } from "../engine/select.ts";
import { TrainingError, UsageError } from "../errors.ts";
import { writeFileAtomically } from "../files.ts";
import { type Config, isRecord } from "../model/config.ts";
import { same } from "../model/config_changes.ts";
import { rescore } from "../study/rescore.ts";
import type { CellResult } from "../study/rows.ts";
import type { Cell } from "../study/study.ts";
import type { FoldResult } from "../train/runs/crossval.ts";
import type { NatsPlace } from "../serve/jobs/nats/place.ts";
import { leaveNote } from "./shared/parent.ts";
import { MANIFEST_ROIS } from "./shared/boxes.ts";
import { isEpochText } from "./shared/train_setup.ts";
import type { PooledRequest } from "./pooled_cell.ts";

const MAIN = fileURLToPath(new URL("../../main.ts", import.meta.url));
const POOLED = fileURLToPath(new URL("./pooled_cell.ts", import.meta.url));
const HOSTED = fileURLToPath(new URL("./hosted_run.ts", import.meta.url));
const LOCK = fileURLToPath(new URL("../../encoders.lock", import.meta.url));
// Permissions of the task `train`.
const PERMISSIONS = ["read", "write", "env", "sys", "ffi", "net"];
/** The result of a run, in its folder: written last. */
export const CELL_FILE = "cell.json";

/** Folder, images and folds of a cell. */
export interface CellPlace {
  manifest: string;
  /** Folder of the cell's runs. */
  folder: string;
  /** Folds to run; all if undefined. */
  folds: readonly number[] | undefined;
}

/** Options of the process. */
export interface CellOptions extends CellPlace {
  backend: Engine["backend"];
  /** Folder of frozen features. */
  featureFolder: string;
  /** Where hosts share it, if it continues on others: with its features. */
  hostedBy?: NatsPlace;
  signal: AbortSignal;
  /** Called with a line an epoch. */
  onEpoch: (text: string) => void;
}

/** Options of {@linkcode finishCell}. */
export interface FinishOptions
  extends Omit<CellOptions, "manifest" | "backend"> {
  manifest: Manifest;
  engine: Engine;
}

/**
 * Runs a cell, then evaluates its checkpoints with other numbers of samples.
 *
 * @throws {TrainingError | UsageError} As {@linkcode runCell}.
 */
export async function finishCell(
  cell: Cell,
  { manifest, engine, ...options }: FinishOptions,
): Promise<void> {
  const { path } = manifest;
  const { backend } = engine;
  const result = await runCell(cell, { ...options, manifest: path, backend });
  const { folder, signal } = options;
  for (const samples of cell.variant.samples ?? []) {
    await engine.whileAlive(() =>
      rescore(folder, heldOut(result), { manifest, samples, signal })
    );
  }
}

/** The folds of a result under the protocol `held-out`. */
export function heldOut({ folds }: CellResult): FoldResult[] {
  return folds.filter(({ protocol }) => protocol === "held-out");
}

/** Origin of a result, kept beside it. */
interface Asked {
  config: Config;
  seed: number;
  folds: readonly number[] | null;
  /** SHA-256 of the manifest. */
  data: string;
  /** Training images whose objects it was trained on, if any. */
  boxes?: number;
}

/**
 * Runs `cell`, or continues it.
 *
 * @throws {TrainingError} With the output of the process, if it failed.
 * @throws {UsageError} As {@linkcode readCell}.
 */
export async function runCell(
  cell: Cell,
  options: CellOptions,
): Promise<CellResult> {
  options.signal.throwIfAborted();
  const done = await readCell(cell, options);
  if (done) return done;
  await Deno.mkdir(options.folder, { recursive: true });
  const { results } = JSON.parse(await trained(cell, options));
  const result: CellResult = { seed: cell.seed, folds: results };
  await writeFileAtomically(
    join(options.folder, CELL_FILE),
    `${JSON.stringify({ ...result, asked: await askedOf(cell, options) })}\n`,
  );
  return result;
}

/**
 * Reads the result of `cell`, if it is finished.
 *
 * @throws {UsageError} If the folder holds a result of other settings.
 */
export async function readCell(
  cell: Cell,
  place: CellPlace,
): Promise<CellResult | undefined> {
  const file = join(place.folder, CELL_FILE);
  const text = await Deno.readTextFile(file).catch(() => undefined);
  if (text === undefined) return;
  const { asked: made = {}, ...result } = JSON.parse(text);
  const changed = Object.entries(await askedOf(cell, place))
    .filter(([name, value]) =>
      !same(value, name === "config" ? completed(made.config) : made[name])
    )
    .map(([name]) => name);
  if (changed.length === 0) return result;
  throw new UsageError(
    `${place.folder} was made with another ${
      changed.join(" and ")
    }: give the --data it was made with, and --quick only if it was, or another --out`,
  );
}

/** A configuration of an older version, with the target that it had. */
function completed(config: unknown): unknown {
  if (!isRecord(config)) return config;
  const { preset, ...rest } = config;
  return { preset, target: "classes", ...rest };
}

async function askedOf(
  { variant, seed }: Cell,
  { manifest, folds }: CellPlace,
): Promise<Asked> {
  const { config, boxes } = variant;
  return {
    config,
    seed,
    folds: folds ?? null,
    data: await tableHash(manifest),
    ...(boxes !== undefined && { boxes }),
  };
}

/** SHA-256 of a table, which tells its content. */
export async function tableHash(path: string): Promise<string> {
  return createHash("sha256").update(await Deno.readFile(path)).digest("hex");
}

/** Output of the process that trains and tests the folds: `{ results }`. */
async function trained(cell: Cell, options: CellOptions): Promise<string> {
  const process = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--no-prompt",
      `--lock=${LOCK}`,
      ...PERMISSIONS.map((name) => `--allow-${name}`),
      ...cell.variant.pooled
        ? [POOLED, await pooledRequest(cell, options)]
        : options.hostedBy
        ? [HOSTED, ...(await trainArguments(cell, options)).slice(1)]
        : [MAIN, ...await trainArguments(cell, options)],
    ],
    stdin: "piped", // closed when this process ends
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const stop = () => process.kill("SIGTERM");
  options.signal.addEventListener("abort", stop);
  try {
    await leaveNote(process.stdin, { features: options.hostedBy ?? null })
      .catch(() => {}); // it has ended
    const remarks: string[] = [];
    const [stdout, { code }] = await Promise.all([
      new Response(process.stdout).text(),
      process.status,
      forEachLine(process.stderr, (line) => {
        if (isEpochText(line)) options.onEpoch(line);
        else remarks.push(line);
      }),
    ]);
    options.signal.throwIfAborted();
    if (code === 0) return stdout;
    const said = remarks.join("\n").trim();
    throw new TrainingError(`Training in ${options.folder} failed: ${said}`);
  } finally {
    options.signal.removeEventListener("abort", stop);
    await process.stdin.close().catch(() => {}); // it has ended
  }
}

/** Calls `use` with each line of text that arrives. */
async function forEachLine(
  bytes: ReadableStream<BufferSource>,
  use: (line: string) => void,
): Promise<void> {
  let rest = "";
  for await (const text of bytes.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    lines.forEach(use);
  }
  if (rest !== "") use(rest);
}

/** Writes the request of a pooled baseline to a file, and returns its path. */
async function pooledRequest(
  { variant: { config }, seed }: Cell,
  { signal: _, onEpoch: _told, hostedBy: _noted, ...options }: CellOptions,
): Promise<string> {
  const request: PooledRequest = { ...options, config, seed };
  return await writtenTo(options.folder, request);
}

async function writtenTo(folder: string, asked: unknown): Promise<string> {
  const file = join(folder, "asked.json");
  await writeFileAtomically(file, JSON.stringify(asked));
  return file;
}

async function trainArguments(
  { variant, seed }: Cell,
  { manifest, folder, folds, backend, featureFolder }: CellOptions,
): Promise<string[]> {
  const config = await writtenTo(folder, variant.config);
  const [protocol, ...more] = variant.protocols;
  return [
    ...["train", "--data", manifest, "--out", folder, "--config", config],
    ...["--folds", "manifest", "--seed", String(seed), "--workers", "1"],
    ...["--protocol", more.length > 0 ? "both" : protocol!],
    ...["--backend", backend, "--json"],
    ...(variant.boxes === undefined
      ? []
      : ["--boxes", MANIFEST_ROIS, "--boxes-images", String(variant.boxes)]),
    ...(variant.config.training.dense
      ? ["--feature-cache", featureFolder]
      : []),
    ...(folds ?? []).flatMap((fold) => ["--fold", String(fold)]),
  ];
}
