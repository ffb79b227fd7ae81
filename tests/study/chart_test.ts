import assert from "node:assert/strict";
import sharp from "sharp";
import { lineChart } from "../../lib/study/chart.ts";

const AXES = {
  x: { label: "epoch", low: 0, high: 10 },
  y: { label: "a < b & c", low: 0, high: 1 },
};

Deno.test("lineChart is an SVG that a renderer draws", async () => {
  const svg = lineChart("title", {
    ...AXES,
    series: [{ name: "rises", points: [[0, 0], [10, 1]], dots: true }],
  });
  const { data, info } = await render(svg);
  assert.deepEqual([info.width, info.height], [480, 320]);
  const at = (x: number, y: number) => {
    const start = (y * info.width + x) * info.channels;
    return [...data.subarray(start, start + 3)];
  };
  assert.deepEqual(at(52, 280), [0, 114, 178]); // (0, 0): bottom left
  assert.deepEqual(at(468, 28), [0, 114, 178]); // (10, 1): top right
  assert.deepEqual(at(52 + 300, 200), [255, 255, 255]); // below the line
});

Deno.test("lineChart has its ticks at round numbers", () => {
  const svg = lineChart("title", {
    x: { label: "epoch", low: 0, high: 27 },
    y: { label: "loss", low: 0, high: 0.7213 },
    series: [],
  });
  const numbers = [...svg.matchAll(/>([\d.]+)</g)].map(([, text]) => text);
  assert.deepEqual(numbers, [
    ...["0", "5", "10", "15", "20", "25"],
    ...["0", "0.2", "0.4", "0.6"],
  ]);
});

Deno.test("lineChart escapes its labels", () => {
  const svg = lineChart("<t>", { ...AXES, series: [] });
  assert.match(svg, />a &lt; b &amp; c</);
  assert.match(svg, />&lt;t></);
});

/** Draws an SVG, which `lib/image/formats/vips.ts` forbids the whole process. */
async function render(svg: string) {
  const loader = { operation: ["VipsForeignLoadSvg"] };
  sharp.unblock(loader);
  try {
    return await sharp(new TextEncoder().encode(svg))
      .raw().toBuffer({ resolveWithObject: true });
  } finally {
    sharp.block(loader);
  }
}
