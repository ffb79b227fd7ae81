import assert from "node:assert/strict";
import { randomKey, RandomStream } from "../../kernels/random.ts";
import { groupedAucInterval } from "../../lib/eval/grouped_auc.ts";
import { evaluateMetrics, tabulate } from "../../lib/eval/metrics.ts";
import { aucInterval, type Interval } from "../../lib/eval/proportion.ts";

/** The interval of images of `labels` that are scored `scores`. */
function intervalOf(
  labels: readonly number[],
  scores: readonly number[],
  groups: readonly number[] = [...labels.keys()],
): Interval {
  const probabilities = scores.map((score) => {
    const p = 1 / (1 + Math.exp(-score));
    return [1 - p, p];
  });
  const scored = { labels, probabilities };
  const { auc } = evaluateMetrics(scored);
  return groupedAucInterval(auc!, {
    ...tabulate(scored),
    groupOf: Int32Array.from(groups),
    groupCount: Math.max(...groups) + 1,
  });
}

Deno.test("images without groups have the interval of their numbers", () => {
  // 5 of 6 pairs in order, and a tie.
  const labels = [1, 1, 0, 0, 0], scores = [2, 0, 1, 0, -1];
  const expected = aucInterval(4.5 / 6, { positives: 2, negatives: 3 });
  assertClose(intervalOf(labels, scores), expected);
  const right = intervalOf([1, 1, 0, 0, 0], [2, 1, 0, -1, -2]);
  assertClose(right, aucInterval(1, { positives: 2, negatives: 3 }));
});

Deno.test("copies of images do not count as images", () => {
  const labels = [1, 1, 0, 0, 0, 1], scores = [2, 0, 1, 0.1, -1, -2];
  const thrice = <T>(values: readonly T[]) =>
    values.flatMap((value) => [value, value, value]);
  const groups = thrice([...labels.keys()]);
  const copied = intervalOf(thrice(labels), thrice(scores), groups);
  assertClose(copied, intervalOf(labels, scores));
});

Deno.test("groups that hold both classes and cancel out are as images", () => {
  // Each patient has an image of either class; one score decides both.
  const random = new RandomStream(randomKey(51));
  const labels = Array.from({ length: 60 }, (_, i) => i % 2);
  const groups = labels.map((_, i) => i >> 1);
  const common = Array.from({ length: 30 }, () => 3 * random.normal());
  const scores = labels.map((label, i) =>
    label + common[groups[i]!]! + random.normal()
  );
  // A shift of both classes of a patient alike moves the area little.
  assertClose(intervalOf(labels, scores, groups), intervalOf(labels, scores));
});

Deno.test("the AUC of grouped images is covered where the bootstrap fails", () => {
  // 4 images a patient; the bootstrap over patients comes to 0.19 with 5 + 5
  // patients whose images are alike and an area of 0.99, 0.49 with 10 + 10.
  const random = new RandomStream(randomKey(52));
  const shiftOf = { 0.75: 0.9539, 0.9: 1.8124, 0.99: 3.29 };
  const covered: number[] = [];
  for (const patients of [5, 10, 20]) {
    for (const alike of [0, 0.5, 1]) {
      for (const [area, shift] of Object.entries(shiftOf)) {
        let held = 0;
        for (let simulation = 0; simulation < 300; simulation++) {
          const groups = Array.from(
            { length: 8 * patients },
            (_, i) => Math.floor(i / 4),
          );
          const labels = groups.map((group) => group % 2);
          const common = Array.from(
            { length: 2 * patients },
            () => random.normal(),
          );
          const scores = labels.map((label, i) =>
            label * shift + Math.sqrt(alike) * common[groups[i]!]! +
            Math.sqrt(1 - alike) * random.normal()
          );
          const { low, high } = intervalOf(labels, scores, groups);
          if (low <= Number(area) && Number(area) <= high) held++;
        }
        covered.push(held / 300);
      }
    }
  }
  const mean = covered.reduce((sum, value) => sum + value, 0) / covered.length;
  assert.ok(mean > 0.945 && mean < 0.985, `${mean}`);
  assert.ok(Math.min(...covered) > 0.88, `${Math.min(...covered)}`);
});

function assertClose(a: Interval, b: Interval): void {
  const isClose = Math.abs(a.low - b.low) < 1e-9 &&
    Math.abs(a.high - b.high) < 1e-9;
  assert.ok(isClose, `${JSON.stringify(a)} != ${JSON.stringify(b)}`);
}
