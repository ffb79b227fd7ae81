/**
 * `deno task study`: run a grid of cross-validations and write one report.
 *
 * @module
 */
import { join } from "node:path";
import { type Manifest, readManifest } from "../data/manifest.ts";
import { UsageError } from "../errors.ts";
import { writeFileAtomically } from "../files.ts";
import { colonStudy } from "../study/colon.ts";
import { gtsdbStudy } from "../study/gtsdb.ts";
import { needleStudy } from "../study/needle.ts";
import { rescore } from "../study/rescore.ts";
import { type Cell, cellsOf, type Study } from "../study/study.ts";
import { type DoneCell, writeReport } from "../study/write.ts";
import { environment } from "./environment.ts";
import { Flags } from "./flags.ts";
import { runCell } from "./study_cell.ts";
import {
  announceEngine,
  duration,
  interruptSignal,
  ProgressLine,
} from "./terminal.ts";

const STUDIES = { colon: colonStudy, needle: needleStudy, gtsdb: gtsdbStudy };

export const summary = "Compare ways to train, and write a report";

export const usage = `deno task study NAME --out DIR

  NAME             ${Object.keys(STUDIES).join(", ")}
  --out DIR        runs, report.md, results.json and figures; a study that was
                   cut off goes on
  --data MANIFEST  the images of colon and gtsdb
  --only VARIANT   only this variant; may be repeated
  --workers N      runs side by side (one a core)
  --backend NAME   auto, webgpu or wasm (auto)
  --quick          show in minutes that all works: the figures mean nothing
  --json           print results.json`;

/** A study under way. */
interface Setup {
  study: Study;
  folder: string;
  cells: readonly Cell[];
  quick: boolean;
  command: string;
  environment: Record<string, unknown>;
  backend: string;
  workers: number;
  signal: AbortSignal;
}

/**
 * Runs what is not done yet, and writes the report after every cell.
 *
 * @throws {UsageError} If a flag is wrong.
 */
export async function run(argv: string[]): Promise<number> {
  const [name = "", ...args] = argv;
  const make = Object.hasOwn(STUDIES, name) &&
    STUDIES[name as keyof typeof STUDIES];
  if (!make) {
    throw new UsageError(
      `Cannot run a study "${name}": write ${
        Object.keys(STUDIES).join(" or ")
      } first`,
    );
  }
  const flags = new Flags(args, {
    out: { type: "string" },
    data: { type: "string" },
    only: { type: "string", multiple: true },
    workers: { type: "string" },
    backend: { type: "string" },
    quick: { type: "boolean" },
    json: { type: "boolean" },
  });
  const folder = flags.required("out", "DIR");
  const quick = flags.has("quick");
  const study = make({ manifest: flags.text("data"), quick });
  const cells = chosen(study, flags.texts("only"));
  const engine = await announceEngine(flags.backend());
  const setup: Setup = {
    study,
    folder,
    cells,
    quick,
    command: `deno task study ${argv.join(" ")}`,
    environment: environment(engine),
    backend: engine.backend,
    workers: flags.integer("workers", { least: 1, most: 64 }) ??
      navigator.hardwareConcurrency,
    signal: interruptSignal(),
  };
  const results = await runAll(setup);
  console.log(
    flags.has("json")
      ? JSON.stringify(results)
      : `${folder}: ${results.done} of ${results.cells} runs done, see ${
        join(folder, "report.md")
      }`,
  );
  return 0;
}

function chosen(study: Study, only: readonly string[]): Cell[] {
  const names = study.variants.map(({ name }) => name);
  const unknown = only.find((name) => !names.includes(name));
  if (unknown !== undefined) {
    throw new UsageError(
      `Cannot take --only ${unknown}: the variants of ${study.name} are ${
        names.join(", ")
      }`,
    );
  }
  return cellsOf(study).filter(({ variant }) =>
    only.length === 0 || only.includes(variant.name)
  );
}

async function runAll(setup: Setup) {
  const { study, folder, cells, signal } = setup;
  const manifests = await prepareData(study, cells, folder);
  const line = new ProgressLine();
  const done: DoneCell[] = [];
  const started = performance.now();
  const report = () =>
    writeReport(folder, study, done, {
      command: setup.command,
      environment: setup.environment,
      cells: cells.length,
      quick: setup.quick,
    });
  let results = await report();
  const queue = [...cells];
  const serve = async () => {
    for (let cell = queue.shift(); cell; cell = queue.shift()) {
      line.show(
        `${done.length}/${cells.length} runs done, ${
          duration((performance.now() - started) / 1000)
        }: ${cell.folder}`,
      );
      const manifest = manifests.get(cell.variant.data)!;
      done.push(await finishCell(cell, manifest, setup));
      results = await report();
    }
  };
  try {
    await Promise.all(Array.from({ length: setup.workers }, serve));
    signal.throwIfAborted();
    return results;
  } finally {
    line.clear();
  }
}

/** Runs a cell, and evaluates its checkpoints with other numbers of samples. */
async function finishCell(
  cell: Cell,
  manifest: Manifest,
  { study, folder, backend, signal }: Setup,
): Promise<DoneCell> {
  const runs = join(folder, cell.folder);
  const { folds } = study.data[cell.variant.data]!;
  const result = await runCell(cell, {
    manifest: manifest.path,
    folder: runs,
    folds,
    backend,
    signal,
  });
  const heldOut = result.folds.filter(({ protocol }) =>
    protocol === "held-out"
  );
  const rescored = new Map<number, DoneCell["result"]>();
  for (const samples of cell.variant.samples ?? []) {
    const folds = await rescore(runs, heldOut, { manifest, samples, signal });
    rescored.set(samples, { ...result, folds });
  }
  return { cell, result, rescored, manifest };
}

async function prepareData(
  study: Study,
  cells: readonly Cell[],
  folder: string,
): Promise<Map<string, Manifest>> {
  const manifests = new Map<string, Manifest>();
  await Deno.mkdir(folder, { recursive: true });
  for (const { variant: { data } } of cells) {
    if (manifests.has(data)) continue;
    const path = await study.data[data]!.prepare(join(folder, "data", data));
    manifests.set(data, await readManifest(path));
  }
  await writeFileAtomically(
    join(folder, "study.json"),
    `${JSON.stringify({ study: study.name, variants: study.variants })}\n`,
  );
  return manifests;
}
