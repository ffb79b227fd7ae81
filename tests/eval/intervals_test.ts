import assert from "node:assert/strict";
import { randomKey, RandomStream } from "../../kernels/random.ts";
import {
  foldsAccuracy,
  foldsAuc,
  foldsBalancedAccuracy,
  metricIntervals,
  overFolds,
} from "../../lib/eval/intervals.ts";
import { evaluateMetrics, type Scored } from "../../lib/eval/metrics.ts";
import {
  aucInterval,
  type Interval,
  wilsonInterval,
} from "../../lib/eval/proportion.ts";

const RESAMPLES = 100;

/** Two-class predictions from the probabilities of class 1. */
function binary(labels: readonly number[], positive: readonly number[]) {
  return { labels, probabilities: positive.map((p) => [1 - p, p]) };
}

/** Predictions that lean to the label. */
function noisy(images: number, classes: number, seed: number): Scored {
  const random = new RandomStream(randomKey(41, seed));
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

Deno.test("all images right: no metric is certain", () => {
  const labels = [0, 0, 0, 0, 0, 1, 1, 1, 1, 1];
  const scored = binary(labels, labels.map((label) => 0.1 + 0.8 * label));
  const intervals = metricIntervals(scored, { seed: 1, resamples: RESAMPLES });
  const ofAll = wilsonInterval({ successes: 10, trials: 10 })!;
  assert.deepEqual(intervals.accuracy, ofAll);
  assert.deepEqual(
    intervals.auc,
    aucInterval(1, { positives: 5, negatives: 5 }),
  );
  for (const name of ["balancedAccuracy", "f1"] as const) {
    const { low, high } = intervals[name]!;
    assert.ok(high === 1 && low > 0.4 && low < 0.95, `${name} ${low}`);
  }
  // Every resample has the same loss: it tells nothing.
  assert.deepEqual([intervals.brier, intervals.logLoss], [null, null]);
  // Of more classes AUC and F1 are resampled, and all resamples agree.
  const three = [0, 1, 2, 0, 1, 2];
  const sure = metricIntervals({
    labels: three,
    probabilities: three.map((label) =>
      [0, 1, 2].map((c) => c === label ? 1 : 0)
    ),
  }, { seed: 1, resamples: RESAMPLES });
  assert.deepEqual([sure.auc, sure.f1], [null, null]);
  assert.ok(sure.accuracy!.low < 1 && sure.balancedAccuracy!.low < 1);
});

Deno.test("all images wrong, and none of a class", () => {
  const wrong = metricIntervals(binary([0, 0, 1, 1], [.9, .8, .2, .1]), {
    seed: 1,
    resamples: RESAMPLES,
  });
  assert.deepEqual(
    wrong.accuracy,
    wilsonInterval({ successes: 0, trials: 4 }),
  );
  for (const name of ["accuracy", "balancedAccuracy", "auc", "f1"] as const) {
    assert.equal(wrong[name]!.low, 0, name);
    assert.ok(wrong[name]!.high > 0.2 && wrong[name]!.high < 1, name);
  }
  // Without positives there is no AUC, and no F1 to speak of.
  const alone = metricIntervals(binary([0, 0, 0], [.1, .2, .3]), {
    seed: 1,
    resamples: RESAMPLES,
  });
  assert.deepEqual([alone.auc, alone.f1], [null, null]);
  assertClose(alone.balancedAccuracy!, alone.accuracy!);
});

Deno.test("every interval holds its metric, whatever was predicted", () => {
  for (let seed = 0; seed < 40; seed++) {
    const images = 3 + seed, classes = 2 + seed % 3;
    const scored = noisy(images, classes, seed);
    const { confusion: _, ...values } = evaluateMetrics(scored);
    const groups = Array.from({ length: images }, (_, i) => i % (1 + seed % 7));
    for (const how of [{}, { groups }]) {
      const intervals = metricIntervals(scored, {
        seed,
        resamples: RESAMPLES,
        ...how,
      });
      const shares = classes === 2
        ? ["accuracy", "balancedAccuracy", "f1"] as const
        : ["accuracy", "balancedAccuracy"] as const;
      for (const name of shares) {
        const interval = intervals[name];
        if (!interval) {
          assert.equal(name, "f1");
          continue;
        }
        const { low, high } = interval;
        const value = values[name];
        assert.ok(
          0 <= low && low <= value && value <= high && high <= 1 && low < high,
          `seed ${seed} ${name}: ${low} ${value} ${high}`,
        );
      }
    }
  }
});

Deno.test("a group for each image is no group; alike images are fewer", () => {
  const scored = noisy(40, 2, 5);
  const of = (groups?: number[]) =>
    metricIntervals(scored, {
      seed: 1,
      resamples: RESAMPLES,
      ...(groups && { groups }),
    });
  const each = of(Array.from({ length: 40 }, (_, i) => i));
  assertClose(each.accuracy!, of().accuracy!);
  assert.deepEqual(each.auc, of().auc);
  // Two copies of 20 images of patients are not 40 images.
  const { labels, probabilities } = noisy(20, 2, 5);
  const twice: Scored = {
    labels: [0, 1].flatMap(() => Array.from(labels)),
    probabilities: [...probabilities, ...probabilities],
  };
  const groups = Array.from({ length: 40 }, (_, i) => i % 20);
  const grouped = metricIntervals(twice, { seed: 1, groups });
  const once = metricIntervals(noisy(20, 2, 5), { seed: 1 });
  assertClose(grouped.accuracy!, once.accuracy!);
  assertClose(grouped.f1!, once.f1!);
});

Deno.test("patients who are all right leave AUC uncertain", () => {
  // 3 patients a class, 4 images each, a perfect ranking.
  const labels = Array.from({ length: 24 }, (_, i) => i % 2);
  const groups = labels.map((label, i) => `${label} ${i % 3}`);
  const scored = binary(labels, labels.map((l, i) => 0.4 * l + 0.01 * i));
  const { auc } = metricIntervals(scored, { seed: 1, groups });
  assert.deepEqual(auc, aucInterval(1, { positives: 3, negatives: 3 }));
});

Deno.test("folds: as wide as they vary, and as their images allow", () => {
  const fold = (accuracy: number, auc: number | null = accuracy) => {
    const wrong = Math.round((1 - accuracy) * 5);
    const confusion = [[5 - wrong, wrong], [wrong, 5 - wrong]];
    return { accuracy, balancedAccuracy: accuracy, auc, confusion };
  };
  const agreed = [1, 1, 1].map((accuracy) => fold(accuracy));
  const all = wilsonInterval({ successes: 30, trials: 30 })!;
  assert.deepEqual(foldsAccuracy(agreed).interval, all);
  for (const over of [foldsAuc, foldsBalancedAccuracy]) {
    const { mean, interval } = over(agreed);
    assert.equal(mean, 1);
    assert.ok(interval!.high === 1 && interval!.low < 0.93);
  }
  // Folds that vary more than their images say keep Student's t.
  const varied = [0.4, 1, 0.6].map((accuracy) => fold(accuracy));
  const { interval } = foldsAccuracy(varied);
  assert.deepEqual(interval, overFolds([0.4, 1, 0.6]).interval);
  // An AUC that is undefined in a fold, and in all.
  assert.equal(foldsAuc([fold(1, null), fold(0.8)]).undefinedCount, 1);
  assert.equal(foldsAuc([fold(1, null)]).interval, null);
});

Deno.test("accuracy over folds covers the truth where t over folds does not", () => {
  // 5 folds of 10 images, every image right with 0.95.
  const random = new RandomStream(randomKey(42));
  const simulations = 2000, truth = 0.95;
  let ours = 0, student = 0;
  const holds = ({ low, high }: Interval) => low <= truth && truth <= high;
  for (let i = 0; i < simulations; i++) {
    const folds = Array.from({ length: 5 }, () => {
      const right = Array.from({ length: 10 }, () => random.uniform() < truth)
        .filter(Boolean).length;
      const confusion = [[right, 10 - right], [0, 0]];
      return { accuracy: right / 10, auc: null, confusion };
    });
    if (holds(foldsAccuracy(folds).interval!)) ours++;
    const t = overFolds(folds.map(({ accuracy }) => accuracy)).interval!;
    if (holds(t)) student++;
  }
  assert.ok(ours / simulations > 0.95, `${ours / simulations}`);
  assert.ok(student / simulations < 0.92, `${student / simulations}`);
});

function assertClose(a: Interval, b: Interval): void {
  assert.ok(
    Math.abs(a.low - b.low) < 1e-12 && Math.abs(a.high - b.high) < 1e-12,
  );
}
