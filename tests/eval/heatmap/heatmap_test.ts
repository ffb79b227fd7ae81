import assert from "node:assert/strict";
import {
  evidenceHeatmap,
  type Heatmap,
} from "../../../lib/eval/heatmap/heatmap.ts";
import {
  cellEdge,
  locationToPixel,
  type Region,
} from "../../../lib/image/geometry.ts";
import type { AttentionMap } from "../../../lib/model/look/draws.ts";
import { type AttendedTile, heatmap } from "./whole_heatmap.ts";

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

Deno.test("evidence lies on the sub-tiles, by their shares; overlaps add up", () => {
  const at = (x: number, weight: number) => ({
    ...{ x, y: 10, width: 10, height: 10 },
    weight,
  });
  const heat = evidenceHeatmap(IMAGE, [
    at(20, 0.5),
    at(25, 0.25),
    at(55, 0.25),
  ]);
  const value = (x: number) => heat.values[12 * 60 + x]!;
  assert.equal(value(19), 0);
  assert.ok(Math.abs(value(21) - 0.005) < 1e-7);
  assert.ok(Math.abs(value(27) - 0.0075) < 1e-7);
  // Half of the last one lies outside the image.
  assertMass(heat, 0.875);
});
