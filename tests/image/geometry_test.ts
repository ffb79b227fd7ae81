import assert from "node:assert/strict";
import {
  cellEdge,
  cellHolding,
  centredRegion,
  clipRegion,
  insideShares,
  isDense,
  locationAt,
  locationToPixel,
  scaledExtent,
  subTileCentre,
  subTileMapSize,
  tileCentre,
  tileMapSize,
  viewSize,
} from "../../lib/image/geometry.ts";
import {
  type Orientation,
  ORIENTATIONS,
  orientedSize,
  storedPoint,
  storedRegion,
} from "../../lib/image/pyramids/orientation.ts";
import { inverseOrientation } from "./pictures.ts";

Deno.test("cellHolding finds the cell between whose edges a pixel lies", () => {
  for (
    const [count, extent] of [[1, 7], [7, 7], [3, 10], [64, 1000]] as const
  ) {
    for (let pixel = 0; pixel < extent; pixel++) {
      const cell = cellHolding(pixel, count, extent);
      assert.ok(cellEdge(cell, count, extent) <= pixel);
      assert.ok(pixel < cellEdge(cell + 1, count, extent));
    }
  }
});

Deno.test("scaledExtent floors the product, not its rounding error", () => {
  assert.equal(scaledExtent(100, 0.29), 29); // 28.999999999999996 in floats
  assert.equal(scaledExtent(1000, 0.057), 57); // 57.00000000000001
  assert.equal(scaledExtent(500, 0.1), 50);
  assert.equal(scaledExtent(27, 0.5), 13);
  assert.equal(scaledExtent(3, 0.1), 1, "never empty");
  assert.equal(scaledExtent(123, 1), 123);
  for (let extent = 1; extent <= 400; extent++) {
    for (let percent = 1; percent <= 100; percent++) {
      const exact = Math.max(1, Math.floor(extent * percent / 100)); // one rounding only
      assert.equal(scaledExtent(extent, percent / 100), exact);
    }
  }
});

Deno.test("viewSize scales the axes one by one", () => {
  assert.deepEqual(viewSize({ width: 1360, height: 800 }, 0.25), {
    width: 340,
    height: 200,
  });
  assert.deepEqual(viewSize({ width: 101, height: 7 }, 0.5), {
    width: 50,
    height: 3,
  });
});

Deno.test("locationToPixel: first on first, last on last, never backwards", () => {
  for (
    const [count, extent] of [[2, 2], [7, 29], [50, 500], [13, 27], [5, 5]]
  ) {
    const pixels = Array.from(
      { length: count! },
      (_, index) => locationToPixel(index, count!, extent!),
    );
    assert.equal(pixels[0], 0);
    assert.equal(pixels.at(-1), extent! - 1);
    assert.deepEqual(pixels, pixels.toSorted((a, b) => a - b));
    assert.ok(pixels.every(Number.isInteger));
  }
  assert.equal(locationToPixel(0, 1, 99), 0, "a map of one cell");
  // floor(i (H - 1) / (h - 1)) of section 2.1, by hand
  assert.deepEqual([0, 1, 2, 3].map((i) => locationToPixel(i, 4, 11)), [
    0,
    3,
    6,
    10,
  ]);
});

Deno.test("tileMapSize: one location a view pixel, or a grid", () => {
  const image = { width: 1360, height: 800 };
  assert.deepEqual(tileMapSize(image, { scale: 0.1, stride: 10 }), {
    rows: 80,
    columns: 136,
  });
  assert.deepEqual(tileMapSize(image, { scale: 0.1, stride: 100 }), {
    rows: 8,
    columns: 13,
  });
  assert.deepEqual(
    tileMapSize({ width: 30, height: 500 }, { scale: 0.1, stride: 100 }),
    { rows: 5, columns: 1 },
    "an image narrower than the stride",
  );
  assert.ok(isDense(0.29, 1 / 0.29));
  assert.ok(!isDense(0.29, 4));
});

Deno.test("tileCentre reaches the corners of a non-square image", () => {
  const image = { width: 1360, height: 800 };
  const dense = { scale: 0.1, stride: 10 };
  const map = tileMapSize(image, dense);
  assert.deepEqual(tileCentre({ row: 0, column: 0 }, map, image, dense), {
    x: 0,
    y: 0,
  });
  assert.deepEqual(tileCentre({ row: 79, column: 135 }, map, image, dense), {
    x: 1359,
    y: 799,
  });
  assert.deepEqual(tileCentre({ row: 79, column: 0 }, map, image, dense), {
    x: 0,
    y: 799,
  });
});

Deno.test("tileCentre: grid cells are centred and cover the image", () => {
  const image = { width: 1360, height: 800 };
  const grid = { scale: 0.1, stride: 100 };
  const map = tileMapSize(image, grid); // 8 x 13 cells of 104.6 x 100 px
  assert.deepEqual(tileCentre({ row: 0, column: 0 }, map, image, grid), {
    x: 52,
    y: 50,
  });
  assert.deepEqual(tileCentre({ row: 7, column: 12 }, map, image, grid), {
    x: 1307,
    y: 750,
  });
});

Deno.test("centredRegion takes rows [cy - floor(height / 2), + height)", () => {
  assert.deepEqual(
    centredRegion({ x: 10, y: 20 }, { width: 5, height: 4 }),
    { x: 8, y: 18, width: 5, height: 4 },
  );
  assert.deepEqual(
    centredRegion({ x: 0, y: 0 }, { width: 27, height: 1 }),
    { x: -13, y: 0, width: 27, height: 1 },
  );
});

Deno.test("subTileCentre runs from the tile's first pixel to its last", () => {
  const tile = { x: -13, y: 40, width: 27, height: 51 };
  const map = { rows: 25, columns: 13 };
  assert.deepEqual(subTileCentre({ row: 0, column: 0 }, map, tile), {
    x: -13,
    y: 40,
  });
  assert.deepEqual(subTileCentre({ row: 24, column: 12 }, map, tile), {
    x: 13,
    y: 90,
  });
});

Deno.test("subTileMapSize is the tile's view, or a grid of whole cells", () => {
  const tile = { width: 100, height: 50 };
  const size = (scale: number, stride: number | null) =>
    subTileMapSize(tile, { scale, stride });
  assert.deepEqual(size(0.29, null), { rows: 14, columns: 29 });
  assert.deepEqual(size(0.2, 20), { rows: 2, columns: 5 });
  assert.deepEqual(size(0.2, 33), { rows: 1, columns: 3 });
  assert.deepEqual(size(0.2, 80), { rows: 1, columns: 1 });
  assert.deepEqual(size(0.2, 5), { rows: 10, columns: 20 }); // a px of the view
});

Deno.test("subTileCentre is the middle of a cell on a grid", () => {
  const tile = { x: -13, y: 40, width: 100, height: 50 };
  const grid = { scale: 0.2, stride: 20 };
  const map = subTileMapSize(tile, grid);
  const centres = [0, 4, 9].map((at) =>
    subTileCentre(locationAt(at, map.columns), map, tile, grid)
  );
  assert.deepEqual(centres, [
    { x: -13 + 10, y: 40 + 12 },
    { x: -13 + 90, y: 40 + 12 },
    { x: -13 + 90, y: 40 + 37 },
  ]);
});

Deno.test("subTileCentre without a stride is that of the paper", () => {
  const tile = { x: 7, y: 9, width: 100, height: 100 };
  const grid = { scale: 0.2, stride: null };
  const map = subTileMapSize(tile, grid);
  for (const at of [0, 21, 399]) {
    const location = locationAt(at, map.columns);
    assert.deepEqual(
      subTileCentre(location, map, tile, grid),
      subTileCentre(location, map, tile),
    );
  }
});

Deno.test("locationAt walks a map row by row", () => {
  assert.deepEqual(locationAt(0, 13), { row: 0, column: 0 });
  assert.deepEqual(locationAt(12, 13), { row: 0, column: 12 });
  assert.deepEqual(locationAt(13, 13), { row: 1, column: 0 });
});

Deno.test("clipRegion keeps the part inside", () => {
  const size = { width: 10, height: 6 };
  assert.deepEqual(clipRegion({ x: -2, y: 4, width: 5, height: 5 }, size), {
    x: 0,
    y: 4,
    width: 3,
    height: 2,
  });
  assert.deepEqual(clipRegion({ x: 9, y: 5, width: 1, height: 1 }, size), {
    x: 9,
    y: 5,
    width: 1,
    height: 1,
  });
  for (const [x, y] of [[10, 0], [-5, 0], [0, 6], [100, 100], [-9, -9]]) {
    const { width, height } = clipRegion(
      { x: x!, y: y!, width: 5, height: 5 },
      size,
    );
    assert.equal(width * height, 0);
  }
});

Deno.test("storedPoint: where the stored corner shows, by EXIF number", () => {
  const size = { width: 5, height: 3 };
  // EXIF 2.32, tag 0x0112: which visual corner row 0, column 0 is stored from
  const corners: Record<Orientation, [x: number, y: number]> = {
    1: [0, 0],
    2: [4, 0],
    3: [4, 2],
    4: [0, 2],
    5: [0, 0],
    6: [2, 0],
    7: [2, 4],
    8: [0, 4],
  };
  for (const orientation of ORIENTATIONS) {
    const [x, y] = corners[orientation];
    assert.deepEqual(
      storedPoint({ x, y }, size, orientation),
      { x: 0, y: 0 },
      `orientation ${orientation}`,
    );
  }
});

Deno.test("storedPoint and storedRegion are undone by the inverse orientation", () => {
  const size = { width: 5, height: 3 };
  const region = { x: -1, y: 1, width: 2, height: 4 };
  for (const orientation of ORIENTATIONS) {
    const inverse = inverseOrientation(orientation);
    const upright = orientedSize(size, orientation);
    assert.deepEqual(orientedSize(upright, inverse), size);
    assert.deepEqual(
      storedRegion(storedRegion(region, upright, inverse), size, orientation),
      region,
    );
    const point = { x: 4, y: 1 };
    assert.deepEqual(
      storedPoint(storedPoint(point, upright, inverse), size, orientation),
      point,
    );
  }
});

Deno.test("insideShares: the share of each cell that lies in the image", () => {
  const axis = { start: -3, extent: 10, count: 5 }; // cells of 2 px
  assert.deepEqual(insideShares(axis, 5), [0, 0.5, 1, 1, 0]);
  assert.deepEqual(insideShares({ ...axis, start: 0 }, 10), [1, 1, 1, 1, 1]);
  assert.deepEqual(insideShares({ ...axis, start: 20 }, 10), [0, 0, 0, 0, 0]);
});
