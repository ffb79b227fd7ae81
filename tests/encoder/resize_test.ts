/** Resized pictures, and maps pooled about places, against plain loops. */
import assert from "node:assert/strict";
import { resizedAxis, spansAbout } from "../../lib/encoder/cells.ts";
import { poolOutput } from "../../lib/encoder/pooling.ts";
import { resizer } from "../../lib/encoder/resize.ts";
import { maxError } from "../engines.ts";

function row(values: number[], count: number, scale: number): number[] {
  return resizedAxis(values.length, count, scale).map(({ first, weights }) =>
    weights.reduce((sum, weight, i) => sum + weight * values[first + i]!, 0)
  );
}

const rounded = (values: number[]) =>
  values.map((value) => Math.round(value * 1e6) / 1e6);

Deno.test("larger: torch's bilinear with align_corners=False", () => {
  // torch.nn.functional.interpolate of [0, 4, 8], scale_factor=2 and 4/3.
  assert.deepEqual(rounded(row([0, 4, 8], 6, 2)), [0, 1, 3, 5, 7, 8]);
  assert.deepEqual(rounded(row([0, 4, 8], 4, 4 / 3)), [0, 2.5, 5.5, 8]);
  assert.deepEqual(row([3, 5], 2, 1), [3, 5]);
  assert.deepEqual(row([7], 4, 4), [7, 7, 7, 7]);
});

Deno.test("larger: px beyond the end repeat the last", () => {
  assert.deepEqual(row([1, 2], 4, 1), [1, 2, 2, 2]);
});

Deno.test("smaller: the mean of the area, by shares of px", () => {
  assert.deepEqual(row([1, 3, 5, 9], 2, 0.5), [2, 7]);
  // Each covers 1.5 px.
  assert.deepEqual(rounded(row([1, 3, 5], 2, 2 / 3)), [1.666667, 4.333333]);
  // The last covers what is left, then the last px.
  assert.deepEqual(row([1, 3, 5], 3, 0.5), [2, 5, 5]);
  for (const scale of [0.1, 0.3, 0.37, 1 / 3, 0.99]) {
    for (const { first, weights } of resizedAxis(100, 200, scale)) {
      const sum = weights.reduce((sum, weight) => sum + weight, 0);
      assert.ok(Math.abs(sum - 1) < 1e-6);
      assert.ok(first >= 0 && first + weights.length <= 100);
      assert.ok(weights.every((weight) => weight > -1e-6));
    }
  }
});

Deno.test("a picture becomes channels, less the mean, over the deviation", () => {
  const mean = [0.1, 0.2, 0.3] as [number, number, number];
  const deviation = [0.5, 1, 2] as [number, number, number];
  for (const scale of [2, 4 / 3, 1, 0.7, 0.5, 0.3]) {
    for (const from of [{ width: 3, height: 2 }, { width: 1, height: 7 }]) {
      const { width, height } = from;
      const to = { // one px more than the picture fills
        width: Math.ceil(width * scale) + 1,
        height: Math.ceil(height * scale) + 1,
      };
      const picture = Float32Array.from(
        { length: width * height * 3 },
        (_, i) => Math.sin(i * i),
      );
      const input = new Float32Array(2 + 3 * to.width * to.height);
      const write = resizer({
        ...{ mean, deviation, from, to },
        scale: { x: scale, y: scale },
      });
      write(picture, input, 2);
      const expected = mean.flatMap((mean, channel) => {
        const rows = Array.from({ length: height }, (_, y) =>
          row(
            Array.from(
              { length: width },
              (_, x) => picture[(y * width + x) * 3 + channel]!,
            ),
            to.width,
            scale,
          ));
        const columns = Array.from(
          { length: to.width },
          (_, x) => row(rows.map((row) => row[x]!), to.height, scale),
        );
        return Array.from(
          { length: to.height },
          (_, y) =>
            columns.map((column) => (column[y]! - mean) / deviation[channel]!),
        )
          .flat();
      });
      const error = maxError(input, Float32Array.from([0, 0, ...expected]));
      assert.ok(error < 1e-6, `scale ${scale}: ${error}`);
    }
  }
});

/** Mean and maximum of the cells `[from, from + count)`, those that there are. */
function window(map: number[], from: number, count: number) {
  const cells = map.slice(Math.max(0, from), Math.max(0, from + count));
  return {
    mean: cells.reduce((sum, value) => sum + value, 0) / cells.length,
    max: Math.max(...cells),
  };
}

Deno.test("windows about a place, also of an even number of cells", () => {
  const map = [5, 1, 8, 2, 7, 4, 9];
  for (const cells of [1, 2, 3, 4, 7, 12]) {
    for (const place of [0, 0.5, 1.2, 3, 3.5, 4.75, 6.9, 7, -2, 11]) {
      const at = Math.min(
        Math.max(place - cells / 2, -(cells - 1) / 2),
        map.length - 1 - (cells - 1) / 2,
      );
      const first = Math.floor(at), share = at - first;
      const one = window(map, first, cells);
      const next = share > 0 ? window(map, first + 1, cells) : one;
      const columns = spansAbout(place * 4, {
        cell: 4,
        cells: map.length,
        window: cells * 4,
      });
      const features = new Float32Array(3);
      poolOutput(
        {
          data: Float32Array.of(0, ...map),
          offset: 1,
          channels: 1,
          height: 1,
          width: 7,
        },
        { rows: [{ from: 0, to: 1, share: 1 }], columns },
        { pooling: "both", features, at: 1 },
      );
      const expected = [
        0,
        (1 - share) * one.mean + share * next.mean,
        (1 - share) * one.max + share * next.max,
      ];
      assert.ok(
        maxError(features, Float32Array.from(expected)) < 1e-5,
        `${cells} ${place}: ${features}, not ${expected}`,
      );
    }
  }
});
