import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import { randomKey, RandomStream } from "../../kernels/random.ts";
import {
  evidence,
  evidenceOffsets,
  exploration,
  proposalLoss,
  type ProposedDraws,
} from "../../lib/sampling/evidence.ts";
import { maxError, testOnEngines, testOnWasm } from "../engines.ts";
import { assertGradients, normals } from "../finite_differences.ts";

const TILES = 5, CELLS = 7, CLASSES = 2, SHARPNESS = 2;
const G = TILES * CELLS;

/** A toy image: logits of all locations, and a proposal over them. */
interface Toy {
  z: number[][]; // [G][classes]
  ofTiles: number[]; // [tiles]
  within: number[][]; // [tiles][cells], given the tile
}

function softmax(values: number[]): number[] {
  const weights = values.map(Math.exp);
  const sum = weights.reduce((a, b) => a + b);
  return weights.map((weight) => weight / sum);
}

function toy(seed: number, spread = 1): Toy {
  const values = normals(G * (CLASSES + 1) + TILES, seed);
  const rest = values.slice(G * CLASSES);
  return {
    z: Array.from(
      { length: G },
      (_, i) => [...values.slice(i * CLASSES, (i + 1) * CLASSES)],
    ),
    ofTiles: softmax([...rest.slice(0, TILES)].map((v) => v * spread)),
    within: Array.from(
      { length: TILES },
      (_, t) =>
        softmax(
          [...rest.slice(TILES + t * CELLS, TILES + (t + 1) * CELLS)]
            .map((v) => v * spread),
        ),
    ),
  };
}

/** 1/r [log mean over all locations of exp(r z)], by a plain loop. */
function exact({ z }: Toy, sharpness = SHARPNESS): number[] {
  return Array.from({ length: CLASSES }, (_, k) =>
    Math.log(
      z.reduce((sum, logits) => sum + Math.exp(sharpness * logits[k]!), 0) / G,
    ) / sharpness);
}

/** One of the indices, with its probability. */
function drawOne(p: readonly number[], stream: RandomStream): number {
  let left = stream.uniform();
  for (const [i, value] of p.entries()) {
    left -= value;
    if (left < 0) return i;
  }
  return p.length - 1;
}

/** Tiles with replacement, locations in them at equal distances, by plain loops. */
function drawn(
  { ofTiles, within, z }: Toy,
  samples: number,
  stream: RandomStream,
): { logits: number[][]; proposed: ProposedDraws } {
  const counts = new Array<number>(TILES).fill(0);
  for (let n = 0; n < samples; n++) counts[drawOne(ofTiles, stream)]!++;
  const kept = counts.flatMap((count, tile) => count > 0 ? [tile] : []);
  const subTiles: number[] = [], ofSubTiles: number[] = [];
  const logits: number[][] = [], drawn: number[] = [];
  for (const tile of kept) {
    const start = stream.uniform();
    const cells = new Array<number>(CELLS).fill(0);
    for (let k = 0; k < counts[tile]!; k++) {
      const at = (k + start) / counts[tile]!;
      let cell = 0, sum = within[tile]![0]!;
      while (sum < at && cell < CELLS - 1) sum += within[tile]![++cell]!;
      cells[cell]!++;
    }
    drawn.push(cells.filter((count) => count > 0).length);
    cells.forEach((count, cell) => {
      if (count === 0) return;
      ofSubTiles.push(count);
      subTiles.push(within[tile]![cell]!);
      logits.push(z[tile * CELLS + cell]!);
    });
  }
  return {
    logits,
    proposed: {
      tiles: kept.map((tile) => ofTiles[tile]!),
      subTiles,
      counts: ofSubTiles,
      locations: [G],
      draws: {
        samples,
        rowOf: new Int32Array(kept.length),
        counts: Int32Array.from(kept, (tile) => counts[tile]!),
        drawn: Int32Array.from(drawn),
      },
    },
  };
}

/** sum over draws of w exp(r z) / (q G) of class `k`, by a plain loop. */
function insideLog(
  { logits, proposed }: ReturnType<typeof drawn>,
  k: number,
): number {
  const offsets = evidenceOffsets(proposed);
  return logits.reduce(
    (sum, z, s) => sum + Math.exp(SHARPNESS * z[k]! + offsets[s]!),
    0,
  );
}

/** The code under test. */
async function estimate(
  { logits, proposed }: ReturnType<typeof drawn>,
): Promise<{ values: number[]; shares: number[] }> {
  const result = tf.tidy(() =>
    evidence(
      tf.tensor2d(logits),
      evidenceOffsets(proposed),
      proposed.draws,
      SHARPNESS,
    )
  );
  const values = [...await result.evidence.data()];
  const shares = [...await result.shares.data()];
  tf.dispose([result.evidence, result.shares]);
  return { values, shares };
}

testOnWasm("evidence: unbiased inside the logarithm", () => {
  for (const samples of [1, 2, 6, 30]) {
    const image = toy(3);
    const stream = new RandomStream(randomKey(11, samples));
    const repeats = 4000;
    let sum = 0, squares = 0;
    for (let n = 0; n < repeats; n++) {
      const value = insideLog(drawn(image, samples, stream), 1);
      sum += value;
      squares += value ** 2;
    }
    const mean = sum / repeats;
    const error = Math.sqrt((squares / repeats - mean ** 2) / repeats);
    const truth = Math.exp(SHARPNESS * exact(image)[1]!);
    assert.ok(
      Math.abs(mean - truth) < 4 * error,
      `${samples}: ${mean} +- ${error}, exact ${truth}`,
    );
  }
});

testOnEngines("evidence: the exact sum as draws become many", async () => {
  const image = toy(5);
  // Every location of every tile is drawn: only the counts of tiles vary.
  const all = drawn(image, 40_000, new RandomStream(randomKey(2)));
  assert.equal(all.logits.length, G);
  const { values } = await estimate(all);
  assert.ok(maxError(values, exact(image)) < 0.02);
});

testOnWasm("evidence: exact under the best proposal", async () => {
  const image = toy(6);
  const best = softmax(image.z.map((logits) => SHARPNESS * logits[1]!));
  const tiles = Array.from(
    { length: TILES },
    (_, tile) => best.slice(tile * CELLS, (tile + 1) * CELLS),
  );
  image.ofTiles = tiles.map((cells) => cells.reduce((a, b) => a + b));
  image.within = tiles.map((cells, tile) =>
    cells.map((share) => share / image.ofTiles[tile]!)
  );
  for (const samples of [1, 3, 10]) {
    const draws = drawn(image, samples, new RandomStream(randomKey(samples)));
    const { values } = await estimate(draws);
    assert.ok(Math.abs(values[1]! - exact(image)[1]!) < 1e-5);
  }
});

testOnEngines("evidence: a plain loop, and shares that add to 1", async () => {
  for (const samples of [1, 2, 9]) {
    const draws = drawn(toy(7), samples, new RandomStream(randomKey(samples)));
    const { values, shares } = await estimate(draws);
    for (let k = 0; k < CLASSES; k++) {
      const truth = Math.log(insideLog(draws, k)) / SHARPNESS;
      assert.ok(Math.abs(values[k]! - truth) < 1e-4);
      const own = shares.filter((_, i) => i % CLASSES === k);
      assert.ok(Math.abs(own.reduce((a, b) => a + b) - 1) < 1e-4);
    }
  }
});

testOnWasm("evidence: one draw has the evidence of its location", async () => {
  const draws = drawn(toy(1), 1, new RandomStream(randomKey(4)));
  const { values, shares } = await estimate(draws);
  const [offset] = evidenceOffsets(draws.proposed);
  const expected = draws.logits[0]!.map((z) => z + offset! / SHARPNESS);
  assert.ok(maxError(values, expected) < 1e-5);
  assert.ok(maxError(shares, [1, 1]) < 1e-5);
});

testOnEngines("evidence: a location with tiny q is finite", async () => {
  const image = toy(9, 30); // attention is nearly one location's
  const draws = drawn(image, 6, new RandomStream(randomKey(6)));
  (draws.proposed.subTiles as number[])[0] = 1e-30;
  const { values, shares } = await estimate(draws);
  assert.ok([...values, ...shares].every(Number.isFinite));
});

/** Two draws as one batch of two rows. */
function together(
  [first, second]: [ReturnType<typeof drawn>, ReturnType<typeof drawn>],
): ReturnType<typeof drawn> {
  const joined = (of: (draws: ProposedDraws) => ArrayLike<number>) => [
    ...Array.from(of(first.proposed)),
    ...Array.from(of(second.proposed)),
  ];
  return {
    logits: [...first.logits, ...second.logits],
    proposed: {
      tiles: joined(({ tiles }) => tiles),
      subTiles: joined(({ subTiles }) => subTiles),
      counts: joined(({ counts }) => counts),
      locations: [G, G],
      draws: {
        samples: first.proposed.draws.samples,
        rowOf: Int32Array.from([
          ...first.proposed.draws.rowOf,
          ...second.proposed.draws.rowOf.map(() => 1),
        ]),
        counts: Int32Array.from(joined(({ draws }) => draws.counts)),
        drawn: Int32Array.from(joined(({ draws }) => draws.drawn)),
      },
    },
  };
}

testOnWasm("evidence: rows do not see each other", async () => {
  const [first, second] = [1, 2].map((seed) =>
    drawn(toy(seed), 5, new RandomStream(randomKey(seed)))
  );
  const both = await estimate(together([first!, second!]));
  const alone = [await estimate(first!), await estimate(second!)];
  const values = alone.flatMap(({ values }) => values);
  assert.ok(maxError(both.values, values) < 1e-5);
});

testOnEngines("evidence: the gradient is the finite difference", async () => {
  const draws = together([
    drawn(toy(13), 6, new RandomStream(randomKey(13))),
    drawn(toy(14), 6, new RandomStream(randomKey(14))),
  ]);
  const offsets = evidenceOffsets(draws.proposed);
  const logits = tf.tensor2d(draws.logits);
  await assertGradients(
    (z) =>
      evidence(z as tf.Tensor2D, offsets, draws.proposed.draws, SHARPNESS)
        .evidence,
    [logits],
    { step: 0.02, tolerance: 2e-3 },
  );
  logits.dispose();
});

testOnEngines(
  "the proposal's loss: a plain loop, and its gradient",
  async () => {
    const { draws, subTiles } =
      drawn(toy(17), 6, new RandomStream(randomKey(17))).proposed;
    const alpha = Float32Array.from(draws.drawn, (_, tile) => (tile + 2) / 20);
    const beta = Float32Array.from(subTiles);
    const shares = Float32Array.from(beta, (_, s) => (s + 1) / 21);
    const tileOf = Array.from(draws.drawn).flatMap((n, tile) =>
      new Array<number>(n).fill(tile)
    );
    const expected = beta.reduce(
      (sum, b, s) => sum - 0.5 * shares[s]! * Math.log(alpha[tileOf[s]!]! * b),
      0,
    );
    const loss = (tiles: tf.Tensor, subTiles: tf.Tensor) =>
      proposalLoss(
        tf.tensor1d(shares),
        {
          tiles: tiles as tf.Tensor1D,
          subTiles: subTiles as tf.Tensor1D,
        },
        draws,
        [0.5],
      );
    const inputs = [tf.tensor1d(alpha), tf.tensor1d(beta)];
    const [value, ofTiles, ofSubTiles] = tf.tidy(() => [
      loss(inputs[0]!, inputs[1]!),
      ...tf.grads(loss)(inputs),
    ]);
    assert.ok(maxError(await value!.data(), [expected]) < 1e-4);
    const slopes = alpha.map((a, tile) =>
      shares.reduce(
        (sum, p, s) => sum - (tileOf[s] === tile ? 0.5 * p / a : 0),
        0,
      )
    );
    assert.ok(maxError(await ofTiles!.data(), slopes) < 1e-3);
    const own = shares.map((p, s) => -0.5 * p / beta[s]!);
    assert.ok(maxError(await ofSubTiles!.data(), own) < 1e-2);
    tf.dispose([...inputs, value!, ofTiles!, ofSubTiles!]);
  },
);

Deno.test("exploration falls from 1 to 0.2 between 15 % and half", () => {
  const at = [0, 0.1, 0.15, 0.325, 0.5, 0.9].map(exploration);
  assert.ok(maxError(at, [1, 1, 1, 0.6, 0.2, 0.2]) < 1e-12);
});
