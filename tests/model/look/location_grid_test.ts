import assert from "node:assert/strict";
import { ConfigError } from "../../../lib/errors.ts";
import { preset } from "../../../lib/model/presets.ts";
import {
  gridView,
  locationCount,
  locationGrid,
} from "../../../lib/model/look/location_grid.ts";

function view(settings: Record<string, number | null> = {}) {
  return {
    ...preset("colon").view,
    tileSize: 100,
    tileStride: 100,
    subTileStride: 20,
    ...settings,
  };
}

Deno.test("locationGrid lists cell by cell, tile after tile", () => {
  const grid = locationGrid({ width: 300, height: 200 }, gridView(view()));
  assert.deepEqual(grid.tiles, { rows: 2, columns: 3 });
  assert.deepEqual(grid.cells, { rows: 5, columns: 5 });
  assert.equal(locationCount(grid), 150);
  assert.equal(grid.places.length, 150);
  assert.deepEqual(grid.regions[1], { x: 100, y: 0, width: 100, height: 100 });
  // The middle of px 10: a sub-tile of 27 px has one.
  assert.deepEqual(grid.places[0], { x: 10.5, y: 10.5 });
  assert.deepEqual(grid.places[1], { x: 30.5, y: 10.5 });
  assert.deepEqual(grid.places[25], { x: 110.5, y: 10.5 });
  assert.deepEqual(grid.places.at(-1), { x: 290.5, y: 190.5 });
});

Deno.test("locationGrid places an even sub-tile's middle between two px", () => {
  const { places } = locationGrid(
    { width: 300, height: 200 },
    gridView(view({ subTileSize: 32 })),
  );
  assert.deepEqual(places[0], { x: 10, y: 10 });
});

Deno.test("locationGrid of an image smaller than a tile is one tile around it", () => {
  const grid = locationGrid({ width: 60, height: 40 }, gridView(view()));
  assert.deepEqual(grid.regions, [{ x: -20, y: -30, width: 100, height: 100 }]);
  assert.equal(grid.places.length, 25);
});

Deno.test("gridView names what to set if the locations are no grid", () => {
  assert.throws(() => gridView(view({ tileStride: 10 })), {
    name: ConfigError.name,
    message: /set view\.tileStride=100 .* and view\.subTileStride=20,/,
  });
  assert.throws(() => gridView(view({ subTileStride: null })), {
    name: ConfigError.name,
    message: /view\.subTileStride=27,/,
  });
});
