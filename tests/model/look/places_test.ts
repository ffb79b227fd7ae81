import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import { overPlaces, placesOf } from "../../../lib/model/look/places.ts";
import { maxError, testOnEngines } from "../../engines.ts";
import { normals } from "../../finite_differences.ts";

Deno.test("places are the middles of the cells of a sub-tile, row by row", () => {
  const middle = { x: 100, y: 40 };
  assert.deepEqual(placesOf(middle, { subTileSize: 64, side: 1 }), [middle]);
  assert.deepEqual(placesOf(middle, { subTileSize: 64, side: 2 }), [
    { x: 84, y: 24 },
    { x: 116, y: 24 },
    { x: 84, y: 56 },
    { x: 116, y: 56 },
  ]);
});

testOnEngines("the logits of places become those of sub-tiles", async () => {
  const [subTiles, outputs, sharpness] = [5, 3, 2];
  for (const places of [1, 4, 9]) {
    const values = normals(subTiles * places * outputs, places, 3);
    const logits = tf.tensor2d(values, [subTiles * places, outputs]);
    const found = tf.tidy(() => overPlaces(logits, { places, sharpness }));
    const expected = Array.from({ length: subTiles * outputs }, (_, i) => {
      const [s, k] = [Math.floor(i / outputs), i % outputs];
      let sum = 0;
      for (let p = 0; p < places; p++) {
        sum += Math.exp(sharpness * values[(s * places + p) * outputs + k]!);
      }
      return Math.log(sum / places) / sharpness;
    });
    assert.deepEqual(found.shape, [subTiles, outputs]);
    assert.ok(maxError(await found.data(), expected) < 1e-5);
    tf.dispose([logits, found]);
  }
});
