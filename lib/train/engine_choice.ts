/**
 * The engine that `auto` means: with a hardware GPU a few steps of the work at
 * hand on each engine tell which takes less time, for a GPU that waits for the
 * host loses to the cores of a CPU. What was found is kept for the machine.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import type { ManifestEntry } from "../data/manifest.ts";
import { type Engine, startEngine } from "../engine/select.ts";
import { type AdapterDescription, hardwareAdapter } from "../engine/webgpu.ts";
import { ImageError } from "../errors.ts";
import { classificationTrial } from "../eval/trial.ts";
import { writeJson } from "../files.ts";
import { type Config, isFrozen } from "../model/config.ts";

/** What is trained. */
export interface TrainingQuestion {
  images: readonly ManifestEntry[];
  config: Config;
  classes: readonly string[];
  /** Workers on the CPU, if the user chose. */
  workers?: number | undefined;
  /** Trainings side by side on the CPU, if they are many of one worker each. */
  trainings?: number;
  signal: AbortSignal;
}

/** What classifies. */
export interface ClassifyingQuestion {
  config: Config;
  classes: readonly string[];
  /** Workers on the CPU. */
  workers: number;
  signal: AbortSignal;
}

/** Work that is timed on both engines. */
export interface TimedWork {
  /** What its times depend on, beside the machine. */
  key: readonly unknown[];
  /** How it is timed, e.g. "three steps of each". */
  how: string;
  /** Workers on the CPU; asked for while wasm is the engine. */
  workers(): number | Promise<number>;
  /** Seconds that one worker takes. */
  seconds(engine: Engine): Promise<number>;
}

/** Seconds of some work on each engine. */
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
  question: TrainingQuestion,
): Promise<Engine> {
  const { config: { network, training }, images } = question;
  const isTried = !isFrozen(network.features) &&
    images.length > 2 * training.batchSize;
  return await startAuto(isTried ? timedTraining(question) : undefined);
}

/**
 * Starts the engine that `auto` means for classifying. Without a hardware GPU,
 * and with frozen features, it is that of {@linkcode startEngine}.
 */
export async function startClassifyingEngine(
  question: ClassifyingQuestion,
): Promise<Engine> {
  const isTried = !isFrozen(question.config.network.features);
  return await startAuto(isTried ? timedClassifying(question) : undefined);
}

async function startAuto(work: TimedWork | undefined): Promise<Engine> {
  const adapter = work && await hardwareAdapter();
  if (work && adapter) {
    try {
      return await startFaster(work, { adapter, file: engineChoicesFile() });
    } catch (error) {
      // The training itself names every such image, or sets it aside.
      if (!(error instanceof ImageError)) throw error;
    }
  }
  return await startEngine("auto");
}

/**
 * A training, timed by a few steps. The trainer is loaded for that alone:
 * `classify` starts without it.
 */
export function timedTraining(question: TrainingQuestion): TimedWork {
  const { config, images, workers: wanted, trainings } = question;
  const { network, view, training: { batchSize, epochs } } = config;
  return {
    key: [
      ...["train", wanted ?? null, trainings ?? null],
      ...[images.length, batchSize, epochs, network, view],
    ],
    how: "three steps of each",
    async workers() {
      const { runWorkers } = await import("./parallel/team.ts");
      return trainings ?? runWorkers(config, { images: images.length, wanted });
    },
    async seconds(engine) {
      const { trainingTrial } = await import("./trial.ts");
      const config = structuredClone(question.config); // a training completes it
      const options = { ...question, config };
      return (await trainingTrial(engine, images, options)).seconds;
    },
  };
}

/** The classification of an image. */
export function timedClassifying(question: ClassifyingQuestion): TimedWork {
  const { config: { network, view, evaluation }, classes, workers } = question;
  return {
    key: ["classify", workers, classes.length, network, view, evaluation],
    how: "a few images on each",
    workers: () => workers,
    seconds: (engine) => engine.whileAlive(() => classificationTrial(question)),
  };
}

/**
 * Starts the engine on which some work takes less time: as kept in `file`, or
 * measured and kept there. A file that cannot be read or written costs a trial.
 *
 * @throws {ImageError} If an image of the trial cannot be read.
 */
export async function startFaster(
  work: TimedWork,
  { adapter, file }: { adapter: AdapterDescription; file: string },
): Promise<Engine> {
  const key = keyOf(work, adapter);
  const kept = await readKept(file);
  const known = kept[key];
  const measured = known ?? await measure(work);
  if (!known) await keep(file, { ...kept, [key]: measured });
  const [wasm, webgpu] = [measured.wasm, measured.webgpu]
    .map((seconds) => `${seconds.toPrecision(2)} s`);
  const { workers } = measured;
  return await startEngine(
    measured.wasm <= measured.webgpu ? "wasm" : "webgpu",
    `${wasm} by ${workers} ${
      workers > 1 ? "workers" : "worker"
    }, ${webgpu} on ${adapter.name}, ${
      known ? "as measured before" : `by ${work.how}`
    }`,
  );
}

async function measure(work: TimedWork): Promise<Measured> {
  const webgpu = await work.seconds(await startEngine("webgpu"));
  const alone = await work.seconds(await startEngine("wasm"));
  const workers = await work.workers();
  return { wasm: alone / workers, webgpu, workers };
}

function keyOf(
  { key }: TimedWork,
  { name }: AdapterDescription,
): string {
  const all = [Deno.version.deno, name, navigator.hardwareConcurrency, ...key];
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
