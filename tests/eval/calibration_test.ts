import assert from "node:assert/strict";
import { randomKey, RandomStream } from "../../kernels/random.ts";
import { fitCalibration, LEAST_IMAGES } from "../../lib/eval/calibration.ts";
import { evaluateMetrics, type Scored } from "../../lib/eval/metrics.ts";

const SAMPLES = 30;

function softmax(scores: readonly number[]): number[] {
  const largest = Math.max(...scores);
  const shares = scores.map((s) => Math.exp(s - largest));
  const total = shares.reduce((a, b) => a + b);
  return shares.map((share) => share / total);
}

/** softmax(log p / T + b e_1), as a model applies it, by plain loops. */
function calibrated(
  row: ArrayLike<number>,
  { temperature, bias }: { temperature: number; bias: number },
): number[] {
  return softmax(
    Array.from(
      row,
      (p, c) => Math.log(p) / temperature + (c === 1 ? bias : 0),
    ),
  );
}

/** Predictions whose calibration is known: labels follow the calibrated ones. */
function drawn(
  { images, classes = 2, temperature, bias = 0, seed = 1 }: {
    images: number;
    classes?: number;
    temperature: number;
    bias?: number;
    seed?: number;
  },
): Scored {
  const random = new RandomStream(randomKey(seed));
  const labels: number[] = [];
  const probabilities = Array.from({ length: images }, () => {
    const logits = Array.from(
      { length: classes },
      () => temperature * 6 * (random.uniform() - 0.5),
    );
    const row = softmax(logits);
    let left = random.uniform(), label = -1;
    for (const p of calibrated(row, { temperature, bias })) {
      label++;
      if ((left -= p) < 0) break;
    }
    labels.push(label);
    return row;
  });
  return { labels, probabilities };
}

/** Standard errors of 1 / T and b by the inverse Fisher information. */
function standardErrors(
  { probabilities }: Scored,
  truth: { temperature: number; bias: number },
  withBias: boolean,
): { slope: number; bias: number } {
  let slopes = 0, cross = 0, biases = 0;
  for (const row of probabilities) {
    const p = calibrated(row, truth);
    const scores = Array.from(row, Math.log);
    const mean = p.reduce((sum, share, c) => sum + share * scores[c]!, 0);
    p.forEach((share, c) => slopes += share * (scores[c]! - mean) ** 2);
    cross += p[1]! * (scores[1]! - mean);
    biases += p[1]! * (1 - p[1]!);
  }
  if (!withBias) return { slope: slopes ** -0.5, bias: 0 };
  const determinant = slopes * biases - cross ** 2;
  return {
    slope: Math.sqrt(biases / determinant),
    bias: Math.sqrt(slopes / determinant),
  };
}

Deno.test("a known temperature is found, within four standard errors", () => {
  for (const classes of [2, 3, 7]) {
    for (const temperature of [0.2, 1, 5]) {
      const scored = drawn({ images: 3000, classes, temperature });
      const found = fitCalibration(scored, SAMPLES)!;
      const truth = { temperature, bias: 0 };
      const { slope } = standardErrors(scored, truth, false);
      const z = (1 / found.temperature - 1 / temperature) / slope;
      assert.ok(Math.abs(z) < 4, `${classes} classes, T ${temperature}: ${z}`);
      assert.deepEqual(
        { ...found, temperature: 0 },
        { temperature: 0, bias: 0, images: 3000, samples: SAMPLES },
      );
    }
  }
});

Deno.test("a known bias is found with the temperature", () => {
  for (const [temperature, bias] of [[0.2, 1.5], [3, -1]] as const) {
    const scored = drawn({ images: 3000, temperature, bias });
    const found = fitCalibration(scored, SAMPLES)!;
    const error = standardErrors(scored, { temperature, bias }, true);
    const slope = (1 / found.temperature - 1 / temperature) / error.slope;
    assert.ok(Math.abs(slope) < 4, `T ${temperature}: ${slope}`);
    const offset = (found.bias - bias) / error.bias;
    assert.ok(Math.abs(offset) < 4, `bias ${bias}: ${offset}`);
  }
});

Deno.test("images without a bias get one about five times in a hundred", () => {
  const found = Array.from({ length: 200 }, (_, seed) =>
    fitCalibration(
      drawn({ images: 60, temperature: 0.5, seed: seed + 10 }),
      SAMPLES,
    )!.bias).filter((bias) => bias !== 0).length;
  // Binomial(200, 0.05): 10, standard deviation 3.1.
  assert.ok(found > 0 && found < 23, `${found} of 200`);
});

Deno.test("the fit is the lowest log loss of a fine grid", () => {
  const scored = drawn({ images: 500, temperature: 0.4, bias: 1 });
  const found = fitCalibration(scored, SAMPLES)!;
  const loss = (temperature: number, bias: number) =>
    evaluateMetrics({
      ...scored,
      probabilities: scored.probabilities.map((row) =>
        calibrated(row, { temperature, bias })
      ),
    }).logLoss;
  const best = loss(found.temperature, found.bias);
  for (let temperature = 0.15; temperature < 2; temperature += 0.1) {
    for (let bias = -2; bias < 3; bias += 0.25) {
      // Platt's targets differ from the labels by 1 in 250 images.
      assert.ok(best < loss(temperature, bias) + 1e-3);
    }
  }
});

Deno.test("separable images give a bounded temperature and no bias", () => {
  for (const images of [LEAST_IMAGES, 60, 1000]) {
    const labels = Array.from({ length: images }, (_, i) => i % 2);
    const probabilities = labels.map((label) =>
      label === 1 ? [0.4, 0.6] : [0.6, 0.4]
    );
    const { temperature, bias } = fitCalibration(
      { labels, probabilities },
      SAMPLES,
    )!;
    // Where all are right, Platt's target is the probability.
    const target = (images / 2 + 1) / (images / 2 + 2);
    const [, p] = calibrated([0.4, 0.6], { temperature, bias });
    assert.ok(Math.abs(p! - target) < 1e-6, `${images}: ${p}`);
    assert.equal(bias, 0);
  }
});

Deno.test("predictions that say nothing get a temperature within its bounds", () => {
  const labels = Array.from({ length: 40 }, (_, i) => i % 2);
  const same = labels.map(() => [0.5, 0.5]);
  const wrong = labels.map((label) => label === 1 ? [0.9, 0.1] : [0.1, 0.9]);
  const sure = labels.map((label) => label === 1 ? [0, 1] : [1, 0]);
  for (const probabilities of [same, wrong, sure]) {
    const { temperature, bias } = fitCalibration(
      { labels, probabilities },
      SAMPLES,
    )!;
    assert.ok(temperature > 0.0099 && temperature < 101, `${temperature}`);
    assert.equal(bias, 0);
  }
});

Deno.test("few images and images of one class are not calibrated", () => {
  const two: Scored = {
    labels: [0, 1],
    probabilities: [[0.7, 0.3], [0.2, 0.8]],
  };
  assert.equal(fitCalibration(two, SAMPLES), null);
  assert.equal(
    fitCalibration({ labels: [], probabilities: [] }, SAMPLES),
    null,
  );
  const few = drawn({ images: LEAST_IMAGES - 1, temperature: 1 });
  assert.equal(fitCalibration(few, SAMPLES), null);
  const { probabilities } = drawn({ images: 100, temperature: 1 });
  const labels = probabilities.map(() => 1);
  assert.equal(fitCalibration({ labels, probabilities }, SAMPLES), null);
});

Deno.test("what is no probability is refused", () => {
  const { labels, probabilities } = drawn({ images: 50, temperature: 1 });
  for (const bad of [NaN, -0.1, 1.1, Infinity]) {
    const rows = probabilities.with(7, [bad, 0.5]);
    assert.throws(
      () => fitCalibration({ labels, probabilities: rows }, SAMPLES),
      new RegExp(
        `^RangeError: Cannot calibrate: a probability of image 7 is ${bad}; `,
      ),
    );
  }
});
