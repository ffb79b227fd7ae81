/**
 * `deno task bench`: ours beside stock tfjs, on every engine of this machine.
 *
 * @module
 */
import {
  oneOf,
  parseFlags,
  text,
  toggle,
  usageText,
} from "../../lib/commands/shared/flags.ts";
import { environment } from "../../lib/engine/environment.ts";
import { type Engine, startEngine } from "../../lib/engine/select.ts";
import { findAdapter, INSTALL_HINT } from "../../lib/engine/webgpu.ts";
import { UsageError } from "../../lib/errors.ts";
import { featureProfileBenchmarks } from "./feature_profile.ts";
import { GPU_ROWS, type GpuChecks, gpuChecks } from "./gpu_report.ts";
import { hostBenchmarks } from "./host.ts";
import { kernelBenchmarks } from "./kernels.ts";
import { layerBenchmarks } from "./layers.ts";
import {
  type Benchmark,
  type Row,
  sideBySide,
  type Subject,
} from "./measure.ts";
import { networkBenchmarks } from "./networks.ts";
import { onnxRuntimeBenchmarks } from "./onnxruntime.ts";
import { peakGflops } from "./peak.ts";
import { presetBenchmarks } from "./presets.ts";
import { profileBenchmarks } from "./profile.ts";
import { programBenchmarks } from "./program.ts";
import { runBenchmarks } from "./run.ts";
import { line, table } from "./table.ts";

const BENCHMARKS: Record<string, Benchmark> = {
  ...networkBenchmarks,
  ...layerBenchmarks,
  ...presetBenchmarks,
  ...kernelBenchmarks,
  ...onnxRuntimeBenchmarks,
  ...programBenchmarks,
  ...runBenchmarks,
  ...profileBenchmarks,
  ...hostBenchmarks,
  ...featureProfileBenchmarks,
};

const FLAGS = {
  only: text("ID,...", `some of: ${Object.keys(BENCHMARKS).join(", ")}`),
  engine: oneOf(["wasm", "webgpu"] as const, "NAME", "this engine alone"),
  json: toggle("print {machine, rows} as JSON"),
  "gpu-report": toggle(
    "all there is to know about a machine with a GPU, as JSON: some minutes",
  ),
};

const USAGE = usageText({
  synopsis: [
    "deno task bench [--only ID,...] [--engine NAME] [--json]",
    "deno task bench --gpu-report [--only ID,...]",
  ],
  groups: [{ flags: FLAGS }],
  notes:
    "Ours and stock tfjs take turns; a row is the median of up to seven rounds after a first one, fewer if they take long. Progress goes to stderr.",
});

const MISUSE = 2;

async function run(argv: string[]): Promise<void> {
  const { values: flags } = parseFlags(argv, FLAGS);
  const { only, engine: wanted, json } = flags;
  const report = flags["gpu-report"];
  const ids = wantedIds(only ?? (report ? GPU_ROWS.join(",") : undefined));
  const checks = report ? await checksOfGpu() : undefined;
  const rows: Row[] = [];
  const machine: Record<string, unknown> = {};
  for (const backend of wanted ? [wanted] : await engines()) {
    const engine = await startEngine(backend);
    const { backend: _, engine: reason, ...rest } = environment(engine);
    Object.assign(machine, rest, { [backend]: reason });
    for (const id of ids) rows.push(...await rowsOf(id, engine));
  }
  console.log(
    json || report ? JSON.stringify({ machine, ...checks, rows }) : table(rows),
  );
}

/** @throws {UsageError} If there is no adapter. */
async function checksOfGpu(): Promise<GpuChecks> {
  if (await findAdapter()) return await gpuChecks();
  throw new UsageError(
    `Cannot report on a GPU: there is no adapter; ${INSTALL_HINT}`,
  );
}

/** @throws {UsageError} If there is no such benchmark. */
function wantedIds(only: string | undefined): string[] {
  const known = Object.keys(BENCHMARKS);
  if (only === undefined) return known;
  const wanted = only.split(",");
  const unknown = wanted.find((id) => !known.includes(id));
  if (unknown === undefined) return wanted;
  throw new UsageError(
    `Cannot run "${unknown}" as a benchmark: there are ${known.join(", ")}`,
  );
}

async function engines(): Promise<("wasm" | "webgpu")[]> {
  if (await findAdapter()) return ["wasm", "webgpu"];
  console.error("webgpu: skipped, as there is no adapter");
  return ["wasm"];
}

async function rowsOf(id: string, engine: Engine): Promise<Row[]> {
  const { subjects, dispose } = await BENCHMARKS[id]!(engine);
  const rows: Row[] = [];
  for (const subject of subjects) {
    const times = await sideBySide(subject);
    engine.assertAlive();
    const note = `${subject.note}${rateText(subject, times, engine)}`;
    const row = { id, engine: engine.backend, ...times, note };
    console.error(line(row));
    rows.push(row);
  }
  dispose();
  return rows;
}

/** The rate of a network, and its share of what a core can do. */
function rateText(
  { operations }: Subject,
  { oursMs }: { oursMs: number },
  { backend }: Engine,
): string {
  if (operations === undefined || backend !== "wasm") return "";
  const rate = operations / oursMs / 1e6;
  const share = Math.round(100 * rate / peakGflops());
  return `; ${rate.toFixed(0)} GFLOP/s of direct sums, ${share} % of the peak`;
}

if (import.meta.main) {
  if (Deno.args.includes("--help") || Deno.args.includes("-h")) {
    console.log(USAGE);
    Deno.exit(0);
  }
  try {
    await run(Deno.args);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    console.error(error.message);
    Deno.exit(MISUSE);
  }
}
