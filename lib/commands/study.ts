/**
 * `deno task study`: run a grid of cross-validations and write one report.
 *
 * @module
 */
import { dirname, join, resolve } from "node:path";
import { withoutTest } from "../data/folds.ts";
import { type Manifest, readManifest } from "../data/manifest.ts";
import { UsageError } from "../errors.ts";
import { exists, moveFolder } from "../files.ts";
import { isStudyName, STUDIES, type StudyName } from "../study/studies.ts";
import type { StudyResults } from "../study/report.ts";
import { readRescored } from "../study/rescore.ts";
import type { CellResult } from "../study/rows.ts";
import { type Cell, cellsOf, type Study } from "../study/study.ts";
import { type DoneCell, writeReport } from "../study/write.ts";
import {
  FOLDS_FILE,
  foldsDone,
  foldsOfClasses,
} from "../train/runs/crossval.ts";
import { foldTasks } from "../train/runs/fold_task.ts";
import { checkSameEntries } from "../train/runs/run_data.ts";
import { environment } from "../engine/environment.ts";
import { type Engine, startEngine } from "../engine/select.ts";
import { isFrozen } from "../model/config.ts";
import { hardwareAdapter } from "../engine/webgpu.ts";
import { startTrainingEngine } from "../train/engine_choice.ts";
import { MANIFEST_ROIS } from "./shared/boxes.ts";
import { CONFIG_FLAGS, frozenChoice } from "./shared/config_flags.ts";
import { COMMON_FLAGS, workers } from "./shared/common_flags.ts";
import {
  parseFlags,
  required,
  text,
  texts,
  toggle,
  type Usage,
} from "./shared/flags.ts";
import { reportAtEnd } from "./shared/report.ts";
import {
  type Merged,
  parseShard,
  partName,
  type Shard,
  SHARD_FLAGS,
  shareOfItems,
  withoutShard,
  writePart,
} from "./shared/shard.ts";
import { FEATURES_FOLDER } from "../train/runs/folds_folder.ts";
import { crossValidationStarted } from "./shared/run_folder.ts";
import { JOBS_FLAGS, jobsPlace } from "./shared/jobs_flags.ts";
import type { NatsPlace } from "../serve/jobs/nats/place.ts";
import {
  type CellPlace,
  finishCell,
  heldOut,
  readCell,
  tableHash,
} from "./study_cell.ts";
import { type CellRequest, runByHosts } from "./study_jobs.ts";
import { work, WORK_FLAGS } from "./study_work.ts";
import {
  announceEngine,
  duration,
  interruptSignal,
  ProgressLine,
} from "./shared/terminal.ts";

export const summary = "Compare ways to train, and write a report";

const FLAGS = {
  out: required(
    text(
      "DIR",
      "folder of runs, report.md, results.json and figures; a stopped study continues",
      { paths: "folders" },
    ),
  ),
  data: text("MANIFEST", "table of images; needed by colon and gtsdb", {
    paths: "files",
  }),
  only: texts("VARIANT", "only this variant"),
  encoder: {
    ...CONFIG_FLAGS.encoder,
    about:
      "add variants on the features of this pretrained network: trained on all locations, its teacher, and mean features under a logistic regression",
  },
  features: {
    ...CONFIG_FLAGS.features,
    about: "add the same on features that need no download",
  },
  "feature-cache": text(
    "DIR",
    "keep features of frozen networks here, 10 GB at most (features in DIR of --out)",
    { paths: "folders" },
  ),
  workers: workers("runs in parallel (one a core)"),
  backend: COMMON_FLAGS.backend,
  shard: SHARD_FLAGS.shard,
  ...JOBS_FLAGS,
  jobs: {
    ...JOBS_FLAGS.jobs,
    about:
      "let the hosts of study work do the runs: nats://HOST:PORT[,HOST:PORT...][/PREFIX], tls:// with TLS",
  },
  quick: toggle("a trial run of minutes, whose figures mean nothing"),
  report: toggle("train nothing; write the report of the finished runs"),
  json: toggle("print results.json"),
};

export const usage: Usage = {
  synopsis: [
    "deno task study NAME --out DIR",
    "deno task study work --jobs nats://HOST:PORT --state DIR",
  ],
  positionals: {
    NAME: Object.keys(STUDIES).join(", "),
    work: "do the runs of studies that other hosts started with --jobs",
  },
  groups: [
    { flags: FLAGS },
    { title: "Of study work:", flags: WORK_FLAGS },
  ],
  operands: { words: [...Object.keys(STUDIES), "work"] },
  notes:
    "With --jobs every host needs the tables of images at the same paths; drawn images it draws itself. Ctrl-C stops a host and gives its runs back.",
};

/** A running study. */
interface Setup {
  name: StudyName;
  /** The table of its images, if they are not drawn. */
  manifest: string | undefined;
  study: Study;
  folder: string;
  /** Folder of frozen features, which all cells share. */
  featureFolder: string;
  cells: readonly Cell[];
  quick: boolean;
  reportOnly: boolean;
  command: string;
  engine: Engine;
  workers: number;
  /** Where hosts get the runs; they are done here if undefined. */
  jobs: NatsPlace | undefined;
  signal: AbortSignal;
}

/**
 * Runs the unfinished cells, and writes the report after each.
 *
 * @throws {UsageError} If a flag is wrong.
 */
export async function run(argv: string[]): Promise<number> {
  const [name, ...rest] = argv;
  if (name === "work") return await work(rest);
  const { setup, shard, json } = await setupOf(argv);
  if (shard) return await runShard(argv, setup, shard);
  const results = await runAll(setup);
  console.log(
    json
      ? JSON.stringify(results)
      : `${setup.folder}: ${results.done} of ${results.cells} runs done, see ${
        join(setup.folder, "report.md")
      }`,
  );
  await reportAtEnd(setup.folder, setup.signal);
  return 0;
}

/** Folder of the runs of a cell in that of a shard, and in that of the study. */
interface MovedCell {
  from: string;
  to: string;
}

/** Brings the runs of all shards together, and writes the report of them. */
export async function merge(
  { argv, items }: Merged<MovedCell>,
): Promise<number> {
  const { values: { out: folder } } = parseFlags(argv.slice(1), FLAGS);
  for (const { from, to } of items) {
    const target = join(folder, to);
    if (await exists(target)) continue; // a merge that was stopped
    await Deno.mkdir(dirname(target), { recursive: true });
    await moveFolder(join(folder, from), target);
  }
  return await run([...argv, "--report"]);
}

/** Runs the cells of a shard in a folder of its own, and leaves its part. */
async function runShard(
  argv: readonly string[],
  setup: Setup,
  shard: Shard,
): Promise<number> {
  const { folder, engine } = setup;
  const own = shareOfItems(setup.cells, shard);
  const name = partName(shard);
  await runAll({
    ...setup,
    folder: join(folder, name),
    cells: own.map(({ item }) => item),
  });
  const path = await writePart(
    folder,
    {
      command: "study",
      argv: withoutShard(argv),
      shard,
      items: setup.cells.length,
      environment: environment(engine),
    },
    own.map(({ at, item: { folder: to } }) => ({
      at,
      item: { from: join(name, to), to },
    })),
  );
  console.error(`${path}: ${own.length} of ${setup.cells.length} runs done`);
  return 0;
}

async function setupOf(argv: string[]) {
  const [name = "", ...args] = argv;
  if (!isStudyName(name)) {
    throw new UsageError(
      `There is no study "${name}": the first argument must be ${
        Object.keys(STUDIES).join(" or ")
      }, or work`,
    );
  }
  const kind = STUDIES[name];
  const { values: flags } = parseFlags(args, FLAGS);
  const jobs = jobsPlace(flags);
  const wrong = (["shard", "workers", "feature-cache"] as const)
    .find((flag) => flags[flag] !== undefined);
  if (jobs && wrong !== undefined) {
    throw new UsageError(
      `--${wrong} is of runs on this machine, and with --jobs other hosts do them: leave out one of them`,
    );
  }
  const { out: folder, quick } = flags;
  const shard = flags.shard === undefined ? undefined : parseShard(flags.shard);
  const frozen = await frozenChoice({ ...flags, boxes: true }, kind);
  const study = kind.make({ manifest: flags.data, quick, frozen });
  const cells = chosen(study, flags.only);
  const workers = flags.workers ?? navigator.hardwareConcurrency;
  const signal = interruptSignal("Stopped: run the same command to continue");
  const engine = await announceEngine(
    flags.backend,
    () =>
      flags.report || jobs ? startEngine("auto") : startStudyEngine(cells, {
        data: new Data({ study, folder }),
        workers,
        signal,
      }),
  );
  const setup: Setup = {
    name,
    manifest: flags.data,
    study,
    folder,
    featureFolder: flags["feature-cache"] ?? join(folder, FEATURES_FOLDER),
    cells,
    quick,
    reportOnly: flags.report,
    command: commandOf(argv),
    engine,
    workers,
    jobs,
    signal,
  };
  return { setup, shard, json: flags.json };
}

/** Starts what `auto` means for a study: by the first training of a network. */
async function startStudyEngine(
  cells: readonly Cell[],
  { data, workers, signal }: {
    data: Data;
    workers: number;
    signal: AbortSignal;
  },
): Promise<Engine> {
  const cell = cells.find(({ variant: { config } }) =>
    !isFrozen(config.network.features)
  );
  if (!cell || !await hardwareAdapter()) return await startEngine("auto");
  const { entries, classes } = await data.of(cell);
  return await startTrainingEngine({
    images: entries,
    config: cell.variant.config,
    classes,
    trainings: workers,
    signal,
  });
}

/**
 * The command that reproduces the figures, without the flags of this call
 * alone, one of which may have a password.
 */
function commandOf(argv: readonly string[]): string {
  const kept = argv.filter((word, i) =>
    word !== "--report" && word !== "--json" &&
    !/^--jobs(-\w+)?(=|$)/.test(word) &&
    !/^--jobs(-\w+)?$/.test(argv[i - 1] ?? "")
  );
  return `deno task study ${kept.join(" ")}`;
}

function chosen(study: Study, only: readonly string[]): Cell[] {
  const names = study.variants.map(({ name }) => name);
  const unknown = only.find((name) => !names.includes(name));
  if (unknown !== undefined) {
    throw new UsageError(
      `There is no variant ${unknown} (--only): those of ${study.name} are ${
        names.join(", ")
      }`,
    );
  }
  // A teacher is that of a run.
  const runs = study.variants
    .filter(({ name }) => only.length === 0 || only.includes(name))
    .map(({ name, teacherOf }) => teacherOf ?? name);
  return cellsOf(study).filter(({ variant }) => runs.includes(variant.name));
}

/** Runs all cells; a failure stops the others. */
async function runAll(setup: Setup): Promise<StudyResults> {
  const data = new Data(setup);
  const line = new ProgressLine();
  const started = performance.now();
  let reported = report(setup, data);
  let results = await reported;
  const queue = setup.reportOnly ? [] : [...setup.cells];
  const before = results.done;
  const placeText = () => {
    const seconds = (performance.now() - started) / 1000;
    const own = results.done - before; // those done earlier took no time now
    const left = own > 0
      ? `, ${duration(seconds / own * (results.cells - results.done))} left`
      : "";
    return `${results.done}/${results.cells} runs done in ${
      duration(seconds)
    }${left}`;
  };
  const onDone = async ({ folder }: Cell) => {
    reported = reported.then(() => report(setup, data)); // one at a time
    results = await reported;
    line.note(`${placeText()}  ${folder} is done`);
  };
  const onState = (text: string) => line.show(`${placeText()}  ${text}`);
  const { jobs } = setup;
  try {
    await (jobs === undefined
      ? runHere(queue, data, { ...setup, onDone, onState })
      : runByHosts(queue, {
        ...setup,
        place: jobs,
        requestOf: (cell) => requestOf(cell, setup, data),
        onDone,
        onState,
      }));
    return results;
  } finally {
    line.clear();
  }
}

/** Runs cells in processes of this machine. */
async function runHere(
  queue: Cell[],
  data: Data,
  { onDone, onState, ...setup }: Setup & {
    onDone: (cell: Cell) => Promise<void>;
    onState: (text: string) => void;
  },
): Promise<void> {
  const failed = new AbortController();
  const signal = AbortSignal.any([setup.signal, failed.signal]);
  const serve = async () => {
    for (let cell = queue.shift(); cell; cell = queue.shift()) {
      const { folder } = cell;
      onState(folder);
      const manifest = await data.of(cell);
      await finishCell(cell, {
        ...placeOf(cell, setup, manifest),
        manifest,
        engine: setup.engine,
        featureFolder: setup.featureFolder,
        signal,
        onEpoch: (text) => onState(`${folder}  ${text}`),
      });
      await onDone(cell);
    }
  };
  await Promise.all(Array.from(
    { length: setup.workers },
    () => serve().catch((error) => failed.abort(error)),
  ));
  signal.throwIfAborted();
}

/** A cell as a job of any host; undefined if it is done. */
async function requestOf(
  cell: Cell,
  setup: Setup,
  data: Data,
): Promise<CellRequest | undefined> {
  const { name: study, study: { data: sets }, quick, manifest } = setup;
  const images = await data.of(cell);
  const { path } = images;
  if (await readCell(cell, placeOf(cell, setup, images))) return undefined;
  return {
    cell,
    folds: sets[cell.variant.data]!.folds ?? null,
    images: {
      study,
      quick,
      manifest: manifest === undefined ? null : resolve(manifest),
      hash: await tableHash(path),
    },
  };
}

function placeOf(
  { variant, folder: runs }: Cell,
  { study, folder }: Setup,
  manifest: Manifest,
): CellPlace {
  const { folds } = study.data[variant.data]!;
  return { manifest: manifest.path, folder: join(folder, runs), folds };
}

/** Writes the report of all results in the study's folder. */
async function report(setup: Setup, data: Data): Promise<StudyResults> {
  const { study, folder, command, engine, quick } = setup;
  const cells = cellsOf(study);
  const found: DoneCell[] = [];
  let done = 0;
  for (const cell of cells) {
    if (!await exists(join(folder, cell.folder))) continue;
    const place = placeOf(cell, setup, await data.of(cell));
    const result = await readCell(cell, place);
    if (result) done++;
    const part = result ?? await partOf(cell, setup, data);
    if (part) found.push(await withRescored(cell, part, setup, data));
  }
  return await writeReport(folder, study, found, {
    command,
    environment: environment(engine),
    done,
    cells: cells.length,
    quick,
  });
}

/** Finished folds of an unfinished cell. */
async function partOf(
  cell: Cell,
  { study, folder }: Setup,
  data: Data,
): Promise<CellResult | undefined> {
  const runs = join(folder, cell.folder);
  const { config, protocols, data: name, boxes: limit } = cell.variant;
  const asked = {
    config,
    seed: cell.seed,
    foreground: undefined,
    boxes: limit === undefined ? undefined : { name: MANIFEST_ROIS, limit },
  };
  if (!await crossValidationStarted(runs, asked)) return;
  const { entries } = await data.of(cell);
  await checkSameEntries(join(runs, FOLDS_FILE), entries, "classes");
  const { folds } = study.data[name]!;
  const done = await foldsDone(runs, foldTasks(entries, { protocols, folds }));
  if (done.length === 0) return undefined;
  return { seed: cell.seed, folds: foldsOfClasses(done) };
}

async function withRescored(
  cell: Cell,
  result: CellResult,
  { folder }: Setup,
  data: Data,
): Promise<DoneCell> {
  const rescored = new Map<number, CellResult>();
  for (const samples of cell.variant.samples ?? []) {
    const runs = join(folder, cell.folder);
    const folds = await readRescored(runs, heldOut(result), samples);
    if (folds?.length) rescored.set(samples, { ...result, folds });
  }
  return { cell, result, rescored, manifest: await data.of(cell) };
}

/** Images of a study, made or read on first use. */
class Data {
  readonly #setup: Pick<Setup, "study" | "folder">;
  readonly #manifests = new Map<string, Promise<Manifest>>();

  constructor(setup: Pick<Setup, "study" | "folder">) {
    this.#setup = setup;
  }

  /** Images of a cell. */
  of({ variant: { data } }: Cell): Promise<Manifest> {
    let manifest = this.#manifests.get(data);
    if (!manifest) {
      manifest = this.#prepare(data);
      this.#manifests.set(data, manifest);
    }
    return manifest;
  }

  async #prepare(name: string): Promise<Manifest> {
    const { study, folder } = this.#setup;
    const path = await study.data[name]!.prepare(join(folder, "data", name));
    const manifest = await readManifest(path);
    return { ...manifest, entries: withoutTest(manifest.entries) };
  }
}
