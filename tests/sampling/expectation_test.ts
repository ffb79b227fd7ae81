import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import {
  type Draws,
  expectation,
  type GradientRule,
} from "../../lib/sampling/expectation.ts";
import { maxError, testOnEngines, testOnWasm } from "../engines.ts";
import { normals, relativeError } from "../finite_differences.ts";

/** golden/estimators.json: numpy float64, exhaustive enumeration. */
interface Golden {
  cases: {
    attention: number[];
    features: number[][];
    upstream: number[];
    withoutReplacement: {
      draw: number[];
      F: number[];
      dFeatures: number[][];
      dAttention: number[];
    };
    withReplacement: {
      counts: number[];
      F: number[];
      dFeatures: Record<string, number[]>;
      dAttention: Record<string, number>;
    };
  }[];
}

/** Inputs of a batch of representations, all flat. */
interface Input {
  features: number[][]; // [S, K]
  subTileAttention: number[]; // [S]
  tileAttention: number[]; // [T]
  draws: Draws;
}

/** F, the weights, and the gradients of sum over rows of <upstream_r, F_r>. */
interface Output {
  F: number[]; // [rows * K]
  weights: number[]; // [S]
  dFeatures: number[]; // [S * K]
  dSubTiles: number[]; // [S]
  dTiles: number[]; // [T]
}

/** The code under test. */
async function run(
  { features, subTileAttention, tileAttention, draws }: Input,
  upstream: number[][],
  rule: GradientRule = "unbiased",
): Promise<Output> {
  const tensors = tf.tidy(() => {
    const inputs = [
      tf.tensor2d(features),
      tf.tensor1d(subTileAttention),
      tf.tensor1d(tileAttention),
    ];
    const forward = (...[f, b, alpha]: tf.Tensor[]) =>
      expectation(
        {
          features: f as tf.Tensor2D,
          subTileAttention: b as tf.Tensor1D,
          tileAttention: alpha as tf.Tensor1D,
        },
        draws,
        rule,
      );
    const gradients = tf.grads((...args) => forward(...args).representation)(
      inputs,
      tf.tensor2d(upstream),
    );
    const { representation, weights } = forward(...inputs);
    return [representation, weights, ...gradients] as tf.Tensor[];
  });
  const [F, weights, dFeatures, dSubTiles, dTiles] = await Promise.all(
    tensors.map(async (tensor) => [...await tensor.data()]),
  ) as [number[], number[], number[], number[], number[]];
  tf.dispose(tensors);
  return { F, weights, dFeatures, dSubTiles, dTiles };
}

/** One drawn tile, in float64. */
interface Tile {
  row: number;
  f: number[][]; // [n, K]
  b: number[]; // [n]
  left: number[]; // [n]: m
  count: number; // n_c
  phi: number[]; // [K]
  along: number; // x_c = <upstream, phi>
}

/** The estimator and all rules by their formulas, tile by tile, in float64. */
function reference(
  { features, subTileAttention, tileAttention, draws }: Input,
  upstream: number[][],
  rule: GradientRule,
): Output {
  const tiles = tilesOf({ features, subTileAttention, draws }, upstream);
  const F = upstream.map((row) => row.map(() => 0));
  const weights: number[] = [], dFeatures: number[] = [];
  const dSubTiles: number[] = [], dTiles: number[] = [];
  for (const [at, tile] of tiles.entries()) {
    const { row, f, b, left, phi, along } = tile;
    const n = b.length, N = draws.samples;
    const share = tile.count / N; // w_c = n_c / N
    phi.forEach((value, c) => F[row]![c]! += share * value);
    const ofRow = tiles.filter((other) => other.row === row);
    const mean = ofRow.reduce((sum, t) => sum + t.count / N * t.along, 0);
    const isCompared = rule === "leaveOneOut";
    const centred = isCompared ? N / (N - 1) * (along - mean) : along;
    dTiles.push(share * centred / tileAttention[at]!);
    const others = isCompared ? meanOf(ofRow.filter((t) => t !== tile)) : 0;

    for (let k = 0; k < n; k++) {
      const weight = (left[k]! + (n - 1 - k) * b[k]!) / n;
      weights.push(share * weight);
      dFeatures.push(...upstream[row]!.map((value) => share * weight * value));
      if (rule !== "ats") {
        const g = share * (dot(upstream[row]!, f[k]!) - others);
        dSubTiles.push(g * ((n - 1 - k) + left[k]! / b[k]!) / n);
        continue;
      }
      const direction = f[k]!.map((_, c) => {
        let before = 0, estimate = left[k]! * f[k]![c]!;
        for (let j = 0; j < k; j++) {
          before += f[j]![c]!;
          estimate += b[j]! * f[j]![c]!;
        }
        return estimate * left[k]! / b[k]! + before - k * f[k]![c]!;
      });
      dSubTiles.push(share * dot(upstream[row]!, direction) / n);
    }
  }
  return { F: F.flat(), weights, dFeatures, dSubTiles, dTiles };
}

function tilesOf(
  { features, subTileAttention, draws }: Omit<Input, "tileAttention">,
  upstream: number[][],
): Tile[] {
  let at = 0;
  return Array.from(draws.drawn, (n, tile) => {
    const f = features.slice(at, at + n);
    const b = subTileAttention.slice(at, at + n);
    at += n;
    const row = draws.rowOf[tile]!;
    const left = b.map((_, k) =>
      b.slice(0, k).reduce((m, value) => m - value, 1)
    );
    const phi = f[0]!.map((_, c) =>
      f.reduce((sum, one, k) => {
        const before = f.slice(0, k)
          .reduce((sum, other, j) => sum + b[j]! * other[c]!, 0);
        return sum + (before + left[k]! * one[c]!) / n;
      }, 0)
    );
    const along = dot(upstream[row]!, phi);
    return { row, f, b, left, count: draws.counts[tile]!, phi, along };
  });
}

/** The mean of x over the draws of some tiles: o_c over the others. */
function meanOf(tiles: readonly Tile[]): number {
  const draws = tiles.reduce((sum, { count }) => sum + count, 0);
  return tiles.reduce((sum, { count, along }) => sum + count * along, 0) /
    draws;
}

function dot(a: number[], b: number[]): number {
  return a.reduce((sum, value, i) => sum + value * b[i]!, 0);
}

function assertSame(actual: Output, expected: Output, tolerance = 1e-5): void {
  for (const part of Object.keys(expected) as (keyof Output)[]) {
    const error = maxError(actual[part], expected[part]);
    assert.ok(error < tolerance, `${part}: ${error}`);
  }
}

/** One row of one tile, as the golden cases without replacement. */
function oneTile(features: number[][], attention: number[]): Input {
  const n = features.length;
  return {
    features,
    subTileAttention: attention,
    tileAttention: [1],
    draws: drawsOf({ rowOf: [0], counts: [n], drawn: [n] }),
  };
}

function drawsOf(
  { rowOf, counts, drawn }: Record<"rowOf" | "counts" | "drawn", number[]>,
): Draws {
  let samples = 0;
  rowOf.forEach((row, tile) => samples += row === 0 ? counts[tile]! : 0);
  return {
    samples,
    rowOf: Int32Array.from(rowOf),
    counts: Int32Array.from(counts),
    drawn: Int32Array.from(drawn),
  };
}

function rows(count: number, channels: number, seed: number): number[][] {
  const values = normals(count * channels, seed);
  return Array.from(
    { length: count },
    (_, i) => [...values.subarray(i * channels, (i + 1) * channels)],
  );
}

/** Numbers that could be the attentions of one tile's draws. */
function attentions(count: number, seed: number): number[] {
  const weights = [...normals(count, seed)].map(Math.exp);
  const sum = weights.reduce((a, b) => a + b, 0) * 1.5;
  return weights.map((weight) => weight / sum);
}

/** Two images, five tiles of 1 to 4 draws, one with fewer than its count. */
function mixed(): Input {
  const drawn = [2, 1, 3, 4, 1];
  return {
    features: rows(11, 3, 1),
    subTileAttention: drawn.flatMap((n, tile) => attentions(n, 10 + tile)),
    tileAttention: [0.3, 0.1, 0.05, 0.4, 0.2],
    draws: drawsOf({
      rowOf: [0, 0, 0, 1, 1],
      counts: [2, 1, 4, 6, 1],
      drawn,
    }),
  };
}

const { cases }: Golden = JSON.parse(
  await Deno.readTextFile(
    new URL("../../fixtures/golden/estimators.json", import.meta.url),
  ),
);

testOnEngines("golden estimators, without replacement", async () => {
  assert.equal(cases.length, 24);
  for (const { attention, features, upstream, ...rest } of cases) {
    const { draw, F, dFeatures, dAttention } = rest.withoutReplacement;
    const actual = await run(
      oneTile(
        draw.map((i) => features[i]!),
        draw.map((i) => attention[i]!),
      ),
      [upstream],
    );
    assert.ok(maxError(actual.F, F) < 1e-5);
    assert.ok(relativeError(actual.dFeatures, dFeatures.flat()) < 1e-5);
    assert.ok(relativeError(actual.dSubTiles, dAttention) < 1e-5);
  }
});

testOnEngines("golden estimators, with replacement", async () => {
  for (const { attention, features, upstream, ...rest } of cases) {
    const { counts, F, dFeatures, dAttention } = rest.withReplacement;
    const drawn = counts.flatMap((count, i) => count > 0 ? [i] : []);
    const actual = await run({
      features: drawn.map((i) => features[i]!),
      subTileAttention: drawn.map(() => 1), // tiles of one location
      tileAttention: drawn.map((i) => attention[i]!),
      draws: drawsOf({
        rowOf: drawn.map(() => 0),
        counts: drawn.map((i) => counts[i]!),
        drawn: drawn.map(() => 1),
      }),
    }, [upstream]);
    assert.ok(maxError(actual.F, F) < 1e-5);
    const expected = drawn.flatMap((i) => dFeatures[i]!);
    assert.ok(relativeError(actual.dFeatures, expected) < 1e-5);
    const dTiles = drawn.map((i) => dAttention[i]!);
    assert.ok(relativeError(actual.dTiles, dTiles) < 1e-5);
  }
});

for (const rule of ["unbiased", "leaveOneOut", "ats"] as const) {
  testOnEngines(`the ${rule} rule equals plain loops`, async () => {
    const input = mixed(), upstream = rows(2, 3, 2);
    assertSame(
      await run(input, upstream, rule),
      reference(input, upstream, rule),
    );
  });
}

testOnEngines("with one draw a tile both rules agree", async () => {
  const input: Input = {
    features: rows(3, 4, 3),
    subTileAttention: [0.2, 0.01, 0.9],
    tileAttention: [0.5, 0.25, 0.125],
    draws: drawsOf({ rowOf: [0, 0, 0], counts: [1, 1, 1], drawn: [1, 1, 1] }),
  };
  const upstream = rows(1, 4, 4);
  assertSame(
    await run(input, upstream, "ats"),
    await run(input, upstream, "unbiased"),
    1e-6,
  );
});

testOnEngines("finite with all locations drawn, peaked or not", async () => {
  const upstream = rows(1, 3, 5);
  const peaked = [1 - 3e-8, 1e-8, 1e-8, 1e-8].map(Math.fround);
  const vanished = [1, 0, 0, 0]; // underflow of a softmax
  const overfull = [0.6, 0.4000001, 1e-9, 1e-9]; // rounding: sums above 1
  for (
    const attention of [[0.25, 0.25, 0.25, 0.25], peaked, vanished, overfull]
  ) {
    for (const rule of ["unbiased", "ats"] as const) {
      const output = await run(
        oneTile(rows(4, 3, 6), attention),
        upstream,
        rule,
      );
      assert.ok(Object.values(output).flat().every(Number.isFinite));
      assert.ok(output.weights.every((weight) => weight >= 0));
    }
  }
});

testOnEngines(
  "finite where a drawn tile's attention has vanished",
  async () => {
    const input = mixed();
    input.tileAttention[1] = 0; // underflow of a softmax
    for (const rule of ["unbiased", "leaveOneOut", "ats"] as const) {
      const output = await run(input, rows(2, 3, 5), rule);
      assert.ok(Object.values(output).flat().every(Number.isFinite), rule);
    }
  },
);

testOnEngines("rows at once equal rows one by one", async () => {
  const both = mixed(), upstream = rows(2, 3, 7);
  const [first, second] = [[0, 3, 6], [3, 5, 5]] as const;
  const parts: Output[] = [];
  for (
    const [row, [from, to, subTiles]] of ([first, second] as const).entries()
  ) {
    const start = row === 0 ? 0 : first[2];
    parts.push(
      await run({
        features: both.features.slice(start, start + subTiles),
        subTileAttention: both.subTileAttention.slice(start, start + subTiles),
        tileAttention: both.tileAttention.slice(from, to),
        draws: {
          samples: both.draws.samples,
          rowOf: both.draws.rowOf.slice(from, to).map(() => 0),
          counts: both.draws.counts.slice(from, to),
          drawn: both.draws.drawn.slice(from, to),
        },
      }, [upstream[row]!]),
    );
  }
  const joined = Object.fromEntries(
    (Object.keys(parts[0]!) as (keyof Output)[])
      .map((part) => [part, parts.flatMap((output) => output[part])]),
  );
  assertSame(await run(both, upstream), joined as unknown as Output, 1e-6);
});

testOnEngines("the order of tiles does not matter", async () => {
  const input = mixed(), upstream = rows(2, 3, 8);
  const order = [4, 2, 0, 3, 1];
  const starts = [0, 2, 3, 6, 10];
  const subTilesOf = (tile: number) =>
    Array.from(
      { length: input.draws.drawn[tile]! },
      (_, k) => starts[tile]! + k,
    );
  const subTiles = order.flatMap(subTilesOf);
  const at = (values: Int32Array) =>
    Int32Array.from(order, (tile) => values[tile]!);
  const turned = await run({
    features: subTiles.map((i) => input.features[i]!),
    subTileAttention: subTiles.map((i) => input.subTileAttention[i]!),
    tileAttention: order.map((tile) => input.tileAttention[tile]!),
    draws: {
      samples: input.draws.samples,
      rowOf: at(input.draws.rowOf),
      counts: at(input.draws.counts),
      drawn: at(input.draws.drawn),
    },
  }, upstream);
  const straight = await run(input, upstream);
  assert.ok(maxError(turned.F, straight.F) < 1e-6);
  const expected = subTiles.map((i) => straight.dSubTiles[i]!);
  assert.ok(maxError(turned.dSubTiles, expected) < 1e-6);
});

testOnEngines("weights add up to 1; a constant f gives F = f", async () => {
  const input = mixed();
  input.features = input.features.map(() => [0.6, -0.8, 0]);
  const { F, weights } = await run(input, rows(2, 3, 9));
  const sum = (values: number[]) => values.reduce((a, b) => a + b, 0);
  // the samples of both rows must be the same for this: 7
  assert.ok(Math.abs(sum(weights.slice(0, 6)) - 1) < 1e-6);
  assert.ok(Math.abs(sum(weights.slice(6)) - 1) < 1e-6);
  assert.ok(maxError(F, [0.6, -0.8, 0, 0.6, -0.8, 0]) < 1e-6);
});

/** Ordered draws without replacement, with their probabilities. */
function orderedDraws(
  attention: number[],
  n: number,
): { draw: number[]; probability: number }[] {
  if (n === 0) return [{ draw: [], probability: 1 }];
  return orderedDraws(attention, n - 1).flatMap(({ draw, probability }) => {
    const left = draw.reduce((rest, i) => rest - attention[i]!, 1);
    return attention.flatMap((p, i) =>
      draw.includes(i)
        ? []
        : [{ draw: [...draw, i], probability: probability * p / left }]
    );
  });
}

/** Gradient of logits from that of their softmax. */
function throughSoftmax(attention: number[], gradient: number[]): number[] {
  const mean = attention.reduce((sum, p, i) => sum + p * gradient[i]!, 0);
  return attention.map((p, i) => p * (gradient[i]! - mean));
}

const ATTENTION = [0.5, 0.08, 0.3, 0.12].map(Math.fround);

testOnEngines("over all draws of a tile: unbiased is, ats is not", async () => {
  const features = rows(4, 3, 11), g = rows(1, 3, 12)[0]!;
  const along = features.map((f) =>
    f.reduce((sum, x, c) => sum + x * g[c]!, 0)
  );
  const exact = {
    loss: ATTENTION.reduce((sum, p, i) => sum + p * along[i]!, 0),
    dLogits: throughSoftmax(ATTENTION, along),
  };
  for (const n of [1, 2, 3, 4]) {
    const outcomes = orderedDraws(ATTENTION, n);
    const all: Input = {
      features: outcomes.flatMap(({ draw }) => draw.map((i) => features[i]!)),
      subTileAttention: outcomes.flatMap(({ draw }) =>
        draw.map((i) => ATTENTION[i]!)
      ),
      tileAttention: outcomes.map(() => 1),
      draws: drawsOf({
        rowOf: outcomes.map((_, row) => row),
        counts: outcomes.map(() => n),
        drawn: outcomes.map(() => n),
      }),
    };
    for (const rule of ["unbiased", "ats"] as const) {
      const { F, dSubTiles } = await run(all, outcomes.map(() => g), rule);
      let loss = 0;
      const dAttention = [0, 0, 0, 0];
      outcomes.forEach(({ draw, probability }, row) => {
        g.forEach((value, c) => loss += probability * value * F[row * 3 + c]!);
        draw.forEach((i, k) => {
          dAttention[i]! += probability * dSubTiles[row * n + k]!;
        });
      });
      assert.ok(Math.abs(loss - exact.loss) < 1e-5);
      const error = maxError(
        throughSoftmax(ATTENTION, dAttention),
        exact.dLogits,
      );
      if (rule === "unbiased" || n === 1) {
        assert.ok(error < 1e-5, `n = ${n}: ${error}`);
      } else assert.ok(error > 0.01, `n = ${n}: ${error}`);
    }
  }
});

for (const rule of ["unbiased", "leaveOneOut"] as const) {
  const name = `draws of both stages: F and gradients, ${rule}`;
  for (const samples of [1, 2]) {
    testOnEngines(
      `over all ${samples} ${name}`,
      async () => void await overAllDraws(rule, samples),
    );
  }
  // Four draws of one tile are more than it has locations.
  for (const samples of [3, 4]) {
    testOnWasm(
      `over all ${samples} ${name}`,
      async () => void await overAllDraws(rule, samples),
    );
  }
}

testOnEngines(
  "what the other draws came to makes gradients vary less",
  async () => {
    const unbiased = await overAllDraws("unbiased", 2);
    const leaveOneOut = await overAllDraws("leaveOneOut", 2);
    assert.ok(
      leaveOneOut < 0.5 * unbiased,
      `variances ${leaveOneOut} and ${unbiased}`,
    );
  },
);

/** Counts of each tile in `samples` draws, with their probabilities. */
function tileCounts(
  attention: number[],
  samples: number,
): { counts: number[]; probability: number }[] {
  const outcomes = new Map<string, { counts: number[]; probability: number }>();
  const add = (counts: number[], left: number, probability: number) => {
    if (left > 0) {
      attention.forEach((p, tile) =>
        add(counts.with(tile, counts[tile]! + 1), left - 1, probability * p)
      );
      return;
    }
    const before = outcomes.get(`${counts}`)?.probability ?? 0;
    outcomes.set(`${counts}`, { counts, probability: before + probability });
  };
  add(attention.map(() => 0), samples, 1);
  return [...outcomes.values()];
}

/** Every way to draw sub-tiles in tiles that are drawn `counts` times. */
function subTileDraws(
  attentions: number[][],
  counts: number[],
): { draws: Map<number, number[]>; probability: number }[] {
  let ways = [{ draws: new Map<number, number[]>(), probability: 1 }];
  counts.forEach((count, tile) => {
    if (count === 0) return;
    const own = attentions[tile]!;
    ways = ways.flatMap(({ draws, probability }) =>
      orderedDraws(own, Math.min(count, own.length)).map((one) => ({
        draws: new Map([...draws, [tile, one.draw]]),
        probability: probability * one.probability,
      }))
    );
  });
  return ways;
}

/**
 * Checks means over all draws against the exact values; returns the variance of
 * the gradient of the tiles' logits.
 */
async function overAllDraws(
  rule: GradientRule,
  samples: number,
): Promise<number> {
  // 3 tiles of 3 locations
  const alpha = [0.6, 0.1, 0.3].map(Math.fround);
  const beta = [[0.7, 0.2, 0.1], [0.1, 0.45, 0.45], [0.3, 0.5, 0.2]]
    .map((row) => row.map(Math.fround));
  const g = rows(1, 2, 14)[0]!;
  // The common part of an image's features along g is noise to its attention.
  const f = rows(9, 2, 13).map((row) => row.map((x, c) => x + 3 * g[c]!));
  const input: Input = {
    features: [],
    subTileAttention: [],
    tileAttention: [],
    draws: drawsOf({ rowOf: [], counts: [], drawn: [] }),
  };
  const rowOf: number[] = [], counts: number[] = [], tiles: number[] = [];
  const subTiles: number[] = [], probabilities: number[] = [];
  const drawn: number[] = [];
  for (const outcome of tileCounts(alpha, samples)) {
    for (const way of subTileDraws(beta, outcome.counts)) {
      for (const [tile, draw] of way.draws) {
        rowOf.push(probabilities.length);
        counts.push(outcome.counts[tile]!);
        drawn.push(draw.length);
        tiles.push(tile);
        input.tileAttention.push(alpha[tile]!);
        for (const i of draw) {
          subTiles.push(tile * 3 + i);
          input.features.push(f[tile * 3 + i]!);
          input.subTileAttention.push(beta[tile]![i]!);
        }
      }
      probabilities.push(outcome.probability * way.probability);
    }
  }
  input.draws = drawsOf({ rowOf, counts, drawn });
  const output = await run(input, probabilities.map(() => g), rule);

  const expected = {
    F: [0, 0],
    dAlpha: [0, 0, 0],
    dBeta: new Array<number>(9).fill(0),
  };
  probabilities.forEach((probability, row) => {
    for (let c = 0; c < 2; c++) {
      expected.F[c]! += probability * output.F[row * 2 + c]!;
    }
  });
  let at = 0;
  tiles.forEach((tile, i) => {
    const probability = probabilities[rowOf[i]!]!;
    expected.dAlpha[tile]! += probability * output.dTiles[i]!;
    for (let k = 0; k < drawn[i]!; k++, at++) {
      expected.dBeta[subTiles[at]!]! += probability * output.dSubTiles[at]!;
    }
  });
  const along = f.map((row) => row[0]! * g[0]! + row[1]! * g[1]!);
  const ofTile = beta.map((row, tile) =>
    row.reduce((sum, p, i) => sum + p * along[tile * 3 + i]!, 0)
  );
  for (let c = 0; c < 2; c++) {
    const exact = f.reduce(
      (sum, row, i) =>
        sum +
        alpha[Math.floor(i / 3)]! * beta[Math.floor(i / 3)]![i % 3]! * row[c]!,
      0,
    );
    assert.ok(Math.abs(expected.F[c]! - exact) < 1e-5);
  }
  const dAlpha = throughSoftmax(alpha, expected.dAlpha);
  assert.ok(maxError(dAlpha, throughSoftmax(alpha, ofTile)) < 1e-5);
  beta.forEach((row, tile) => {
    const range = [tile * 3, tile * 3 + 3] as const;
    const exact = throughSoftmax(row, along.slice(...range))
      .map((value) => alpha[tile]! * value);
    const mean = throughSoftmax(row, expected.dBeta.slice(...range));
    assert.ok(maxError(mean, exact) < 1e-5, `beta of tile ${tile}`);
  });
  return probabilities.reduce((sum, probability, row) => {
    const ofRow = [0, 0, 0];
    tiles.forEach((tile, i) => {
      if (rowOf[i] === row) ofRow[tile]! += output.dTiles[i]!;
    });
    const squares = throughSoftmax(alpha, ofRow)
      .map((value, tile) => (value - dAlpha[tile]!) ** 2);
    return sum + probability * squares.reduce((a, b) => a + b);
  }, 0);
}
