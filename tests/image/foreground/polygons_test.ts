import assert from "node:assert/strict";
import { join } from "node:path";
import { ImageError } from "../../../lib/errors.ts";
import {
  fillPolygons,
  type Polygon,
  readPolygons,
} from "../../../lib/image/foreground/polygons.ts";
import { withFolder } from "../../data/folder.ts";
import { sharedData } from "../../shared_data.ts";

type Position = [number, number];

const CORNERS: Position[] = [[10, 10], [30, 10], [30, 30], [10, 30]];
const RING: Position[] = [...CORNERS, CORNERS[0]!];

function feature(coordinates: unknown, more: object = {}) {
  const geometry = { type: "Polygon", coordinates };
  return { type: "Feature", geometry, properties: {}, ...more };
}

async function read(value: unknown): Promise<Polygon[]> {
  return await withFolder(async (folder) => {
    const path = join(folder, "regions.geojson");
    await Deno.writeTextFile(path, JSON.stringify(value));
    return await readPolygons(path);
  });
}

function marked(polygons: Polygon[]): number {
  const size = { width: 40, height: 40 };
  const { cells } = fillPolygons(polygons, { rows: 40, columns: 40 }, size);
  return cells.reduce((sum, cell) => sum + cell, 0);
}

Deno.test("a ring that is not closed is the same as one that is", async () => {
  const hole: Position[] = [[15, 15], [20, 15], [20, 20], [15, 20]];
  const expected = marked(
    await read(feature([RING, [...hole, hole[0]!]])),
  );
  // The middles inside, less the hole's, and the corners of the outline.
  assert.ok(expected >= 20 * 20 - 5 * 5, `${expected}`);
  const open = feature([CORNERS, hole]);
  const multi = {
    type: "MultiPolygon",
    coordinates: [[CORNERS, hole]],
  };
  const collection = { type: "GeometryCollection", geometries: [multi] };
  for (const value of [open, [open], multi, collection]) {
    const polygons = await read(value);
    assert.equal(marked(polygons), expected);
    for (const ring of polygons.flat()) assert.deepEqual(ring.at(-1), ring[0]);
  }
  const triangle = await read(feature([CORNERS.slice(0, 3)]));
  assert.equal(triangle[0]![0]!.length, 4);
});

Deno.test("a bad ring is named with its place, in one line", async () => {
  const good = feature([RING]);
  const collection = (...features: unknown[]) => ({
    type: "FeatureCollection",
    features,
  });
  const faults: [unknown, RegExp][] = [
    [
      collection(good, feature([RING, CORNERS.slice(0, 2)], { id: "7f-b" })),
      /features\[1\] \(id "7f-b"\)\.coordinates\[1\] is not a ring: it has fewer than 3 corners; draw it again, or remove it$/,
    ],
    [
      collection(
        good,
        good,
        feature([[...CORNERS, [5, null]]], {
          id: 12,
          properties: { name: "Tumour" },
        }),
      ),
      /features\[2\] \(id 12, name "Tumour"\)\.coordinates\[0\]\[4\]\[1\] is no number: write positions as \[x, y\]$/,
    ],
    [ // found by fuzzing
      collection(good, feature([[...CORNERS, [5]]])),
      /features\[1\]\.coordinates\[0\]\[4\]\[1\] is no number: write positions as \[x, y\]$/,
    ],
    [
      collection(good, feature("none", { properties: null })),
      /features\[1\]\.coordinates is not a list/,
    ],
    [
      [good, { type: "MultiPolygon", coordinates: [[RING], [[[1, 2]]]] }],
      /: \[1\]\.coordinates\[1\]\[0\] is not a ring/,
    ],
    [feature([[[1, 1], [2, 2], [1, 1]]]), /: coordinates\[0\] is not a ring/],
  ];
  for (const [value, message] of faults) {
    await assert.rejects(read(value), (error: Error) => {
      assert.ok(error instanceof ImageError);
      assert.match(error.message, message);
      assert.match(error.message, /^Cannot read .*regions\.geojson as GeoJSON/);
      return !error.message.includes("\n");
    });
  }
});

Deno.test("text that is no JSON is told in one line", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "regions.geojson");
    await Deno.writeTextFile(path, '{\n"a":\n,\n}');
    await assert.rejects(readPolygons(path), (error: Error) => {
      assert.match(error.message, /as GeoJSON polygons: .*JSON/);
      return !error.message.includes("\n");
    });
  });
});

Deno.test("a polygon without rings is none", async () => {
  const polygons = await read([feature([]), feature([RING])]);
  assert.equal(polygons.length, 1);
  await assert.rejects(read(feature([])), /it holds no polygon/);
});

const shared = sharedData("corners", "ring_not_closed.geojson");

Deno.test({
  name: "a drawn ring that is not closed: 403 cells, not its 5 corners",
  ignore: shared === undefined,
  fn: async () => {
    const image = { width: 400, height: 400 };
    const polygons = await readPolygons(shared!);
    const { cells } = fillPolygons(polygons, { rows: 40, columns: 40 }, image);
    assert.equal(cells.reduce((sum, cell) => sum + cell, 0), 403);
  },
});
