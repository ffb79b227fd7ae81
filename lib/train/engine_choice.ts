/**
 * The engine of a training under `auto`: with a hardware GPU a few steps on each
 * engine tell which takes less time, for a GPU that waits for the host loses to
 * the cores of a CPU. What was found is kept for the machine.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import type { ManifestEntry } from "../data/manifest.ts";
import { type Engine, startEngine } from "../engine/select.ts";
import {
  type AdapterDescription,
  describeAdapter,
  findAdapter,
} from "../engine/webgpu.ts";
import { ImageError } from "../errors.ts";
import { writeJson } from "../files.ts";
import { type Config, isFrozen } from "../model/config.ts";
import { runWorkers } from "./parallel/team.ts";
import { trainingTrial } from "./trial.ts";

/** What is trained, on a machine with this adapter. */
export interface EngineQuestion {
  images: readonly ManifestEntry[];
  config: Config;
  classes: readonly string[];
  /** Workers on the CPU, if the user chose. */
  workers?: number | undefined;
  adapter: AdapterDescription;
  signal: AbortSignal;
}

/** Seconds of the training on each engine, as reckoned from a few steps. */
interface Measured {
  wasm: number;
  webgpu: number;
  /** Workers on the CPU. */
  workers: number;
}

/** Where choices are kept: in the user's folder of caches. */
export function engineChoicesFile(): string {
  const caches = Deno.env.get("XDG_CACHE_HOME") || join(homedir(), ".cache");
  return join(caches, "zoomin", "engines.json");
}

/**
 * Starts the engine that `auto` means for this training. Without a hardware GPU,
 * with features that are read only once, and with too few images for a trial it
 * is that of {@linkcode startEngine}.
 */
export async function startTrainingEngine(
  question: Omit<EngineQuestion, "adapter">,
): Promise<Engine> {
  const { config: { network, training }, images } = question;
  const found = await findAdapter();
  const adapter = found && describeAdapter(found);
  const isTried = !isFrozen(network.features) &&
    images.length > 2 * training.batchSize;
  if (adapter && !adapter.software && isTried) {
    try {
      return await startFaster({ ...question, adapter }, engineChoicesFile());
    } catch (error) {
      // The training itself names every such image, or sets it aside.
      if (!(error instanceof ImageError)) throw error;
    }
  }
  return await startEngine("auto");
}

/**
 * Starts the engine on which the training takes less time: as kept in `file`, or
 * measured and kept there. A file that cannot be read or written costs a trial.
 *
 * @throws {ImageError} If an image of the trial cannot be read.
 */
export async function startFaster(
  question: EngineQuestion,
  file: string,
): Promise<Engine> {
  const key = keyOf(question);
  const kept = await readKept(file);
  const known = kept[key];
  const measured = known ?? await measure(question);
  if (!known) await keep(file, { ...kept, [key]: measured });
  const [wasm, webgpu] = [measured.wasm, measured.webgpu]
    .map((seconds) => `${seconds.toPrecision(2)} s`);
  const { workers } = measured;
  return await startEngine(
    measured.wasm <= measured.webgpu ? "wasm" : "webgpu",
    `${wasm} by ${workers} ${
      workers > 1 ? "workers" : "worker"
    }, ${webgpu} on ${question.adapter.name}, ${
      known ? "as measured before" : "by three steps of each"
    }`,
  );
}

async function measure(question: EngineQuestion): Promise<Measured> {
  const seconds = async (backend: "wasm" | "webgpu") => {
    const engine = await startEngine(backend);
    const config = structuredClone(question.config); // a training completes it
    const options = { ...question, config };
    return (await trainingTrial(engine, question.images, options)).seconds;
  };
  const webgpu = await seconds("webgpu");
  const alone = await seconds("wasm");
  const { config, images, workers: wanted } = question;
  const workers = runWorkers(config, { images: images.length, wanted });
  return { wasm: alone / workers, webgpu, workers };
}

/** What the times depend on; of the images only their number. */
function keyOf(question: EngineQuestion): string {
  const { config: { network, view, training }, images } = question;
  const { batchSize, epochs } = training;
  const all = [
    ...[Deno.version.deno, question.adapter.name],
    ...[navigator.hardwareConcurrency, question.workers ?? null],
    ...[images.length, batchSize, epochs, network, view],
  ];
  return createHash("sha256").update(JSON.stringify(all)).digest("hex");
}

async function readKept(file: string): Promise<Record<string, Measured>> {
  try {
    return JSON.parse(await Deno.readTextFile(file));
  } catch {
    return {};
  }
}

async function keep(
  file: string,
  all: Record<string, Measured>,
): Promise<void> {
  try {
    await Deno.mkdir(dirname(file), { recursive: true });
    await writeJson(file, all);
  } catch { /* measured again next time */ }
}
