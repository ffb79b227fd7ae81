import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import sharp from "sharp";
import {
  type AttendedTile,
  type AttentionMap,
  describeScale,
  type Heatmap,
  heatmap,
  heatScale,
  renderHeatmap,
  withPngText,
} from "../../lib/eval/heatmap.ts";
import {
  cellEdge,
  locationToPixel,
  type Region,
  type Size,
} from "../../lib/image/geometry.ts";
import { encodePng } from "../../lib/image/png.ts";
import type { Pixels } from "../../lib/image/pyramid.ts";

const IMAGE = { width: 60, height: 40 }; // not square

Deno.test("a peak at the first or last location lands on the first or last pixel", () => {
  const map = { rows: 4, columns: 6 };
  const first = heatmap(IMAGE, { tileAttention: peak(map, 0), tiles: [] });
  assert.deepEqual(extent(first), { x: 0, y: 0, width: 10, height: 10 });
  const last = heatmap(IMAGE, { tileAttention: peak(map, 23), tiles: [] });
  assert.deepEqual(extent(last), { x: 50, y: 30, width: 10, height: 10 });
  assertMass(last, 1);
});

Deno.test("columns run along x and rows along y", () => {
  const map = { rows: 4, columns: 6 };
  const heat = heatmap(IMAGE, { tileAttention: peak(map, 8), tiles: [] });
  assert.deepEqual(extent(heat), { x: 20, y: 10, width: 10, height: 10 });
});

Deno.test("a cell holds the pixel of its location, on any axis", () => {
  for (const extent of [7, 50, 500, 1023]) {
    for (let count = 1; count <= Math.min(extent, 60); count++) {
      for (let i = 0; i < count; i++) {
        const pixel = locationToPixel(i, count, extent);
        assert.ok(Math.floor(cellEdge(i, count, extent)) <= pixel);
        assert.ok(pixel < cellEdge(i + 1, count, extent));
      }
    }
  }
});

Deno.test("beta of a drawn tile lands on its pixels, offset and all", () => {
  const region = { x: 23, y: 9, width: 12, height: 8 };
  const heat = heatmap(IMAGE, {
    tileAttention: peak({ rows: 2, columns: 2 }, 0),
    tiles: [drawn(region, peak({ rows: 4, columns: 4 }, 15))],
  });
  assert.deepEqual(extent(heat), { x: 32, y: 15, width: 3, height: 2 });
  assertMass(heat, 1);
  assert.ok(Math.abs(heat.values[16 * 60 + 33]! - 1 / 6) < 1e-6); // 1 / 6 px
});

Deno.test("a drawn tile takes its alpha from its cell, the others keep theirs", () => {
  const attention = [.5, .2, .2, .1];
  const heat = heatmap(IMAGE, {
    tileAttention: { rows: 2, columns: 2, attention },
    tiles: [
      drawn(
        { x: 0, y: 0, width: 4, height: 4 },
        peak({ rows: 1, columns: 1 }, 0),
      ),
    ],
  });
  assertMass(heat, 1);
  assert.ok(Math.abs(heat.values[0]! - .5 / 16) < 1e-7);
  assert.equal(heat.values[10 * 60 + 10], 0); // in the cell, outside the tile
  assert.ok(Math.abs(heat.values[59]! - .2 / 600) < 1e-7);
});

Deno.test("tiles that overlap add up", () => {
  const region = { x: 10, y: 10, width: 10, height: 10 };
  const beta = uniform({ rows: 5, columns: 5 });
  const heat = heatmap(IMAGE, {
    tileAttention: { rows: 1, columns: 2, attention: [.4, .6] },
    tiles: [
      { location: { row: 0, column: 0 }, region, subTileAttention: beta },
      {
        location: { row: 0, column: 1 },
        region: { ...region, x: 15 },
        subTileAttention: beta,
      },
    ],
  });
  const at = (x: number) => heat.values[15 * 60 + x]!;
  for (const [x, value] of [[12, .004], [17, .01], [22, .006]] as const) {
    assert.ok(Math.abs(at(x) - value) < 1e-8, `${x}: ${at(x)}`);
  }
});

Deno.test("mass on the padding of a tile is not in the image", () => {
  // A tile centred on pixel (0, 0): a quarter of it is inside.
  const heat = heatmap(IMAGE, {
    tileAttention: peak({ rows: 4, columns: 6 }, 0),
    tiles: [
      drawn(
        { x: -10, y: -10, width: 20, height: 20 },
        uniform({ rows: 4, columns: 4 }),
      ),
    ],
  });
  assertMass(heat, .25);
});

Deno.test("uniform attention is uniform heat, borders included", () => {
  // 7 x 9 cells do not divide 60 x 40 px.
  const heat = heatmap(IMAGE, {
    tileAttention: uniform({ rows: 7, columns: 9 }),
    tiles: [],
  });
  for (const value of heat.values) {
    assert.ok(Math.abs(value * 2400 - 1) < 1e-6);
  }
});

Deno.test("the order of the tiles does not matter", () => {
  const tileAttention = uniform({ rows: 2, columns: 3 });
  const tiles = [0, 1, 2].map((column) => ({
    location: { row: 0, column },
    region: { x: 7 * column, y: 3 * column, width: 20, height: 15 },
    subTileAttention: peak({ rows: 5, columns: 4 }, 3 * column),
  }));
  const { values } = heatmap(IMAGE, { tileAttention, tiles });
  const reversed = heatmap(IMAGE, { tileAttention, tiles: tiles.toReversed() });
  values.forEach((value, i) => {
    assert.ok(Math.abs(value - reversed.values[i]!) < 1e-8);
  });
});

Deno.test("a big image gives a bounded map that keeps a tiny peak's mass", () => {
  const image = { width: 217_088, height: 111_104 };
  const heat = heatmap(image, {
    tileAttention: uniform({ rows: 34, columns: 67 }),
    tiles: [
      drawn(
        { x: 100_000, y: 50_000, width: 3200, height: 3200 },
        peak({ rows: 400, columns: 400 }, 400 * 200 + 200), // 8 x 8 px
      ),
    ],
  });
  assert.deepEqual([heat.width, heat.height], [1024, 524]);
  assert.equal(heat.downsample, 212);
  assertMass(heat, 1);
  const hottest = heat.values.indexOf(heat.values.toSorted().at(-1)!);
  assert.equal(hottest % 1024, Math.floor(101_600 / 212));
  assert.equal(Math.floor(hottest / 1024), Math.floor(51_600 * 524 / 111_104));
});

Deno.test("an image thinner than the bound keeps a pixel", () => {
  const image = { width: 100_000, height: 3 };
  const heat = heatmap(image, {
    tileAttention: uniform({ rows: 1, columns: 50 }),
    tiles: [],
  });
  assert.deepEqual([heat.width, heat.height], [1024, 1]);
  assertMass(heat, 1);
});

Deno.test("the scale is percentiles, and falls back to the largest value", () => {
  const ramp = Float32Array.from({ length: 1001 }, (_, i) => i);
  const scale = heatScale(fake(ramp, { width: 1001, height: 1 }));
  assert.deepEqual([scale.lowPercentile, scale.highPercentile], [1, 99.9]);
  assert.ok(Math.abs(scale.low - 10) < 1e-9, `${scale.low}`);
  assert.ok(Math.abs(scale.high - 999) < 1e-9, `${scale.high}`);
  assert.match(describeScale(scale), /1\.000e\+1 .* to 9\.990e\+2 /);
  const spike = new Float32Array(10_000);
  spike[77] = 2;
  const { high, highPercentile } = heatScale(
    fake(spike, { width: 100, height: 100 }),
  );
  assert.deepEqual([high, highPercentile], [2, 100]);
});

Deno.test("the hottest pixels take the last colour, cold ones stay as they are", () => {
  const values = new Float32Array(400);
  values[0] = 1;
  const heat = fake(values, { width: 20, height: 20 });
  const { pixels } = renderHeatmap(heat, grey({ width: 20, height: 20 }), []);
  // 0.3 * 100 + 0.7 * viridis(1) = (253, 231, 36)
  assert.deepEqual(rgb(pixels, 0, 0), [207, 192, 55]);
  assert.deepEqual(rgb(pixels, 1, 0), [100, 100, 100]);
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
    { x: 50, y: 80, width: 30, height: 20 }, // px 5-7, 8-9 of the map
    { x: -5, y: 195, width: 10, height: 10 },
  ]);
  const white = [255, 255, 255], black = [0, 0, 0], kept = [100, 100, 100];
  const row = [3, 4, 5, 7, 8, 9].map((x) => rgb(pixels, x, 8));
  assert.deepEqual(row, [black, white, kept, kept, white, black]);
  const column = [6, 7, 8, 9, 10, 11].map((y) => rgb(pixels, 6, y));
  assert.deepEqual(column, [black, white, kept, kept, white, black]);
  assert.deepEqual(rgb(pixels, 0, 19), kept);
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

/** All attention on one location. */
function peak(
  { rows, columns }: { rows: number; columns: number },
  index: number,
): AttentionMap {
  const attention = new Float32Array(rows * columns);
  attention[index] = 1;
  return { rows, columns, attention };
}

function uniform(
  { rows, columns }: { rows: number; columns: number },
): AttentionMap {
  const count = rows * columns;
  const attention = new Float32Array(count).fill(1 / count);
  return { rows, columns, attention };
}

/** The tile of the first location, drawn. */
function drawn(region: Region, subTileAttention: AttentionMap): AttendedTile {
  return { location: { row: 0, column: 0 }, region, subTileAttention };
}

/** The smallest region that holds all the heat, px of the map. */
function extent({ values, width, height }: Heatmap): Region {
  let left = width, top = height, right = 0, bottom = 0;
  values.forEach((value, i) => {
    if (value === 0) return;
    const x = i % width, y = Math.floor(i / width);
    left = Math.min(left, x);
    top = Math.min(top, y);
    right = Math.max(right, x + 1);
    bottom = Math.max(bottom, y + 1);
  });
  return { x: left, y: top, width: right - left, height: bottom - top };
}

function assertMass({ values, image }: Heatmap, expected: number): void {
  const area = image.width * image.height / values.length;
  const mass = values.reduce((sum, value) => sum + value * area, 0);
  assert.ok(Math.abs(mass - expected) < 1e-4, `mass is ${mass}`);
}

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
