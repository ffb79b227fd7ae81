import assert from "node:assert/strict";
import {
  type ClassifiedRegions,
  regionsGeoJson,
} from "../../lib/eval/geojson.ts";

const CLASSIFIED: ClassifiedRegions = {
  label: "positive",
  probabilities: { negative: 0.25, positive: 0.75 },
  image: { width: 1000, height: 500 },
  tiles: [{ x: -10, y: 20, width: 64, height: 32, count: 3 }],
  subTiles: [
    { x: 5, y: 25, width: 8, height: 4, weight: 0.75 },
    { x: 9, y: 30, width: 8, height: 4, weight: 0.25 },
  ],
};

/** The first corner of the first sub-tile, and the ring's length. */
function cornerOf(collection: ReturnType<typeof regionsGeoJson>) {
  return collection.features[1]!.geometry.coordinates[0]![0];
}

Deno.test("tiles and sub-tiles are closed rings in level-0 px", () => {
  const { type, crs, features } = regionsGeoJson(CLASSIFIED);
  assert.equal(type, "FeatureCollection");
  assert.equal(crs, undefined);
  assert.equal(features.length, 3);
  const [tile, subTile] = features;
  assert.deepEqual(tile!.geometry, {
    type: "Polygon",
    coordinates: [[[-10, 20], [54, 20], [54, 52], [-10, 52], [-10, 20]]],
  });
  assert.equal(tile!.properties.objectType, "tile");
  assert.deepEqual(tile!.properties.measurements, { draws: 3 });
  assert.equal(subTile!.properties.objectType, "detection");
  assert.deepEqual(subTile!.properties.measurements, { attention: 0.75 });
  const { name, color } = subTile!.properties.classification;
  assert.equal(name, "positive");
  assert.equal(color.length, 3);
});

Deno.test("each class has a colour of its own", () => {
  const names = ["a", "b", "c", "d", "e", "f", "g"];
  const colours = names.map((label) => {
    const probabilities = Object.fromEntries(names.map((name) => [name, 0]));
    const { features: [feature] } = regionsGeoJson({
      ...CLASSIFIED,
      label,
      probabilities,
    });
    return String(feature!.properties.classification.color);
  });
  assert.equal(new Set(colours).size, names.length);
});

Deno.test("a region has a UUID of its own, the same whenever it is told", () => {
  const subTiles = [...CLASSIFIED.subTiles, CLASSIFIED.subTiles[0]!];
  const ids = () =>
    regionsGeoJson({ ...CLASSIFIED, subTiles }).features.map(({ id }) => id);
  assert.deepEqual(ids(), ids());
  assert.equal(new Set(ids()).size, 4);
  for (const id of ids()) {
    assert.match(
      id,
      /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
    );
  }
});

Deno.test("coordinates begin where they are asked to", () => {
  const image = {
    ...CLASSIFIED.image,
    bounds: { x: 4, y: 20, width: 900, height: 400 },
    georeference: {
      crs: "EPSG:32633",
      transform: [0.5, 0, 300_000, 0, -0.5, 5_000_000] as const,
    },
  };
  const slide = { ...CLASSIFIED, image };
  assert.deepEqual(cornerOf(regionsGeoJson(slide)), [5, 25]);
  const bounds = regionsGeoJson(slide, { origin: "bounds" });
  assert.deepEqual(cornerOf(bounds), [1, 5]);
  const world = regionsGeoJson(slide, { origin: "world" });
  assert.deepEqual(cornerOf(world), [300_002.5, 4_999_987.5]);
  assert.equal(world.crs?.properties.name, "urn:ogc:def:crs:EPSG::32633");

  // A file that names no bounds was scanned from its first pixel on.
  const plain = regionsGeoJson(CLASSIFIED, { origin: "bounds" });
  assert.deepEqual(cornerOf(plain), [5, 25]);
  assert.throws(
    () => regionsGeoJson(CLASSIFIED, { origin: "world" }),
    RangeError,
  );
});
