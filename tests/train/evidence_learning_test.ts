/** What the evidence head is for: one tiny object, and labels alone. */
import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import { randomKey, RandomStream } from "../../kernels/random.ts";
import { attentionSoftmax } from "../../kernels/softmax/softmax.ts";
import { predict } from "../../lib/eval/predict.ts";
import type { Pyramid } from "../../lib/image/pyramid.ts";
import { Memory } from "../../lib/memory.ts";
import { classify } from "../../lib/model/head.ts";
import { subTileLogits, tileLogits } from "../../lib/model/look/attention.ts";
import { subTileMap } from "../../lib/model/look/draws.ts";
import type { Model } from "../../lib/model/model.ts";
import { features } from "../../lib/model/networks.ts";
import { disposeParameters } from "../../lib/model/parameters.ts";
import { exploration } from "../../lib/sampling/evidence.ts";
import { AdamW } from "../../lib/train/optimizer.ts";
import type {
  StepOptions,
  TrainingImage,
} from "../../lib/train/step/micro_batch.ts";
import { trainStep } from "../../lib/train/step/step.ts";
import { testOnWasm } from "../engines.ts";
import {
  drawnImage,
  lookEverywhere,
  toyModel,
  type ToyOptions,
  type WholeLook,
} from "../model/toy.ts";

const SIDE = 96, OBJECT = 8; // 0.7 % of an image
const SHARPNESS = 2;
const STEPS = 140, BATCH = 8;

/** Coloured speckles; of a positive image, a disc of a colour of its own. */
function image(seed: number, isPositive: boolean): Pyramid {
  const random = new RandomStream(randomKey(77, seed));
  const colours = [[190, 60, 60], [60, 60, 190], [120, 120, 120]] as const;
  const cells = Array.from(
    { length: (SIDE / 8) ** 2 },
    () => colours[random.below(3)]!,
  );
  const x0 = random.below(SIDE - OBJECT), y0 = random.below(SIDE - OBJECT);
  return drawnImage({ width: SIDE, height: SIDE }, (x, y) => {
    const inside = x >= x0 && x < x0 + OBJECT && y >= y0 && y < y0 + OBJECT;
    if (isPositive && inside) return [60, 190, 60];
    return cells[(y >> 3) * (SIDE / 8) + (x >> 3)]!;
  });
}

function trainingImages(step: number): TrainingImage[] {
  return Array.from({ length: BATCH }, (_, i) => ({
    pyramid: image((step * BATCH + i) % 48, i % 2 === 1),
    goal: [i % 2],
    stains: null,
    augmentation: {
      orientation: 1,
      gain: 1,
      densities: null,
      placement: null,
    },
    key: randomKey(3, step, i),
  }));
}

async function trained(
  network: NonNullable<ToyOptions["network"]>,
): Promise<Model> {
  const model = toyModel({
    view: {
      scale1: 0.25,
      scale2: 0.25,
      tileSize: 32,
      tileStride: 32,
      subTileStride: 8,
      subTileSize: 12,
      samples: 16,
    },
    training: {
      learningRate: 3e-3,
      attentionLearningRate: 3e-3,
      entropyWeight: 0,
      clipNorm: 5,
    },
    network,
  });
  const optimizer = new AdamW();
  const options: StepOptions = {
    rate: 1,
    contrastive: false,
    freezeAttention: false,
    classWeights: [1, 1],
    memory: new Memory(),
    exploration: 1,
  };
  for (let step = 0; step < STEPS; step++) {
    await trainStep(model, optimizer, trainingImages(step), {
      ...options,
      exploration: exploration(step / STEPS),
    });
  }
  optimizer.dispose();
  return model;
}

/** Share of images it has not seen whose class it tells. */
async function accuracy(model: Model): Promise<number> {
  const images = Array.from(
    { length: 40 },
    (_, i) => image(1000 + i, i % 2 === 1),
  );
  const { predictions } = await predict(model, images, {
    seed: 1,
    samples: 16,
    memory: new Memory(),
  });
  const right = predictions.filter(({ label }, i) =>
    label === model.classes[i % 2]
  );
  return right.length / images.length;
}

/** log of the attention of all locations of an image, `[tiles * cells]`. */
function logAttention(
  { parameters, config }: Model,
  { tiles, tensors }: WholeLook,
): tf.Tensor1D {
  const side = Math.sqrt(tiles);
  const map = { rows: side, columns: side };
  const alpha = attentionSoftmax(tileLogits(parameters, tensors.view, map));
  const beta = attentionSoftmax(
    subTileLogits(parameters, tensors.tileViews, subTileMap({ config })),
  );
  const joint = tf.mul(tf.reshape(alpha, [tiles, 1]), beta);
  return tf.log(tf.reshape(joint, [-1])) as tf.Tensor1D;
}

/** KL divergence from softmax(r z) to attention, and to uniform draws. */
async function divergences(model: Model, pyramid: Pyramid) {
  const look = await lookEverywhere(model, pyramid);
  const { parameters, config: { network } } = model;
  const [attention, uniform] = tf.tidy(() => {
    const z = classify(
      parameters,
      features(parameters, network, look.tensors.subTiles),
    );
    const scaled = tf.reshape(tf.mul(z, SHARPNESS), [-1]) as tf.Tensor1D;
    const p = tf.softmax(scaled);
    const logs = tf.logSoftmax(scaled);
    const from = (q: tf.Tensor) => tf.sum(tf.mul(p, tf.sub(logs, q)));
    return [
      from(logAttention(model, look)),
      from(tf.scalar(-Math.log(z.shape[0]))),
    ];
  }) as [tf.Tensor, tf.Tensor];
  const values = [(await attention.data())[0]!, (await uniform.data())[0]!];
  tf.dispose([attention, uniform, ...Object.values(look.tensors)]);
  return { attention: values[0]!, uniform: values[1]! };
}

testOnWasm(
  "evidence learns a tiny object, and attention where the evidence is",
  async () => {
    const evidence = await trained({
      head: "evidence",
      evidence: { sharpness: SHARPNESS, objects: 1 },
      unitLength: false,
      pooling: "max",
    });
    const found = await accuracy(evidence);
    let attention = 0, uniform = 0;
    for (let i = 0; i < 6; i++) {
      const own = await divergences(evidence, image(2000 + i, true));
      attention += own.attention / 6;
      uniform += own.uniform / 6;
    }
    disposeParameters(evidence.parameters);
    assert.ok(found > 0.85, `accuracy ${found}`);
    assert.ok(
      attention < 0.5 * uniform,
      `attention is ${attention} nats from its target, uniform draws ${uniform}`,
    );
  },
);
