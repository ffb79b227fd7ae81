/**
 * Variance of attention's gradient over the draws, rule by rule: the same
 * images of a manifest, the same checkpoint, draws under other seeds.
 *
 *     deno run -A tests/bench/gradient_variance.ts RUN MANIFEST [DRAWS]
 *
 * Prints JSON: by rule and network, the sum over all weights of the variance,
 * and of the squared mean.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { randomKey } from "../../kernels/random.ts";
import { type ManifestEntry, readManifest } from "../../lib/data/manifest.ts";
import { startEngine } from "../../lib/engine/select.ts";
import { openImage } from "../../lib/image/open.ts";
import { Memory } from "../../lib/memory.ts";
import { readCheckpoint } from "../../lib/model/checkpoint.ts";
import { stainsFor } from "../../lib/model/look/input.ts";
import type { Model } from "../../lib/model/model.ts";
import {
  lookImages,
  type TrainingImage,
} from "../../lib/train/step/micro_batch.ts";
import { backwardTogether } from "../train/passes.ts";
import type { BackwardPass } from "../../lib/train/step/backward.ts";

const [run, data, draws = "40"] = Deno.args;
if (run === undefined || data === undefined) {
  console.error("gradient_variance.ts RUN MANIFEST [DRAWS]");
  Deno.exit(2);
}

const IMAGES = 5; // a batch of the colon preset
const AS_IT_IS = {
  orientation: 1,
  gain: 1,
  densities: null,
  placement: null,
} as const;

await startEngine("wasm");
const { model } = await readCheckpoint(run);
const { classes } = model;
const { entries } = await readManifest(data, { classes });
const images = await Promise.all(evenly(entries, IMAGES).map(opened));
const rules = ["unbiased", "leaveOneOut"] as const;
const results: Record<string, unknown> = {};
for (const gradient of rules) {
  const training = { ...model.config.training, gradient };
  const ruled = { ...model, config: { ...model.config, training } };
  results[gradient] = await spread(ruled);
}
console.log(JSON.stringify(results));

function evenly<Item>(items: readonly Item[], count: number): Item[] {
  const step = items.length / count;
  return Array.from({ length: count }, (_, i) => items[Math.floor(i * step)]!);
}

async function opened(
  { path, classIndex }: ManifestEntry,
): Promise<Omit<TrainingImage, "key">> {
  const pyramid = await openImage(path);
  const stains = await stainsFor(model, pyramid);
  return { pyramid, goal: [classIndex], stains, augmentation: AS_IT_IS };
}

/** Variance and squared mean of the gradients of a and b over the draws. */
async function spread(model: Model) {
  const gradients: Record<"a" | "b", Float32Array[]> = { a: [], b: [] };
  for (let draw = 0; draw < Number(draws); draw++) {
    const pass = await gradientsOf(model, draw);
    for (const net of ["a", "b"] as const) {
      gradients[net].push(await ofNet(pass, net));
    }
    tf.dispose([...pass.gradients.values(), ...pass.updates.values()]);
    pass.report.dispose();
  }
  return { a: moments(gradients.a), b: moments(gradients.b) };
}

async function gradientsOf(model: Model, draw: number): Promise<BackwardPass> {
  const options = {
    rate: 1,
    contrastive: false,
    freezeAttention: false,
    exploration: 1,
    classWeights: classes.map(() => 1),
    memory: new Memory(),
  };
  const keyed = images.map((image, i) => ({
    ...image,
    key: randomKey(draw, i),
  }));
  return await backwardTogether(model, {
    images: await lookImages(model, keyed, options),
    goals: images.map(({ goal }) => goal),
    of: images.length,
  }, options);
}

async function ofNet(
  { gradients }: BackwardPass,
  net: string,
): Promise<Float32Array> {
  const own = [...gradients].filter(([name]) => name.startsWith(`${net}/`));
  const values = await Promise.all(own.map(([, tensor]) => tensor.data()));
  return Float32Array.from(values.flatMap((part) => [...part]));
}

function moments(samples: readonly Float32Array[]) {
  let variance = 0, squaredMean = 0;
  for (let i = 0; i < samples[0]!.length; i++) {
    const mean = samples.reduce((sum, s) => sum + s[i]!, 0) / samples.length;
    squaredMean += mean ** 2;
    for (const sample of samples) {
      variance += (sample[i]! - mean) ** 2 / (samples.length - 1);
    }
  }
  return { variance, squaredMean };
}
