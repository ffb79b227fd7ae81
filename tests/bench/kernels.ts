/**
 * Our kernels beside what tfjs has for the same purpose.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { downsample } from "../../kernels/resample/downsample.ts";
import {
  gatherPatches,
  packPixels,
} from "../../kernels/resample/gather_patches.ts";
import { randomKey } from "../../kernels/random.ts";
import { topGumbel } from "../../kernels/sample/sample.ts";
import { attentionSoftmax } from "../../kernels/softmax/softmax.ts";
import { normalTensor } from "../finite_differences.ts";
import { drawnImage } from "../model/toy.ts";
import { type Bench, type Benchmark, timed } from "./measure.ts";

const LOCATIONS = 512 * 512;
const SAMPLES = 30;
const REGION = { width: 2048, height: 2048 };
const TILES = 100;
const TILE = { width: 50, height: 50 };
const RATIO = 8;

export const kernelBenchmarks: Record<string, Benchmark> = {
  softmax,
  sample,
  gather,
  downsample: shrink,
};

function softmax(): Bench {
  const logits = normalTensor([1, LOCATIONS], 1) as tf.Tensor2D;
  return {
    subjects: [{
      ours: () => computed(() => attentionSoftmax(logits)),
      stock: () => computed(() => tf.softmax(logits)),
      note: `${LOCATIONS} locations`,
    }],
    dispose: () => logits.dispose(),
  };
}

function sample(): Bench {
  const logits = normalTensor([1, LOCATIONS], 1) as tf.Tensor2D;
  const options = {
    k: SAMPLES,
    columns: 512,
    keys: new Uint32Array(randomKey(1)),
  };
  return {
    subjects: [{
      ours: () => computed(() => topGumbel(logits, options).indices),
      stock: () =>
        computed(() => {
          const uniform = tf.randomUniform(logits.shape, 1e-7, 1);
          const noise = tf.neg(tf.log(tf.neg(tf.log(uniform))));
          const { indices } = tf.topk(tf.add(logits, noise), SAMPLES);
          return tf.gather(
            tf.reshape(logits, [-1]),
            tf.reshape(indices, [-1]),
          );
        }),
      note: `${SAMPLES} of ${LOCATIONS} locations; stock: topk of noisy logits`,
    }],
    dispose: () => logits.dispose(),
  };
}

async function gather(): Promise<Bench> {
  const { packed, image, dispose } = await region();
  const corners = Array.from({ length: TILES }, (_, i) => ({
    x: (i * 397) % (REGION.width - TILE.width),
    y: (i * 593) % (REGION.height - TILE.height),
  }));
  const origins = Int32Array.from(corners.flatMap(({ x, y }) => [x, y]));
  // cropAndResize puts the first and last sample on a box's edges.
  const boxes = tf.tensor2d(corners.map(({ x, y }) => [
    y / (REGION.height - 1),
    x / (REGION.width - 1),
    (y + TILE.height - 1) / (REGION.height - 1),
    (x + TILE.width - 1) / (REGION.width - 1),
  ]));
  const places = tf.zeros([TILES], "int32") as tf.Tensor1D;
  return {
    subjects: [{
      ours: () =>
        computed(() => gatherPatches(packed, { origins, size: TILE })),
      stock: () =>
        computed(() =>
          tf.image.cropAndResize(image, boxes, places, [
            TILE.height,
            TILE.width,
          ])
        ),
      note: `${TILES} of ${TILE.width}x${TILE.height} px; stock: cropAndResize`,
    }],
    dispose() {
      dispose();
      tf.dispose([boxes, places]);
    },
  };
}

async function shrink(): Promise<Bench> {
  const { packed, image, dispose } = await region();
  const options = {
    origins: Int32Array.of(0, 0),
    size: REGION,
    output: { width: REGION.width / RATIO, height: REGION.height / RATIO },
  };
  return {
    subjects: [{
      ours: () => computed(() => downsample(packed, options)),
      stock: () => computed(() => tf.avgPool(image, RATIO, RATIO, "valid")),
      note: `${REGION.width}x${REGION.height} px by ${RATIO}; stock: avgPool`,
    }],
    dispose,
  };
}

/** One picture: packed bytes for ours, floats for stock. */
async function region() {
  const picture = drawnImage(REGION, (x, y) => [x & 255, y & 255, 128]);
  const pixels = await picture.read({ x: 0, y: 0, ...REGION }, 0);
  const packed = packPixels(pixels);
  const { width, height } = REGION;
  const floats = new Float32Array(width * height * 3);
  for (let i = 0; i < floats.length; i++) {
    floats[i] = pixels.data[Math.floor(i / 3) * 4 + (i % 3)]! / 255;
  }
  const image = tf.tensor4d(floats, [1, height, width, 3]);
  return { packed, image, dispose: () => tf.dispose([packed, image]) };
}

/** Milliseconds until the device has computed a tensor. */
function computed(compute: () => tf.Tensor): Promise<number> {
  return timed(async () => {
    const result = tf.tidy(compute);
    await result.data();
    result.dispose();
  });
}
