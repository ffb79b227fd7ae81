/**
 * Accuracy of a plain CNN on the small view alone: the "lenet" features and
 * classifier on V(x, s1), trained on a manifest's training images and scored on
 * its test images. It measures how far a data set can be solved without looking
 * closer.
 *
 *     deno run --allow-read --allow-env --allow-sys --allow-ffi \
 *       tests/bench/view_cnn.ts MANIFEST SCALE EPOCHS
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { randomKey, RandomStream } from "../../kernels/random.ts";
import { type ManifestEntry, readManifest } from "../../lib/data/manifest.ts";
import { startEngine } from "../../lib/engine/select.ts";
import { evaluateMetrics } from "../../lib/eval/metrics.ts";
import { ImageCache } from "../../lib/image/image_cache.ts";
import {
  type Orientation,
  ORIENTATIONS,
} from "../../lib/image/pyramids/orientation.ts";
import { orient } from "../../lib/image/pyramids/oriented.ts";
import { Views } from "../../lib/image/views.ts";
import { features } from "../../lib/model/networks.ts";
import { parameterSpecs } from "../model/specs.ts";
import { classify } from "../../lib/model/head.ts";
import { preset } from "../../lib/model/presets.ts";
import { Memory } from "../../lib/memory.ts";
import { initialParameters } from "../../lib/model/parameters.ts";
import { crossEntropy } from "../../lib/model/targets/classes.ts";
import { measureNormalisation } from "../../lib/train/normalisation.ts";
import { AdamW } from "../../lib/train/optimizer.ts";
import { rateFactor } from "../../lib/train/schedule.ts";

const BATCH = 8, LEARNING_RATE = 2e-3, SEED = 1;

const [manifestPath, scaleText, epochsText] = Deno.args;
if (!manifestPath) {
  throw new TypeError("Cannot run without MANIFEST SCALE EPOCHS");
}
const scale = Number(scaleText), epochs = Number(epochsText);

await startEngine("wasm");
const manifest = await readManifest(manifestPath);
const train = manifest.entries.filter(({ split }) => split === "train");
const test = manifest.entries.filter(({ split }) => split === "test");
const cache = new ImageCache(2 ** 30);
const normalisation = await measureNormalisation(train, cache);
const parameters = initialParameters(
  parameterSpecs("lenet", manifest.classes.length)
    .filter(({ name }) => /^[fg]\//.test(name)),
  { initialisation: "he", seed: SEED },
);
const optimizer = new AdamW();
const random = new RandomStream(randomKey(SEED));

for (let epoch = 1; epoch <= epochs; epoch++) {
  const order = random.shuffle([...train]);
  let total = 0;
  for (let at = 0; at < order.length; at += BATCH) {
    total += await step(order.slice(at, at + BATCH), epoch);
  }
  console.error(`epoch ${epoch}: loss ${(total / order.length).toFixed(3)}`);
}
const { accuracy, auc } = evaluateMetrics({
  labels: test.map(({ classIndex }) => classIndex),
  probabilities: await Promise.all(test.map(probabilities)),
});
console.log(JSON.stringify({ scale, epochs, accuracy, auc }));

async function view(
  entry: ManifestEntry,
  orientation: Orientation,
): Promise<tf.Tensor4D> {
  const pyramid = await cache.open(entry.path);
  const views = await Views.open(orient(pyramid, orientation), {
    memory: new Memory(),
  });
  const raw = await views.whole(scale);
  views.dispose();
  pyramid.close();
  const { mean, deviation } = normalisation;
  const normal = tf.tidy(() =>
    tf.div(tf.sub(raw, tf.tensor1d(mean)), tf.tensor1d(deviation))
  );
  raw.dispose();
  return normal as tf.Tensor4D;
}

function logits(views: tf.Tensor4D): tf.Tensor2D {
  return classify(
    parameters,
    features(parameters, preset("needle").network, views),
  );
}

async function step(batch: ManifestEntry[], epoch: number): Promise<number> {
  const views = await Promise.all(
    batch.map((entry) => view(entry, ORIENTATIONS[random.below(8)]!)),
  );
  const all = tf.concat4d(views, 0);
  tf.dispose(views);
  const { value, grads } = tf.variableGrads(() =>
    crossEntropy(logits(all), {
      targets: batch.map(({ classIndex }) => classIndex),
      weights: batch.map(() => 1 / batch.length),
    }), [...parameters.values()]);
  const schedule = { kind: "cosine", final: 0.02 } as const;
  optimizer.step(
    new Map([...parameters].map(([name, variable]) => [name, {
      variable,
      gradient: grads[variable.name]!,
      learningRate: LEARNING_RATE * rateFactor(schedule, epoch, epochs),
      weightDecay: 1e-5,
    }])),
  );
  const loss = (await value.data())[0]! * batch.length;
  tf.dispose([all, value, ...Object.values(grads)]);
  return loss;
}

async function probabilities(entry: ManifestEntry): Promise<number[]> {
  const seen = await view(entry, 1);
  const rows = tf.tidy(() => tf.softmax(logits(seen)));
  seen.dispose();
  const [row] = await rows.array() as number[][];
  rows.dispose();
  return row!;
}
