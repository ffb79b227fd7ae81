import assert from "node:assert/strict";
import { scaleBar, withLegend } from "../../../lib/eval/heatmap/legend.ts";

Deno.test("a scale bar has a round length that fits", () => {
  assert.deepEqual(scaleBar(130, undefined), { length: 100, label: "100 px" });
  assert.deepEqual(scaleBar(4999, undefined), {
    length: 2000,
    label: "2000 px",
  });
  assert.deepEqual(scaleBar(1000, 0.5), { length: 1000, label: "500 µm" });
  assert.deepEqual(scaleBar(50_000, 0.25), { length: 40_000, label: "10 mm" });
  assert.deepEqual(scaleBar(3, 0.1), { length: 2, label: "0.2 µm" });
});

Deno.test("the legend keeps the picture, and has its colours and a bar below", () => {
  const width = 800, height = 10;
  const picture = {
    data: new Uint8Array(width * height * 4).fill(7),
    width,
    height,
  };
  const { data, ...size } = withLegend(picture, {
    kind: "attention",
    scale: {
      kind: "percentile",
      lowPercentile: 1,
      highPercentile: 99.5,
      low: 1e-6,
      high: 1e-5,
    },
    framed: 3,
    subTiles: 9,
    downsample: 2,
  });
  assert.deepEqual(size, { width, height: height + 72 });
  assert.deepEqual(data.subarray(0, picture.data.length), picture.data);
  const at = (
    x: number,
    y: number,
  ) => [...data.subarray((y * width + x) * 4).subarray(0, 3)];
  const line = height + 20;
  assert.deepEqual(at(16, line), [68, 1, 84]); // the first of viridis
  assert.deepEqual(at(16 + 179, line), [253, 231, 36]); // the last
  // 200 px of the image are 100 px of the picture, at the right end.
  assert.deepEqual(at(width - 17, height + 24), [0, 0, 0]);
  assert.deepEqual(at(width - 116, height + 24), [0, 0, 0]);
  assert.deepEqual(at(width - 117, height + 24), [255, 255, 255]);
});
