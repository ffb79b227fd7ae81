import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import sharp from "sharp";
import type { Heatmap } from "../../../lib/eval/heatmap/heatmap.ts";
import {
  describeScale,
  heatScale,
  renderHeatmap,
  withPngText,
} from "../../../lib/eval/heatmap/colours.ts";
import type { Size } from "../../../lib/image/geometry.ts";
import { encodePng } from "../../../lib/image/formats/png.ts";
import type { Pixels } from "../../../lib/image/pyramid.ts";

Deno.test("the scale is percentiles, and falls back to the largest value", () => {
  const ramp = Float32Array.from({ length: 1001 }, (_, i) => i);
  const scale = heatScale(fake(ramp, { width: 1001, height: 1 }));
  assert.deepEqual([scale.lowPercentile, scale.highPercentile], [1, 99.5]);
  assert.ok(Math.abs(scale.low - 10) < 1e-9, `${scale.low}`);
  assert.ok(Math.abs(scale.high - 995) < 1e-9, `${scale.high}`);
  assert.match(describeScale(scale), /1\.000e\+1 .* to 9\.950e\+2 /);
  const spike = new Float32Array(10_000);
  spike[77] = 2;
  const { high, highPercentile } = heatScale(
    fake(spike, { width: 100, height: 100 }),
  );
  assert.deepEqual([high, highPercentile], [2, 100]);
});

Deno.test("the hottest pixels take the last colour, cold ones stay as they are", () => {
  const size = { width: 100, height: 100 };
  const values = new Float32Array(10_000);
  values.set([1, 0, 0.25]);
  const { pixels } = renderHeatmap(fake(values, size), grey(size), []);
  // 0.3 * 100 + 0.7 * viridis(1) = (253, 231, 36)
  assert.deepEqual(rgb(pixels, 0, 0), [207, 192, 55]);
  assert.deepEqual(rgb(pixels, 1, 0), [100, 100, 100]);
  // 0.65 * 100 + 0.35 * viridis(0.25) = (58, 81, 138)
  assert.deepEqual(rgb(pixels, 2, 0), [85, 93, 113]);
});

Deno.test("flat heat leaves the picture as it is", () => {
  const flat = new Float32Array(400).fill(1 / 400);
  const background = grey({ width: 20, height: 20 });
  const { pixels } = renderHeatmap(
    fake(flat, { width: 20, height: 20 }),
    background,
    [],
  );
  assert.deepEqual(pixels.data, background.data);
});

Deno.test("a background of another size is shrunk or enlarged to fit", () => {
  const heat = fake(new Float32Array(4), { width: 2, height: 2 });
  const wide = grey({ width: 4, height: 2 });
  wide.data.set([200, 200, 200], 0); // half of the first pixel
  assert.deepEqual(rgb(renderHeatmap(heat, wide, []).pixels, 0, 0), [
    150,
    150,
    150,
  ]);
  const { pixels } = renderHeatmap(heat, grey({ width: 1, height: 1 }), []);
  assert.deepEqual(rgb(pixels, 1, 1), [100, 100, 100]);
});

Deno.test("a sub-tile is framed just outside its pixels, and clipped", () => {
  const heat: Heatmap = {
    ...fake(new Float32Array(400), { width: 20, height: 20 }),
    image: { width: 200, height: 200 },
    downsample: 10,
  };
  const { pixels } = renderHeatmap(heat, grey({ width: 20, height: 20 }), [
    { x: 50, y: 80, width: 30, height: 20, weight: 0.5 }, // px 5-7, 8-9
    { x: -5, y: 195, width: 10, height: 10, weight: 0.5 },
  ]);
  const bright = [253, 231, 36], black = [0, 0, 0], kept = [100, 100, 100];
  const row = [3, 4, 5, 7, 8, 9].map((x) => rgb(pixels, x, 8));
  assert.deepEqual(row, [black, bright, kept, kept, bright, black]);
  const column = [6, 7, 8, 9, 10, 11].map((y) => rgb(pixels, 6, y));
  assert.deepEqual(column, [black, bright, kept, kept, bright, black]);
  assert.deepEqual(rgb(pixels, 0, 19), kept);
});

Deno.test("frames are as thick and bright as their weight; light ones are left out", () => {
  const size = { width: 1024, height: 1024 };
  const heat = fake(new Float32Array(1024 * 1024), size);
  const at = (x: number, weight: number) => ({
    x,
    y: 500,
    width: 40,
    height: 40,
    weight,
  });
  const { pixels, framed } = renderHeatmap(heat, grey(size), [
    at(100, 0.8),
    at(300, 0.4),
    at(500, 0.19), // less than a quarter of the largest
  ]);
  assert.equal(framed, 2);
  const colours = (from: number) =>
    Array.from({ length: 6 }, (_, i) => rgb(pixels, from - 1 - i, 520).join());
  const black = "0,0,0", kept = "100,100,100";
  const bright = "253,231,36", half = "33,144,140";
  assert.deepEqual(colours(100), [bright, bright, bright, bright, black, kept]);
  assert.deepEqual(colours(300).slice(0, 4), [half, half, black, kept]);
  assert.deepEqual(colours(500), new Array(6).fill(kept));
});

Deno.test("a larger picture has the heat between its values", () => {
  const heat = fake(Float32Array.of(0, 1), { width: 2, height: 1 });
  const { pixels } = renderHeatmap(heat, grey({ width: 1, height: 1 }), [], {
    width: 8,
    height: 4,
  });
  assert.deepEqual([pixels.width, pixels.height], [8, 4]);
  const reds = Array.from({ length: 8 }, (_, x) => rgb(pixels, x, 2)[2]);
  assert.equal(reds[0], 100); // cold: as it was
  assert.equal(reds[7], 55); // the last colour
  assert.ok(new Set(reds).size >= 5, `${reds}`);
});

Deno.test("withPngText adds a chunk that decoders read, and keeps the pixels", async () => {
  const background = grey({ width: 5, height: 3 });
  const png = await encodePng(background);
  const marked = withPngText(png, "Comment", "scale 1 \u{1F600}");
  const { comments } = await sharp(marked).metadata();
  assert.deepEqual(comments, [{ keyword: "Comment", text: "scale 1 ?" }]);
  const pixels = await sharp(marked).ensureAlpha().raw().toBuffer();
  assert.deepEqual(pixels, Buffer.from(background.data));
});

Deno.test("withPngText writes Latin-1, as the format says", async () => {
  const png = await encodePng(grey({ width: 5, height: 3 }));
  const marked = Buffer.from(withPngText(png, "Comment", "1 \u00b5m"));
  assert.ok(marked.includes(Buffer.from("Comment\x001 \u00b5m", "latin1")));
});

Deno.test("withPngText signs its chunk", async () => {
  const png = await encodePng(grey({ width: 5, height: 3 }));
  const marked = Buffer.from(withPngText(png, "Comment", "ok"));
  const body = marked.indexOf("tEXtComment\x00ok");
  assert.equal(body, 37); // after signature, IHDR and the chunk's own length
  // Python: zlib.crc32(b"tEXtComment\0ok")
  assert.equal(marked.readUInt32BE(body + 14), 0x03edaf8d);
});

function fake(values: Float32Array, size: Size): Heatmap {
  return { ...size, values, image: size, downsample: 1 };
}

function grey({ width, height }: Size): Pixels {
  const data = new Uint8Array(width * height * 4).fill(100);
  for (let i = 3; i < data.length; i += 4) data[i] = 255;
  return { data, width, height };
}

function rgb({ data, width }: Pixels, x: number, y: number): number[] {
  return Array.from(data.subarray((y * width + x) * 4).subarray(0, 3));
}
