import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import {
  figuresOf,
  stepReport,
  stepReportReference,
} from "../../../kernels/step_report/step_report.ts";
import { maxError, testOnEngines } from "../../engines.ts";
import { normals } from "../../finite_differences.ts";

const SHAPES = [
  { tiles: 1, subTiles: 1, rows: 1, channels: 1, images: 1, classes: 2 },
  { tiles: 2, subTiles: 5, rows: 7, channels: 3, images: 2, classes: 3 },
  // more of each than a workgroup has invocations
  {
    tiles: 261,
    subTiles: 257,
    rows: 263,
    channels: 271,
    images: 5,
    classes: 61,
  },
];

testOnEngines("the report of a step equals its reference", async () => {
  for (const shape of SHAPES) {
    const { rows, channels, images, classes } = shape;
    const features = normals(rows * channels, 3);
    if (rows > 1) features.fill(0, 0, channels); // has no direction
    const values = {
      loss: Float32Array.of(0.7),
      tiles: normals(2 * shape.tiles, 1),
      subTiles: normals(2 * shape.subTiles, 2),
      features,
      logits: normals((images + 1) * classes, 4),
    };
    const report = tf.tidy(() =>
      stepReport({
        loss: tf.scalar(0.7),
        tiles: tf.tensor2d(values.tiles.slice(), [shape.tiles, 2]),
        subTiles: tf.tensor2d(values.subTiles.slice(), [shape.subTiles, 2]),
        features: tf.tensor2d(features.slice(), [rows, channels]),
        logits: tf.tensor2d(values.logits.slice(), [images + 1, classes]),
      }, images)
    );
    const expected = stepReportReference(values, {
      channels,
      logits: images * classes,
    });
    assert.ok(maxError(await report.data(), expected) < 1e-5);
    report.dispose();
  }
});

Deno.test("a report by hand", () => {
  const report = stepReportReference({
    loss: Float32Array.of(2),
    tiles: Float32Array.of(-9, 1, -9, 3),
    subTiles: Float32Array.of(-9, 5),
    features: Float32Array.of(3, 0, 0, 2, -1, 0), // cosines 0, -1, 0
    logits: Float32Array.of(0.5, -0.5, 7, 8),
  }, { channels: 2, logits: 2 });
  const { cosine, ...figures } = figuresOf([report], 2);
  assert.ok(Math.abs(cosine - -1 / 3) < 1e-6);
  assert.deepEqual(figures, {
    loss: 2,
    tileEntropy: 2,
    subTileEntropy: 5,
    largest: Float64Array.of(3, 2),
    logits: [0.5, -0.5],
  });
});

Deno.test("the reports of parts tell what that of the whole tells", () => {
  const channels = 5, rows = 9, cut = 4;
  const tiles = normals(6, 1), subTiles = normals(14, 2);
  const features = normals(rows * channels, 3), logits = normals(4, 4);
  const reportOf = (loss: number, part: 0 | 1 | "whole") => {
    const of = (values: Float32Array, end: number) =>
      part === "whole"
        ? values
        : part === 0
        ? values.subarray(0, end)
        : values.subarray(end);
    return stepReportReference({
      loss: Float32Array.of(loss),
      tiles: of(tiles, 2),
      subTiles: of(subTiles, 4),
      features: of(features, cut * channels),
      logits: of(logits, 2),
    }, { channels, logits: part === "whole" ? 4 : 2 });
  };
  const whole = figuresOf([reportOf(0.75, "whole")], channels);
  const parts = figuresOf([reportOf(0.5, 0), reportOf(0.25, 1)], channels);
  const flat = ({ largest, logits, ...figures }: typeof whole) =>
    Float32Array.from([...Object.values(figures), ...largest, ...logits]);
  assert.ok(maxError(flat(parts), flat(whole)) < 1e-6);
});
