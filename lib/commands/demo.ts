/**
 * `deno task demo`: the whole workflow in a few minutes, on any machine. Draws a
 * needle set, trains on it, evaluates on unseen images, classifies one and writes
 * its heat map.
 *
 * @module
 */
import { join, resolve } from "node:path";
import {
  type Manifest,
  type ManifestEntry,
  readManifest,
  type Split,
} from "../data/manifest.ts";
import { NEEDLE_DEFAULTS, needleDataset } from "../data/synthetic/needle.ts";
import { readRois } from "../data/rois.ts";
import {
  hasDataset,
  writeDataset,
  writtenDataset,
} from "../data/synthetic/writer.ts";
import { environment } from "../engine/environment.ts";
import { evaluate } from "../eval/evaluate.ts";
import { classifyImage } from "../eval/classify.ts";
import { evaluationName, writeEvaluation } from "../eval/records.ts";
import { type EvaluationReport, evaluationReport } from "../eval/report.ts";
import { exists, writeFileAtomically } from "../files.ts";
import { ImageCache } from "../image/image_cache.ts";
import { Memory, peakMemoryBytes } from "../memory.ts";
import {
  LAST,
  readCheckpoint,
  readCheckpointInfo,
} from "../model/checkpoint.ts";
import { type Config, withSettings } from "../model/config.ts";
import { disposeModel } from "../model/frozen.ts";
import { preset } from "../model/presets.ts";
import { EVALUATIONS_FOLDER } from "../report/records.ts";
import { startClock } from "../train/clock.ts";
import { trainRun } from "../train/runs/run.ts";
import { DEFAULT_TEST } from "../train/runs/run_data.ts";
import { randomKey, RandomStream } from "../../kernels/random.ts";
import type { Engine } from "../engine/select.ts";
import { startTrainingEngine } from "../train/engine_choice.ts";
import { COMMON_FLAGS } from "./shared/common_flags.ts";
import {
  defaulting,
  integer,
  parseFlags,
  text,
  toggle,
  type Usage,
} from "./shared/flags.ts";
import { reportAtEnd } from "./shared/report.ts";
import {
  announceEngine,
  duration,
  figure,
  interruptSignal,
  megabytes,
  ProgressLine,
} from "./shared/terminal.ts";
import { epochText, progressText } from "./shared/train_setup.ts";

export const summary = "Draw, train, evaluate and classify, in a few minutes";

const FLAGS = {
  out: defaulting(
    text(
      "DIR",
      "folder to write (demo); a stopped demo in it continues",
      { paths: "folders" },
    ),
    "demo",
  ),
  seed: defaulting(
    integer("N", "seed of the images and of training (1)"),
    1,
  ),
  "shuffle-labels": toggle(
    "give the training and validation images random labels: accuracy must then stay near chance",
  ),
  backend: COMMON_FLAGS.backend,
};

export const usage: Usage = {
  synopsis: ["deno task demo [--out DIR]"],
  groups: [{ flags: FLAGS }],
  notes: "The last line on stdout is JSON.",
};

// The needle preset scaled down: two minutes on two cores, not hours.
const SETTINGS = [
  "preset=demo",
  "view.scale1=0.125",
  "view.tileStride=8",
  "view.scale2=0.25",
  "view.tileSize=64",
  "view.subTileSize=24",
  "view.samples=16",
  "evaluation.samples=48",
  "training.epochs=12",
  "training.validation=0", // the set has validation images
  "training.attentionLearningRate=0.0005",
  "training.entropyWeight=0.001",
  // One uniform draw in sixty hits a needle: too few to start learning from.
  'training.saliencyWarmStart={"steps":60,"frozenEpochs":4}',
];

// Validation images: they choose the epoch and calibrate the probabilities.
const VALIDATION = 60;

const CACHE_BYTES = 2 ** 30; // all 300 images

/** Settings of a demo. */
interface Demo {
  out: string;
  seed: number;
  config: Config;
  /** Give the training and validation images random labels. */
  shuffle: boolean;
  signal: AbortSignal;
}

/**
 * Runs the demo, or continues a stopped one, and prints its results.
 *
 * @throws {UsageError} If a flag is wrong, or the folder holds something else.
 */
export async function run(argv: string[]): Promise<number> {
  const started = performance.now();
  const { values: flags } = parseFlags(argv, FLAGS);
  const demo: Demo = {
    out: flags.out,
    seed: flags.seed,
    config: withSettings(preset("needle"), SETTINGS),
    shuffle: flags["shuffle-labels"],
    signal: interruptSignal("Stopped: run the same command to continue"),
  };
  const manifest = await readManifest(await draw(demo));
  const engine = await announceEngine(flags.backend, () =>
    startTrainingEngine({
      images: side(manifest, "train"),
      config: demo.config,
      classes: manifest.classes,
      signal: demo.signal,
    }));
  const { report, heatmap } = await engine.whileAlive(async () => {
    await learn(demo, manifest, engine);
    return await examine(demo, manifest, engine);
  });
  await reportAtEnd(join(demo.out, "run"), demo.signal);
  const seconds = (performance.now() - started) / 1000;
  console.log(summaryText(demo, report, heatmap));
  console.error(
    `done in ${duration(seconds)}, peak memory ${megabytes(peakMemoryBytes())}`,
  );
  console.log(JSON.stringify({
    accuracy: report.metrics.accuracy.value,
    auc: report.metrics.auc.value,
    calibrationError: report.metrics.expectedCalibrationError.value,
    trainImages: side(manifest, "train").length,
    testImages: report.images,
    seconds,
    backend: engine.backend,
    heatmap,
  }));
  return 0;
}

function side({ entries }: Manifest, split: Split): ManifestEntry[] {
  return entries.filter((entry) => entry.split === split);
}

async function draw({ out, seed, signal }: Demo): Promise<string> {
  const folder = join(out, "data");
  const dataset = needleDataset({
    ...NEEDLE_DEFAULTS,
    validation: VALIDATION,
    seed,
  });
  if (await hasDataset(folder, dataset)) return writtenDataset(folder).manifest;
  const line = new ProgressLine();
  const { manifest } = await writeDataset(folder, dataset, {
    signal,
    onProgress: (done, total) => line.count(done, total, "images"),
  }).finally(() => line.clear());
  console.error(
    `drew ${NEEDLE_DEFAULTS.images} images to train on, ${VALIDATION} for validation and ${NEEDLE_DEFAULTS.test} to test: ${folder}`,
  );
  return manifest;
}

/** The same images with shuffled labels, so that nothing can be learned. */
function shuffled(entries: ManifestEntry[], seed: number): ManifestEntry[] {
  const random = new RandomStream(randomKey(seed));
  const dealt = random.shuffle(entries.map(({ label, classIndex }) => ({
    label,
    classIndex,
  })));
  return entries.map((entry, i) => ({ ...entry, ...dealt[i]! }));
}

async function learn(
  { out, seed, config, shuffle, signal }: Demo,
  manifest: Manifest,
  engine: Engine,
): Promise<void> {
  const folder = join(out, "run");
  const learned = [...side(manifest, "train"), ...side(manifest, "validation")];
  const entries = [
    ...shuffle ? shuffled(learned, seed) : learned,
    ...side(manifest, "test"),
  ];
  const line = new ProgressLine();
  await trainRun(engine, {
    manifest: { ...manifest, entries },
    config,
    seed,
    folder,
    test: DEFAULT_TEST,
    resume: await exists(join(folder, LAST)),
    memory: new Memory(),
    imageBytes: CACHE_BYTES,
    onProgress: (progress) => line.show(progressText(progress)),
    onEpoch: (done) => line.note(epochText(done)),
    signal,
  }).finally(() => line.clear());
}

/** Scores the unseen images, records it, and writes the heat map of one. */
async function examine(
  { out, seed, signal }: Demo,
  manifest: Manifest,
  engine: Engine,
): Promise<{ report: EvaluationReport; heatmap: string }> {
  const clock = startClock();
  const run = join(out, "run");
  const { sha256 } = await readCheckpointInfo(run);
  const { model } = await readCheckpoint(run);
  const test = side(manifest, "test");
  const cache = new ImageCache(0);
  const evaluation = await evaluate(model, test, { cache, seed, signal });
  const report = await evaluationReport(evaluation, {
    classes: model.classes,
    rois: await readRois(manifest),
    seed,
  });
  const name = evaluationName(manifest.path, "test");
  await writeEvaluation(join(run, EVALUATIONS_FOLDER, name), {
    checkpoint: sha256,
    data: resolve(manifest.path),
    split: "test",
    samples: model.config.evaluation.samples,
    seed,
    calibration: model.calibration,
    environment: environment(engine),
    ...clock(),
    report,
  }, evaluation);
  const shown = test.find(({ label }) => label === "positive")!;
  const classified = await classifyImage(shown.path, model, {
    seed,
    heatmap: "poster",
  });
  const heatmap = join(out, "heatmap.png");
  await writeFileAtomically(heatmap, classified.heatmap!);
  await disposeModel(model);
  return { report, heatmap };
}

function summaryText(
  { out, config }: Demo,
  { images, metrics, attention }: EvaluationReport,
  heatmap: string,
): string {
  const { accuracy, auc, expectedCalibrationError } = metrics;
  const { samples } = config.evaluation;
  const { low, high } = accuracy.interval!; // there is at least one image
  return [
    `on ${images} images never seen, reading ${samples} sub-tiles of ${config.view.subTileSize} px each:`,
    `  accuracy ${figure(accuracy.value)} (95 % interval ${figure(low)} to ${
      figure(high)
    }), AUC ${figure(auc.value)}, calibration error ${
      figure(expectedCalibrationError.value)
    }`,
    `  ${figure(attention!.drawn.value)} of the sub-tiles hit a needle, ${
      figure(attention!.chance.value)
    } would by chance`,
    `images and labels  ${join(out, "data", "manifest.csv")}`,
    `checkpoint, log    ${join(out, "run")}`,
    `heat map           ${heatmap}`,
  ].join("\n");
}
