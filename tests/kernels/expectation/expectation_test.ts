import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import {
  drawnExpectation,
  drawnWeightsReference,
  type Draws,
  expectationGradientReference,
  expectationReference,
  type GradientRule,
} from "../../../kernels/expectation/expectation.ts";
import { maxError, testOnEngines } from "../../engines.ts";
import { normals } from "../../finite_differences.ts";

/** Draws with every tile of a row drawn `counts` times, as often within it. */
function drawsOf(rows: readonly (readonly number[])[]): Draws {
  const counts = Int32Array.from(rows.flat());
  return {
    samples: rows[0]!.reduce((sum, n) => sum + n, 0),
    rowOf: Int32Array.from(rows.flatMap((row, r) => row.map(() => r))),
    counts,
    drawn: counts,
  };
}

const SHAPES: { draws: Draws; channels: number }[] = [
  { draws: drawsOf([[1]]), channels: 1 },
  { draws: drawsOf([[2, 1, 4], [7]]), channels: 5 },
  // more tiles, rows of channels and features than a workgroup takes
  {
    draws: drawsOf([
      Array.from({ length: 67 }, (_, i) => 1 + i % 3),
      Array.from({ length: 66 }, (_, i) => i === 0 ? 2 + 1 : 1 + i % 3),
    ]),
    channels: 67,
  },
];

testOnEngines(
  "the expectation and its gradients equal their references",
  async () => {
    for (const { draws, channels } of SHAPES) {
      const subTiles = draws.drawn.reduce((sum, n) => sum + n, 0);
      const rows = Math.max(...draws.rowOf) + 1;
      const features = normals(subTiles * channels, 1);
      const upstream = normals(rows * channels, 2);
      // At most some 0.6 a tile is drawn.
      const subTileAttention = normals(subTiles, 3)
        .map((x) => 0.1 / (1 + Math.exp(-x)));
      const tileAttention = normals(draws.drawn.length, 4)
        .map((x) => 0.2 / (1 + Math.exp(-x)));
      tileAttention[0] = 0; // after underflow
      for (const rule of ["unbiased", "leaveOneOut", "ats"] as GradientRule[]) {
        if (tileAttention[0] === 0 && rule !== "unbiased") {
          tileAttention[0] = 0.1;
        }
        const results = tf.tidy(() => {
          const inputs = [
            tf.tensor2d(features.slice(), [subTiles, channels]),
            tf.tensor1d(subTileAttention.slice()),
            tf.tensor1d(tileAttention.slice()),
          ];
          const run = (...[f, b, alpha]: tf.Tensor[]) =>
            drawnExpectation(
              {
                features: f as tf.Tensor2D,
                subTileAttention: b as tf.Tensor1D,
                tileAttention: alpha as tf.Tensor1D,
              },
              draws,
              rule,
            );
          const { representation, weights } = run(...inputs);
          const gradients = tf.grads((...args) => run(...args).representation)(
            inputs,
            tf.tensor2d(upstream.slice(), [rows, channels]),
          );
          return [representation, weights, ...gradients];
        });
        const values = await Promise.all(
          results.map((tensor) => tensor.data()),
        );
        tf.dispose(results);
        const ofSubTiles = drawnWeightsReference(subTileAttention, draws);
        const gradients = expectationGradientReference(
          { features, subTileAttention, tileAttention },
          { draws, rule },
          upstream,
        );
        const expected = [
          expectationReference(features, ofSubTiles, draws),
          ofSubTiles,
          gradients.features,
          gradients.subTileAttention,
          gradients.tileAttention,
        ];
        expected.forEach((reference, i) => {
          assert.ok(maxError(values[i]!, reference) < 1e-4, `${rule} ${i}`);
        });
      }
    }
  },
);
