import assert from "node:assert/strict";
import { randomKey, RandomStream } from "../../kernels/random.ts";
import {
  aucInterval,
  groupedWilsonInterval,
  type Interval,
  meanShareInterval,
  wilsonInterval,
} from "../../lib/eval/proportion.ts";

Deno.test("wilsonInterval is the published one", () => {
  // Newcombe, Stat. Med. 17 (1998) 857, table I, method 3: to four digits.
  const published = [
    { successes: 81, trials: 263, low: 0.2553, high: 0.3662 },
    { successes: 15, trials: 148, low: 0.0624, high: 0.1605 },
    { successes: 0, trials: 20, low: 0, high: 0.1611 },
    { successes: 1, trials: 29, low: 0.0061, high: 0.1718 },
  ];
  for (const { low, high, ...tally } of published) {
    const interval = wilsonInterval(tally)!;
    assertClose(interval, { low, high }, 5e-5);
  }
});

Deno.test("wilsonInterval is symmetric, and stays within 0 and 1", () => {
  for (let trials = 1; trials <= 60; trials++) {
    for (let successes = 0; successes <= trials; successes++) {
      const { low, high } = wilsonInterval({ successes, trials })!;
      const other = wilsonInterval({ successes: trials - successes, trials })!;
      assertClose(other, { low: 1 - high, high: 1 - low }, 1e-12);
      const share = successes / trials;
      assert.ok(0 <= low && low <= share && share <= high && high <= 1);
      assert.ok(low < high);
    }
  }
  assert.equal(wilsonInterval({ successes: 0, trials: 0 }), null);
  assert.equal(wilsonInterval({ successes: 0, trials: 9 })!.low, 0);
  assert.equal(wilsonInterval({ successes: 9, trials: 9 })!.high, 1);
});

Deno.test("wilsonInterval covers the share 95 times in 100, on average", () => {
  // Exact: every outcome of n trials, weighted by its probability. The least
  // coverage is that of a share that lies between the intervals of two outcomes.
  const least = { 10: 0.83, 20: 0.83, 50: 0.83 };
  for (const [text, floor] of Object.entries(least)) {
    const trials = Number(text);
    const of = (share: number) => wilsonCoverage(share, trials);
    const shares = Array.from({ length: 999 }, (_, i) => (i + 1) / 1000);
    const all = shares.map(of);
    const mean = all.reduce((sum, value) => sum + value, 0) / all.length;
    assert.ok(Math.abs(mean - 0.95) < 0.01, `${trials}: mean ${mean}`);
    assert.ok(Math.min(...all) > floor, `${trials}: ${Math.min(...all)}`);
  }
  // The bootstrap comes to 0.65 and 0.40 at 10 images of 0.9 and of 0.95.
  const known = [
    [10, 0.5, 0.979],
    [10, 0.9, 0.930],
    [10, 0.95, 0.914],
    [20, 0.5, 0.959],
    [20, 0.9, 0.957],
    [20, 0.95, 0.925],
    [50, 0.5, 0.935],
    [50, 0.9, 0.970],
    [50, 0.95, 0.962],
  ] as const;
  for (const [trials, share, coverage] of known) {
    const exact = wilsonCoverage(share, trials);
    assert.ok(Math.abs(exact - coverage) < 1e-3, `${trials} ${share} ${exact}`);
    // The same by drawing: 4 standard errors of 4000 draws.
    const random = new RandomStream(randomKey(31, trials));
    const drawn = coverageOf(4000, share, () => {
      const successes = binomial(random, trials, share);
      return wilsonInterval({ successes, trials })!;
    });
    assert.ok(Math.abs(drawn - exact) < 0.018, `${drawn}`);
  }
});

Deno.test("images without groups have Wilson's interval of the images", () => {
  for (const successes of [0, 3, 8, 10]) {
    const groups = Array.from(
      { length: 10 },
      (_, i) => ({ successes: i < successes ? 1 : 0, trials: 1 }),
    );
    assertClose(
      groupedWilsonInterval(groups)!,
      wilsonInterval({ successes, trials: 10 })!,
      1e-12,
    );
  }
  assert.equal(groupedWilsonInterval([]), null);
  assert.equal(groupedWilsonInterval([{ successes: 0, trials: 0 }]), null);
});

Deno.test("groups that are all right, or one group, count as one each", () => {
  const four = Array.from({ length: 4 }, () => ({ successes: 5, trials: 5 }));
  const of = (successes: number, trials: number) =>
    wilsonInterval({ successes, trials })!;
  assertClose(groupedWilsonInterval(four)!, of(4, 4), 1e-12);
  const none = four.map(({ trials }) => ({ successes: 0, trials }));
  assertClose(groupedWilsonInterval(none)!, of(0, 4), 1e-12);
  const one = [{ successes: 7, trials: 10 }];
  assertClose(groupedWilsonInterval(one)!, of(0.7, 1), 1e-12);
  // Groups alike inside and unlike each other; then the other way round.
  const unlike = [5, 5, 5, 0].map((successes) => ({ successes, trials: 5 }));
  assertClose(groupedWilsonInterval(unlike)!, of(3, 4), 1e-12);
  const alike = [4, 4, 4, 4].map((successes) => ({ successes, trials: 5 }));
  assertClose(groupedWilsonInterval(alike)!, of(16, 20), 1e-12);
});

Deno.test("the interval of grouped images covers where the bootstrap does not", () => {
  // 5 images a group: independent, a little alike, and all the same. Of the
  // bootstrap over 5 groups, the coverage falls to 0.24 at 0.95.
  const random = new RandomStream(randomKey(32));
  const covered: number[] = [];
  for (const groups of [5, 10, 20, 40]) {
    for (const alike of [0, 0.55, 1]) {
      for (const share of [0.7, 0.9, 0.95]) {
        covered.push(
          coverageOf(
            1000,
            share,
            () =>
              groupedWilsonInterval(Array.from({ length: groups }, () => {
                const common = random.uniform() < share;
                const hits = Array.from(
                  { length: 5 },
                  () =>
                    random.uniform() < alike
                      ? common
                      : random.uniform() < share,
                );
                return { successes: hits.filter(Boolean).length, trials: 5 };
              }))!,
          ),
        );
      }
    }
  }
  const mean = covered.reduce((sum, value) => sum + value, 0) / covered.length;
  assert.ok(mean > 0.94 && mean < 0.97, `${mean}`);
  assert.ok(Math.min(...covered) > 0.85, `${Math.min(...covered)}`);
});

Deno.test("the mean of shares covers theirs, all right or not", () => {
  const right = { value: 1, interval: { low: 0.7, high: 1 } };
  assertClose(
    meanShareInterval([right, right])!,
    { low: 1 - 0.3 * Math.SQRT2 / 2, high: 1 },
    1e-12,
  );
  assert.equal(meanShareInterval([]), null);
  const random = new RandomStream(randomKey(33));
  for (const shares of [[0.5, 0.9], [0.95, 0.95, 0.8]]) {
    const truth = shares.reduce((sum, p) => sum + p, 0) / shares.length;
    const covered = coverageOf(
      2000,
      truth,
      () =>
        meanShareInterval(shares.map((share) => {
          const successes = binomial(random, 15, share);
          const interval = wilsonInterval({ successes, trials: 15 })!;
          return { value: successes / 15, interval };
        }))!,
    );
    assert.ok(covered > 0.93 && covered < 0.985, `${covered}`);
  }
});

Deno.test("aucInterval ends where the score of the area is 1.96", () => {
  const sizes = { positives: 12, negatives: 30 };
  const { low, high } = aucInterval(0.8, sizes);
  for (const end of [low, high]) {
    // Hanley & McNeil 1982 with (12 + 30) / 2 for both sizes.
    const q1 = end / (2 - end), q2 = 2 * end ** 2 / (1 + end);
    const others = 21 - 1;
    const variance = (end * (1 - end) + others * (q1 - end ** 2) +
      others * (q2 - end ** 2)) / (12 * 30);
    const score = Math.abs(0.8 - end) / Math.sqrt(variance);
    assert.ok(Math.abs(score - 1.959964) < 1e-5, `${score}`);
  }
  // Calling the other class positive turns the area over.
  const turned = aucInterval(1 - 0.8, { positives: 30, negatives: 12 });
  assertClose(turned, { low: 1 - high, high: 1 - low }, 1e-12);
});

Deno.test("a perfect ranking of few images is no certainty", () => {
  const of = (count: number) =>
    aucInterval(1, { positives: count, negatives: count });
  assert.equal(of(5).high, 1);
  const lows = [2, 5, 20, 100].map((count) => of(count).low);
  assert.ok(lows.every((low, i) => low > (lows[i - 1] ?? 0) && low < 1));
  assert.ok(of(5).low > 0.5 && of(5).low < 0.75, `${of(5).low}`);
  assert.equal(aucInterval(0, { positives: 5, negatives: 5 }).low, 0);
});

Deno.test("aucInterval covers the area 95 times in 100", () => {
  // Of two normal distributions; the bootstrap comes to 0.16 at 5 + 5 images
  // of 0.99, 0.66 at 10 + 10 of 0.97 and 0.73 at 25 + 25 of 0.99.
  const random = new RandomStream(randomKey(34));
  const shiftOf = { 0.6: 0.3583, 0.75: 0.9539, 0.9: 1.8124, 0.99: 3.29 };
  const covered: number[] = [];
  for (const [positives, negatives] of [[5, 5], [10, 10], [25, 25], [10, 40]]) {
    for (const [area, shift] of Object.entries(shiftOf)) {
      covered.push(coverageOf(1000, Number(area), () => {
        const scores = (count: number, mean: number) =>
          Array.from({ length: count }, () => mean + random.normal());
        const low = scores(negatives!, 0), high = scores(positives!, shift);
        const right = high.reduce(
          (sum, score) => sum + low.filter((other) => other < score).length,
          0,
        );
        const sizes = { positives: positives!, negatives: negatives! };
        return aucInterval(right / (positives! * negatives!), sizes);
      }));
    }
  }
  const mean = covered.reduce((sum, value) => sum + value, 0) / covered.length;
  assert.ok(mean > 0.94 && mean < 0.975, `${mean}`);
  assert.ok(Math.min(...covered) > 0.92, `${Math.min(...covered)}`);
});

Deno.test("sets that are ranked apart narrow the interval of their mean", () => {
  const set = { positives: 5, negatives: 5 };
  const tenSets = new Array(10).fill(set);
  const { low } = aucInterval(1, ...tenSets);
  // Less than one ranking of all 100 images would, which has more pairs.
  const one = aucInterval(1, { positives: 50, negatives: 50 }).low;
  assert.ok(aucInterval(1, set).low < low && low < one);
  const random = new RandomStream(randomKey(35));
  const covered = coverageOf(2000, 0.9, () => {
    const areas = tenSets.map(() => {
      const scores = (mean: number) =>
        Array.from({ length: 5 }, () => mean + random.normal());
      const low = scores(0), high = scores(1.8124);
      return high.flatMap((score) => low.filter((other) => other < score))
        .length / 25;
    });
    const mean = areas.reduce((sum, area) => sum + area, 0) / areas.length;
    return aucInterval(mean, ...tenSets);
  });
  assert.ok(covered > 0.93 && covered < 0.98, `${covered}`);
});

/** Probability that Wilson's interval of `trials` holds `share`. */
function wilsonCoverage(share: number, trials: number): number {
  let covered = 0, probability = (1 - share) ** trials;
  for (let successes = 0; successes <= trials; successes++) {
    const { low, high } = wilsonInterval({ successes, trials })!;
    if (low <= share && share <= high) covered += probability;
    probability *= (trials - successes) / (successes + 1) * share / (1 - share);
  }
  return covered;
}

function binomial(random: RandomStream, trials: number, share: number): number {
  let successes = 0;
  for (let i = 0; i < trials; i++) if (random.uniform() < share) successes++;
  return successes;
}

function coverageOf(
  simulations: number,
  truth: number,
  simulate: () => Interval,
): number {
  let covered = 0;
  for (let i = 0; i < simulations; i++) {
    const { low, high } = simulate();
    if (low <= truth && truth <= high) covered++;
  }
  return covered / simulations;
}

function assertClose(a: Interval, b: Interval, tolerance: number): void {
  for (const end of ["low", "high"] as const) {
    assert.ok(
      Math.abs(a[end] - b[end]) <= tolerance,
      `${JSON.stringify(a)} != ${JSON.stringify(b)}`,
    );
  }
}
