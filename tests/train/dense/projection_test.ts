import assert from "node:assert/strict";
import {
  fitProjection,
  projected,
} from "../../../lib/train/dense/projection.ts";
import { testOnEngines } from "../../engines.ts";
import { normals } from "../../finite_differences.ts";

/** Correlated features: 4 sources mixed into `channels`, with offset and scale. */
function features(count: number, channels: number): Float32Array {
  const sources = normals(count * 4, 1), mixing = normals(4 * channels, 2);
  const rows = new Float32Array(count * channels);
  for (let i = 0; i < count; i++) {
    for (let c = 0; c < channels; c++) {
      let value = 0;
      for (let s = 0; s < 4; s++) {
        value += sources[i * 4 + s]! * mixing[s * channels + c]!;
      }
      rows[i * channels + c] = 5 + c + value * (c + 1);
    }
  }
  return rows;
}

testOnEngines(
  "a projection is uncorrelated, with the roots of the variances",
  async () => {
    const count = 500, channels = 12, components = 3;
    const rows = features(count, channels);
    const fitted = await fitProjection(rows, channels, components);
    const result = await projected(rows, fitted);
    const product = (a: number, b: number) => {
      let sum = 0;
      for (let i = 0; i < count; i++) {
        sum += result[i * components + a]! * result[i * components + b]!;
      }
      return sum / count;
    };
    const variances = [0, 1, 2].map((k) => product(k, k));
    assert.ok(variances[0]! >= variances[1]! && variances[1]! >= variances[2]!);
    // Of standardised channels the variances add to their number; these three
    // and one more hold all of it, and each was divided by its own root.
    const total = variances.reduce((sum, v) => sum + v * v, 0);
    assert.ok(total < channels && total > 0.7 * channels, `${total}`);
    assert.ok(Math.abs(product(0, 1)) < 1e-3 * variances[0]!);
    for (let k = 0; k < components; k++) {
      let mean = 0;
      for (let i = 0; i < count; i++) {
        mean += result[i * components + k]! /
          count;
      }
      assert.ok(Math.abs(mean) < 1e-3);
    }
  },
);

testOnEngines(
  "a projection of constant and dependent channels is finite",
  async () => {
    const rows = Float32Array.from(
      { length: 40 * 3 },
      (_, i) => i % 3 === 0 ? 7 : Math.floor(i / 3) * (i % 3),
    );
    const { weight, bias } = await fitProjection(rows, 3, 3);
    assert.ok([...weight, ...bias].every(Number.isFinite));
    // One direction varies: the other components are zero, not amplified noise.
    assert.ok(weight[1 * 3 + 0] !== 0);
    for (let c = 0; c < 3; c++) {
      assert.equal(weight[c * 3 + 2], 0);
    }
  },
);

testOnEngines("all features are kept, each standardised", async () => {
  const count = 500, channels = 12;
  const rows = features(count, channels);
  const fitted = await fitProjection(rows, channels, null);
  const result = await projected(rows, fitted);
  for (let c = 0; c < channels; c++) {
    const own = result.filter((_, i) => i % channels === c);
    const mean = own.reduce((sum, x) => sum + x, 0) / count;
    const square = own.reduce((sum, x) => sum + x * x, 0) / count;
    assert.ok(Math.abs(mean) < 1e-3 && Math.abs(square - 1) < 1e-3, `${c}`);
    // It is this channel, not a mixture.
    const raw = rows.filter((_, i) => i % channels === c);
    const product = own.reduce((sum, x, i) => sum + x * raw[i]!, 0) / count;
    const middle = raw.reduce((sum, x) => sum + x, 0) / count;
    const deviation = Math.sqrt(
      raw.reduce((sum, x) => sum + (x - middle) ** 2, 0) / count,
    );
    assert.ok(Math.abs(product / deviation - 1) < 1e-2, `${c}`);
  }
});

testOnEngines(
  "a rare object is lost among the components of most variance",
  async () => {
    const count = 400, channels = 12, objects = channels - 1;
    const rows = features(count, channels);
    for (let i = 0; i < count; i++) {
      rows[i * channels + objects] = i % 200 === 0 ? 1 : 0;
    }
    /** How far an object is from the next place, in deviations of all numbers. */
    const distance = async (components: number | null) => {
      const fitted = await fitProjection(rows, channels, components);
      const object = new Float32Array(channels);
      object[objects] = 1;
      const [on, off] = [
        await projected(object, fitted),
        await projected(new Float32Array(channels), fitted),
      ];
      return Math.hypot(...on.map((value, k) => value - off[k]!));
    };
    assert.ok(await distance(3) < 2);
    assert.ok(await distance(null) > 10);
  },
);
