import assert from "node:assert/strict";
import { randomKey, RandomStream } from "../../kernels/random.ts";
import {
  bootstrap,
  bootstrapMetrics,
  meanInterval,
  pairedInterval,
  quantile,
  resampleCounts,
  shareInterval,
  studentT,
} from "../../lib/eval/bootstrap.ts";
import { evaluateMetrics, type Scored } from "../../lib/eval/metrics.ts";
import type { Interval } from "../../lib/eval/proportion.ts";

Deno.test("quantile is numpy's", () => {
  // numpy.quantile([1, 2, 4, 8, 16], [.025, .3, .975])
  const values = [1, 2, 4, 8, 16];
  const got = [.025, .3, .975].map((q) => quantile(values, q));
  assertClose(got, [1.1, 2.4, 15.2], 1e-12);
});

Deno.test("studentT is scipy's", () => {
  // scipy 1.17.1: stats.t.ppf(.975, freedom)
  const known = [
    [1, 12.706204736174694],
    [2, 4.302652729749462],
    [3, 3.1824463052837078],
    [4, 2.7764451051977934],
    [9, 2.262157162798205],
    [10, 2.228138851986274],
    [30, 2.0422724563012378],
    [49, 2.0095752371292392],
    [1000, 1.9623390808264083],
  ] as const;
  for (const [freedom, t] of known) assertClose([studentT(freedom)], [t], 1e-9);
});

Deno.test("meanInterval is scipy's", () => {
  // numpy mean and std(ddof=1), stats.t.interval(.95, 4, mean, stats.sem(a))
  const { count, mean, sd, interval } = meanInterval([.9, .8, .95, .7, .85]);
  assert.equal(count, 5);
  assertClose([mean!, sd!], [0.84, 0.09617692030835673], 1e-12);
  const { low, high } = interval!;
  assertClose([low, high], [0.7205805805950011, 0.9594194194049991], 1e-9);
});

Deno.test("meanInterval omits folds where the metric is undefined", () => {
  assert.deepEqual(meanInterval([.5, null, .5]), {
    count: 2,
    undefinedCount: 1,
    mean: .5,
    sd: 0,
    interval: { low: .5, high: .5 },
  });
  const one = meanInterval([.5, null]);
  assert.deepEqual([one.mean, one.sd, one.interval], [.5, null, null]);
  assert.equal(meanInterval([null]).mean, null);
});

Deno.test("shareInterval stays within 0 and 1", () => {
  const { interval } = meanInterval([.8, 1]); // Student's t: -0.37 to 2.17
  assert.deepEqual(shareInterval(interval!), { low: 0, high: 1 });
  const inside = { low: .2, high: .9 };
  assert.deepEqual(shareInterval(inside), inside);
});

Deno.test("meanInterval covers the mean 95 times in 100", () => {
  const random = new RandomStream(randomKey(11));
  const covered = coverage(4000, () => {
    const folds = Array.from({ length: 5 }, () => 3 + random.normal());
    return { interval: meanInterval(folds).interval!, truth: 3 };
  });
  assertCoverage(covered, 4000, 0);
});

Deno.test("pairedInterval is the interval of a - b, pair by pair", () => {
  const a = [.9, .8, .7, null, .6], b = [.8, .6, .7, .1, null];
  const { count, undefinedCount, mean } = pairedInterval(a, b);
  assert.deepEqual([count, undefinedCount], [3, 2]);
  assertClose([mean!], [.1], 1e-12);
  assert.throws(() => pairedInterval([1], [1, 2]), /1 folds with 2 /);
});

Deno.test("bootstrap interval of the accuracy covers it 95 times in 100", () => {
  const random = new RandomStream(randomKey(12));
  const simulations = 600, truth = .7;
  const covered = coverage(simulations, (seed) => {
    const right = Array.from({ length: 100 }, () => random.uniform() < truth);
    const { accuracy } = bootstrapMetrics(accurate(right), {
      seed,
      resamples: 400,
    });
    return { interval: accuracy.interval!, truth };
  });
  // 0.02: the percentile interval of a proportion is discrete and a bit narrow.
  assertCoverage(covered, simulations, .02);
});

Deno.test("of many images the interval is 1.96 standard errors either way", () => {
  const right = Array.from({ length: 2000 }, (_, i) => i % 10 < 7);
  const { interval } = bootstrapMetrics(accurate(right), { seed: 4 }).accuracy;
  const error = Math.sqrt(.7 * .3 / 2000);
  assertClose(
    [(interval!.low - .7) / error, (interval!.high - .7) / error],
    [-1.96, 1.96],
    .2, // a quantile of 2000 resamples has a standard error of 0.06
  );
});

Deno.test("only resampling by group covers when groups vary together", () => {
  // 40 patients of 5 images that are all right or all wrong.
  const random = new RandomStream(randomKey(13));
  const simulations = 400, truth = .7;
  const groups = Array.from({ length: 200 }, (_, i) => Math.floor(i / 5));
  const simulate = (options: { groups?: number[] }) =>
    coverage(simulations, (seed) => {
      const patients = Array.from(
        { length: 40 },
        () => random.uniform() < truth,
      );
      const right = groups.map((group) => patients[group]!);
      const { accuracy } = bootstrapMetrics(accurate(right), {
        seed,
        resamples: 400,
        ...options,
      });
      return { interval: accuracy.interval!, truth };
    });
  assertCoverage(simulate({ groups }), simulations, .03);
  assert.ok(simulate({}) < .75);
});

Deno.test("a resample draws as many groups as there are, whole", () => {
  const groups = ["a", "b", "a", "c", "b", "a"];
  for (const counts of resampleCounts(6, { seed: 1, groups, resamples: 50 })) {
    assert.equal(counts[0], counts[2]);
    assert.equal(counts[0], counts[5]);
    assert.equal(counts[1], counts[4]);
    assert.equal(counts[0]! + counts[1]! + counts[3]!, 3);
  }
  assert.throws(
    () => [...resampleCounts(3, { seed: 1, groups: ["a"] })],
    /3 images by 1 groups: /,
  );
});

Deno.test("the same seed gives the same intervals, another seed others", () => {
  const scored = noisy(60, 2);
  const first = bootstrapMetrics(scored, { seed: 5 });
  assert.deepEqual(bootstrapMetrics(scored, { seed: 5 }), first);
  assert.notDeepEqual(bootstrapMetrics(scored, { seed: 6 }), first);
});

Deno.test("every interval holds the metric it is of", () => {
  for (const classes of [2, 4]) {
    const scored = noisy(200, classes);
    const { confusion: _, ...values } = evaluateMetrics(scored);
    const intervals = bootstrapMetrics(scored, { seed: 3 });
    for (const [name, { interval }] of Object.entries(intervals)) {
      // Resampling adds noise to each bin, so calibration error is biased up.
      if (name === "expectedCalibrationError") continue;
      const value = values[name as keyof typeof values]!;
      assert.ok(interval!.low < value && value < interval!.high, name);
    }
  }
});

Deno.test("a resample counts as a copy of its images would", () => {
  const scored = noisy(30, 3);
  const counts = [...resampleCounts(30, { seed: 9, resamples: 1 })][0]!;
  const drawn = Array.from(counts).flatMap((n, i) => new Array(n).fill(i));
  const copied = evaluateMetrics({
    labels: drawn.map((i) => scored.labels[i]!),
    probabilities: drawn.map((i) => scored.probabilities[i]!),
  });
  const intervals = bootstrapMetrics(scored, { seed: 9, resamples: 1 });
  for (const [name, { interval }] of Object.entries(intervals)) {
    const value = copied[name as keyof typeof intervals]!;
    assertClose([interval!.low, interval!.high], [value, value], 1e-12);
  }
});

Deno.test("resamples where the AUC is undefined are omitted and counted", () => {
  const one = bootstrapMetrics(
    { labels: [1], probabilities: [[.2, .8]] },
    { seed: 1, resamples: 20 },
  );
  assert.deepEqual(one.auc, { interval: null, undefinedResamples: 20 });
  assert.deepEqual(one.accuracy, {
    interval: { low: 1, high: 1 },
    undefinedResamples: 0,
  });
  // Of two images of two classes, half the resamples have one class only.
  const { auc } = bootstrapMetrics(
    { labels: [0, 1], probabilities: [[.9, .1], [.2, .8]] },
    { seed: 1 },
  );
  assert.ok(Math.abs(auc.undefinedResamples - 1000) < 4 * Math.sqrt(500));
  assert.deepEqual(auc.interval, { low: 1, high: 1 });
});

Deno.test("bootstrap computes all its statistics on the same resamples", () => {
  const { total, twice } = bootstrap(5, ["total", "twice"], {
    seed: 2,
    statistics: (counts) => ({ total: counts[0]!, twice: 2 * counts[0]! }),
  });
  assert.equal(twice.interval!.high, 2 * total.interval!.high);
});

/** Predictions that are right if `right` is true. */
function accurate(right: readonly boolean[]): Scored {
  return {
    labels: right.map((_, i) => i % 2),
    probabilities: right.map((hit, i) =>
      (i % 2 === 1) === hit ? [0, 1] : [1, 0]
    ),
  };
}

/** Predictions that lean to the label, with no ties to speak of. */
function noisy(images: number, classes: number): Scored {
  const random = new RandomStream(randomKey(21, classes));
  const labels = Array.from({ length: images }, () => random.below(classes));
  const probabilities = labels.map((label) => {
    const row = Array.from(
      { length: classes },
      (_, c) => Math.exp(random.normal() + (c === label ? 1 : 0)),
    );
    const sum = row.reduce((total, value) => total + value);
    return row.map((value) => value / sum);
  });
  return { labels, probabilities };
}

/** Share of simulations whose interval holds the truth. */
function coverage(
  simulations: number,
  simulate: (seed: number) => { interval: Interval; truth: number },
): number {
  let covered = 0;
  for (let seed = 0; seed < simulations; seed++) {
    const { interval, truth } = simulate(seed);
    if (interval.low <= truth && truth <= interval.high) covered++;
  }
  return covered / simulations;
}

/** Within 4 standard errors of 0.95, and `slack` more. */
function assertCoverage(share: number, simulations: number, slack: number) {
  const error = Math.sqrt(.95 * .05 / simulations);
  assert.ok(Math.abs(share - .95) <= 4 * error + slack, `${share}`);
}

function assertClose(
  actual: number[],
  expected: (number | null)[],
  tolerance: number,
): void {
  actual.forEach((value, i) => {
    const difference = Math.abs(value - expected[i]!);
    assert.ok(difference <= tolerance, `${actual} != ${expected}`);
  });
}
