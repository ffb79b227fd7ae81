/**
 * The student of attention by the encoder: weights of a linear layer on features
 * of the whole image, whose softmax over all locations should be the teacher's
 * shares of them in the evidence, the best proposal for the draws.
 *
 * Of each image it sees the locations with the largest shares, and some of the
 * others, which stand for all of them.
 *
 * @module
 */
import { randomKey, RandomStream } from "../../../kernels/random.ts";
import { ArrayAdamW } from "./head/array_adamw.ts";
import { oneCycle } from "./head/one_cycle.ts";

/** An image that the weights are learned from. */
export interface OverviewImage {
  /** Share of each location that counts, `[n]`, adding to 1. */
  shares: Float64Array;
  /** Their features, `[n, channels]`. */
  features: () => Promise<Float32Array>;
}

/** Options of {@linkcode fitOverview}. */
export interface OverviewOptions {
  channels: number;
  seed: number;
  /** Awaited before each image and each step. */
  beforeStep?: () => Promise<void>;
  /** Called after each step, with its loss. */
  onStep?: (progress: { step: number; steps: number; loss: number }) => void;
}

// Images are held in part, so that many fit: 0.3 MB of 152 features each.
const IMAGES = 500, LARGEST = 64, OTHERS = 448;
const STEPS = 400, BATCH = 16, RISING = 0.3;
// On whole images of road signs (training folds), ten times less or more of
// either makes no difference.
const LEARNING_RATE = 0.05, WEIGHT_DECAY = 1e-2;
// Added to a deviation: a channel that hardly varies should not be blown up.
const LEAST_DEVIATION = 1e-5;
const OVERVIEW = 113; // word of the random keys

/** Locations of an image, as the fit sees them. */
interface Rows {
  /** `[n, channels]`, standardised. */
  features: Float32Array;
  /** Wanted share of each, `[n]`, adding to 1. */
  goal: Float64Array;
  /** Logarithm of the locations that each stands for, `[n]`. */
  stands: Float64Array;
}

/**
 * Fits the weights of attention by the encoder.
 *
 * @returns the weights `[channels]`, and the mean loss of the last tenth of the
 *   steps: the cross-entropy, nats.
 */
export async function fitOverview(
  images: readonly OverviewImage[],
  { channels, seed, beforeStep, onStep }: OverviewOptions,
): Promise<{ weight: Float32Array; loss: number }> {
  const random = new RandomStream(randomKey(seed, OVERVIEW));
  const all: Rows[] = [];
  for (const image of random.shuffle([...images]).slice(0, IMAGES)) {
    await beforeStep?.();
    all.push(await rowsOf(image, channels, random));
  }
  const deviation = standardise(all, channels);
  const weights = { weight: new Float64Array(channels) };
  const optimizer = new ArrayAdamW(weights);
  const losses: number[] = [];
  for (let step = 0; step < STEPS; step++) {
    await beforeStep?.();
    const batch = random.shuffle([...all]).slice(0, BATCH);
    const { loss, gradient } = batchGradient(batch, weights.weight);
    optimizer.step({ weight: gradient }, {
      learningRate: LEARNING_RATE * oneCycle(step, STEPS, RISING),
      weightDecay: WEIGHT_DECAY,
    });
    losses.push(loss);
    onStep?.({ step: step + 1, steps: STEPS, loss });
  }
  const last = losses.slice(-STEPS / 10);
  return {
    // The mean is the same for all locations, which softmax ignores.
    weight: Float32Array.from(weights.weight, (w, c) => w / deviation[c]!),
    loss: last.reduce((sum, loss) => sum + loss, 0) / last.length,
  };
}

/** The locations with the largest shares, and some of the others. */
async function rowsOf(
  { shares, features }: OverviewImage,
  channels: number,
  random: RandomStream,
): Promise<Rows> {
  const order = Array.from(shares, (_, i) => i)
    .sort((a, b) => shares[b]! - shares[a]!);
  const rest = order.slice(LARGEST);
  const others = random.shuffle(rest).slice(0, OTHERS);
  const rows = [...order.slice(0, LARGEST), ...others];
  const standsFor = (i: number) =>
    i < LARGEST ? 1 : rest.length / others.length;
  const goal = Float64Array.from(rows, (row, i) => shares[row]! * standsFor(i));
  const sum = goal.reduce((total, share) => total + share, 0);
  const all = await features();
  const kept = new Float32Array(rows.length * channels);
  rows.forEach((row, i) =>
    kept.set(all.subarray(row * channels, (row + 1) * channels), i * channels)
  );
  return {
    features: kept,
    goal: goal.map((share) => share / sum),
    stands: Float64Array.from(rows, (_, i) => Math.log(standsFor(i))),
  };
}

/** Standardises all features in place; returns the deviation of each channel. */
function standardise(all: readonly Rows[], channels: number): Float64Array {
  const mean = new Float64Array(channels), squares = new Float64Array(channels);
  const count = all.reduce((sum, { goal }) => sum + goal.length, 0);
  const visit = (
    each: (c: number, features: Float32Array, i: number) => void,
  ) =>
    all.forEach(({ features }) =>
      features.forEach((_, i) => each(i % channels, features, i))
    );
  visit((c, features, i) => mean[c]! += features[i]! / count);
  visit((c, features, i) => {
    squares[c]! += (features[i]! - mean[c]!) ** 2 / count;
  });
  const deviation = squares.map((s) => Math.sqrt(s) + LEAST_DEVIATION);
  visit((c, features, i) => {
    features[i] = (features[i]! - mean[c]!) / deviation[c]!;
  });
  return deviation;
}

/** Mean cross-entropy of a batch, and its gradient. */
function batchGradient(
  batch: readonly Rows[],
  weight: Float64Array,
): { loss: number; gradient: Float64Array } {
  const channels = weight.length;
  const gradient = new Float64Array(channels);
  let loss = 0;
  for (const { features, goal, stands } of batch) {
    const logits = stands.map((offset, row) => {
      let sum = offset;
      for (let c = 0; c < channels; c++) {
        sum += features[row * channels + c]! * weight[c]!;
      }
      return sum;
    });
    const most = logits.reduce((a, b) => Math.max(a, b));
    const total = logits.reduce((sum, z) => sum + Math.exp(z - most), 0);
    const normaliser = most + Math.log(total);
    logits.forEach((logit, row) => {
      loss += goal[row]! * (normaliser - logit + stands[row]!) / batch.length;
      const upstream = (Math.exp(logit - normaliser) - goal[row]!) /
        batch.length;
      for (let c = 0; c < channels; c++) {
        gradient[c]! += upstream * features[row * channels + c]!;
      }
    });
  }
  return { loss, gradient };
}
