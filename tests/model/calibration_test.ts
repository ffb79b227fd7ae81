import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import { calibratedSoftmax } from "../../lib/model/calibration.ts";
import { testOnEngines } from "../engines.ts";

const FITTED = { images: 36, samples: 30 };

testOnEngines("calibrated probabilities are those of plain loops", async () => {
  const rows = [[0.5, -1, 2], [-30, 3, 3], [0, 0, 0]];
  for (const classes of [2, 3]) {
    const values = rows.map((row) => row.slice(0, classes));
    const logits = tf.tensor2d(values);
    for (const [temperature, bias] of [[0.25, 1.5], [4, -2], [1, 0]] as const) {
      const before = tf.memory().numTensors;
      const found = calibratedSoftmax(logits, { ...FITTED, temperature, bias });
      assert.equal(tf.memory().numTensors, before + 1);
      const probabilities = await found.array();
      found.dispose();
      for (const [i, row] of values.entries()) {
        const scores = row.map((z, c) =>
          z / temperature + (c === 1 ? bias : 0)
        );
        const total = scores.reduce((sum, s) => sum + Math.exp(s), 0);
        for (const [c, score] of scores.entries()) {
          const error = probabilities[i]![c]! - Math.exp(score) / total;
          assert.ok(Math.abs(error) < 1e-5, `${classes}, ${i}, ${c}: ${error}`);
        }
      }
    }
    logits.dispose();
  }
});

testOnEngines("without a calibration they are the softmax itself", async () => {
  const logits = tf.tensor2d([[0.3, -1.7], [12, 4]]);
  const plain = tf.softmax(logits);
  const found = calibratedSoftmax(logits, null);
  assert.deepEqual(await found.data(), await plain.data());
  tf.dispose([logits, plain, found]);
});
