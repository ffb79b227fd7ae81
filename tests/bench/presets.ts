/**
 * Whole training steps and classifications of every preset, on noise images of
 * the size that its data set has (camelyon16: of a moderate size, one image a
 * step). Stock means the networks, the softmax and the draws; pixels are
 * decoded and cut by our kernels on both sides.
 *
 * @module
 */
import { randomKey } from "../../kernels/random.ts";
import type { Engine } from "../../lib/engine/select.ts";
import { predict } from "../../lib/eval/predict.ts";
import type { Size } from "../../lib/image/geometry.ts";
import type { Pyramid } from "../../lib/image/pyramid.ts";
import { restaining } from "../../lib/image/stains/stains.ts";
import { Memory } from "../../lib/memory.ts";
import type { Model } from "../../lib/model/model.ts";
import { modelSpecs } from "../../lib/model/networks.ts";
import {
  disposeParameters,
  initialParameters,
} from "../../lib/model/parameters.ts";
import { preset } from "../../lib/model/presets.ts";
import { AdamW } from "../../lib/train/optimizer.ts";
import { type StepReport, takeStep } from "../../lib/train/step/step.ts";
import { noiseImage } from "../model/toy.ts";
import { type Bench, type Benchmark, type Subject, timed } from "./measure.ts";
import { besideStock } from "./stock.ts";

/** Images of the published data sets, px; camelyon16's are cut down. */
export const IMAGE_SIZES: Record<string, Size> = {
  "colon": { width: 500, height: 500 },
  "needle": { width: 512, height: 512 },
  "traffic-signs": { width: 1360, height: 800 },
  "fmow": { width: 1024, height: 1024 },
  "camelyon16": { width: 4096, height: 4096 },
};

export const presetBenchmarks: Record<string, Benchmark> = Object.fromEntries(
  Object.keys(IMAGE_SIZES).flatMap((name): [string, Benchmark][] => [
    [`step-${name}`, (engine) => step(name, engine)],
    [`classify-${name}`, (engine) => classification(name, engine)],
  ]),
);

/** A model of a preset with fresh weights. */
export function freshModel(name: string): Model {
  const config = preset(name);
  config.view.foreground = "none"; // noise is no tissue
  const classes = config.referenceClass
    ? [config.referenceClass, "other"]
    : ["one", "other"];
  return {
    config,
    classes,
    normalisation: { mean: [0.5, 0.5, 0.5], deviation: [0.3, 0.3, 0.3] },
    calibration: null,
    parameters: initialParameters(
      modelSpecs(config, classes),
      { initialisation: config.network.initialisation, seed: 1 },
    ),
  };
}

export function step(name: string, engine: Engine, measure = timed): Bench {
  const images = noiseImages(
    name,
    name === "camelyon16" ? 1 : preset(name).training.batchSize,
  );
  let steps = 0;
  // As in training, the report of a step is read during the next one.
  let pending: (() => Promise<StepReport>) | undefined;
  const once = async () => {
    // A fresh model each time: neither side continues from the other's weights.
    const model = freshModel(name);
    const optimizer = new AdamW();
    const batch = images.map((pyramid, i) => ({
      pyramid,
      goal: [i % 2],
      // The transform that normalises a typical image of tissue.
      stains: model.config.network.normaliseStains
        ? restaining({ haematoxylin: 1.1, eosin: 0.9 })
        : null,
      augmentation: {
        orientation: 1,
        gain: 1.05,
        densities: null,
        placement: null,
      } as const,
      key: randomKey(1, steps, i),
    }));
    steps++;
    const ms = await measure(async () => {
      const report = await takeStep(model, optimizer, batch, {
        rate: 1,
        contrastive: false,
        freezeAttention: false,
        exploration: 1,
        classWeights: [1, 1],
        memory: new Memory(),
      });
      await pending?.();
      pending = report;
    });
    optimizer.dispose();
    disposeParameters(model.parameters);
    return ms;
  };
  return {
    subjects: [
      subject(once, name, { note: imagesText(name, images.length), engine }),
    ],
    dispose() {},
  };
}

/** Classifies `count` images at a time. */
export function classification(
  name: string,
  engine: Engine,
  { count = 1, measure = timed } = {},
): Bench {
  const model = freshModel(name);
  const images = noiseImages(name, count);
  let seed = 0;
  const once = () =>
    measure(async () => {
      await predict(model, images, { seed: seed++, memory: new Memory() });
    });
  return {
    subjects: [
      subject(once, name, {
        note: imagesText(name, count, preset(name).evaluation.samples),
        engine,
      }),
    ],
    dispose: () => disposeParameters(model.parameters),
  };
}

/** Beside stock, but on a software adapter of the smallest preset only. */
function subject(
  once: () => Promise<number>,
  name: string,
  { note, engine }: { note: string; engine: Engine },
): Subject {
  return engine.adapter?.software && name !== "colon"
    ? { ours: once, note: `${note}; stock takes minutes on a CPU: skipped` }
    : besideStock(once, note);
}

export function noiseImages(name: string, count: number): Pyramid[] {
  return Array.from(
    { length: count },
    (_, i) => noiseImage(IMAGE_SIZES[name]!, i),
  );
}

function imagesText(
  name: string,
  count: number,
  samples = preset(name).view.samples,
): string {
  const { width, height } = IMAGE_SIZES[name]!;
  return `${count} of ${width}x${height} px, N = ${samples}`;
}
