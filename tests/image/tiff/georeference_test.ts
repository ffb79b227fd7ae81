/**
 * GeoTIFF: the coordinate system of a file, and the georeference of a pyramid
 * made from it.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { openImage } from "../../../lib/image/open.ts";
import type { GeoTag } from "../../../lib/image/pyramid.ts";
import { writePyramid } from "../../../lib/image/tiff/write/pyramid_writer.ts";
import {
  encodeDirectory,
  encodeHeader,
  type Field,
  HEADER_BYTES,
  TYPE,
} from "../../../lib/image/tiff/directory.ts";
import { TAG } from "../../../lib/image/tiff/tags.ts";
import { withFolder } from "../../data/folder.ts";
import { sharedData } from "../../shared_data.ts";

const SIDE = 16;
const NO_NUMBER = /coordinate system has no EPSG number/;

/** A grey image in one tile. */
function geoTiff(fields: Field[], { bits = 8 } = {}): Uint8Array {
  const pixels = new Uint8Array(SIDE * SIDE * bits / 8).fill(7);
  const short = (tag: number, ...values: number[]) => ({
    tag,
    type: TYPE.short,
    values,
  });
  const at = HEADER_BYTES + pixels.length;
  const directory = encodeDirectory([
    short(TAG.width, SIDE),
    short(TAG.height, SIDE),
    short(TAG.bitsPerSample, bits),
    short(TAG.photometric, 1),
    short(TAG.tileWidth, SIDE),
    short(TAG.tileHeight, SIDE),
    short(TAG.tileOffsets, HEADER_BYTES),
    short(TAG.tileBytes, pixels.length),
    ...fields,
  ], { at, big: false, last: true });
  return new Uint8Array([
    ...encodeHeader(at, false),
    ...pixels,
    ...directory,
  ]);
}

function doubles(tag: number, ...values: number[]): Field {
  return { tag, type: TYPE.double, values };
}

function text(tag: number, value: string): Field {
  const values = [...new TextEncoder().encode(value), 0];
  return { tag, type: TYPE.ascii, values };
}

/** Keys whose values are in the key directory itself. */
function keys(...pairs: [key: number, value: number][]): Field {
  const values = [1, 1, 0, pairs.length];
  for (const [key, value] of pairs) values.push(key, 0, 1, value);
  return { tag: TAG.geoKeys, type: TYPE.short, values };
}

const SCALE = doubles(TAG.modelPixelScale, 0.5, 0.25, 0);
const TIEPOINT = doubles(TAG.modelTiepoint, 0, 0, 0, 5e5, 41e5, 0);

async function withFile(
  bytes: Uint8Array,
  use: (path: string, folder: string) => Promise<void>,
): Promise<void> {
  await withFolder(async (folder) => {
    const path = join(folder, "in.tif");
    await Deno.writeFile(path, bytes);
    await use(path, folder);
  });
}

const MODEL = 1024, GEOGRAPHIC = 2048, PROJECTED = 3072, USER = 32767;

const SYSTEMS: [string, [number, number][], string | undefined][] = [
  ["projected", [[MODEL, 1], [PROJECTED, 32633]], "EPSG:32633"],
  ["geographic", [[MODEL, 2], [GEOGRAPHIC, 4258]], "EPSG:4258"],
  [
    "a projection of the user's own, without a model type",
    [[GEOGRAPHIC, 4326], [3074, USER], [3075, 1]],
    undefined,
  ],
  [
    "projected, with the geographic system below it",
    [[MODEL, 1], [GEOGRAPHIC, 4326], [PROJECTED, 32633]],
    "EPSG:32633",
  ],
  [
    "geographic, whatever projection is named beside it",
    [[MODEL, 2], [GEOGRAPHIC, 4326], [PROJECTED, 32633]],
    "EPSG:4326",
  ],
  [
    "a projection of the user's own, in metres, of EPSG:4326",
    [[MODEL, 1], [GEOGRAPHIC, 4326], [PROJECTED, USER]],
    undefined,
  ],
  [
    "a projection without a word of it",
    [[MODEL, 1], [GEOGRAPHIC, 4326]],
    undefined,
  ],
  ["degrees of the user's own", [[MODEL, 2], [GEOGRAPHIC, USER]], undefined],
  ["a model of the user's own", [[MODEL, USER], [GEOGRAPHIC, 4326]], undefined],
  ["geocentric", [[MODEL, 3], [GEOGRAPHIC, 4978]], undefined],
  ["no model, a projection", [[PROJECTED, 32633]], "EPSG:32633"],
  [
    "no model, a projection of the user's own",
    [[GEOGRAPHIC, 4326], [PROJECTED, USER]],
    undefined,
  ],
  ["no model, degrees", [[GEOGRAPHIC, 4326]], "EPSG:4326"],
];

for (const [name, pairs, crs] of SYSTEMS) {
  Deno.test(`the coordinate system of a GeoTIFF: ${name}`, async () => {
    const bytes = geoTiff([SCALE, TIEPOINT, keys(...pairs)]);
    await withFile(bytes, async (path) => {
      const image = await openImage(path);
      const { georeference, warnings } = image;
      image.close();
      assert.equal(georeference?.crs, crs);
      assert.deepEqual(georeference?.transform, [0.5, 0, 5e5, 0, -0.25, 41e5]);
      const isTold = warnings.some((warning) => NO_NUMBER.test(warning));
      assert.equal(isTold, crs === undefined);
    });
  });
}

/** Values of georeference entries, by tag. */
function byTag(tags: readonly GeoTag[] | undefined): Map<number, number[]> {
  return new Map(tags?.map(({ tag, values }) => [tag, [...values]]));
}

/** Georeference of a pyramid that `zoomin pyramid` writes of a file. */
async function copied(path: string, folder: string) {
  const image = await openImage(path);
  const out = join(folder, "out.tif");
  await writePyramid(out, image, {
    compression: { kind: "deflate" },
    blockSize: 16,
  });
  const copy = await openImage(out);
  image.close();
  copy.close();
  return { image, copy };
}

const CITATION = text(TAG.geoTexts, "somewhere|");
const NO_DATA = text(TAG.noData, "7");
const PLACES: Record<string, Field[]> = {
  "scale and tiepoint": [SCALE, TIEPOINT],
  "a matrix": [
    doubles(
      TAG.modelTransformation,
      ...[0.5, 0.1, 0, 5e5, 0.1, -0.25, 0, 41e5],
      ...[0, 0, 0, 0, 0, 0, 0, 1],
    ),
  ],
  "control points": [
    doubles(
      TAG.modelTiepoint,
      ...[0, 0, 0, 10, 50, 0, 16, 0, 0, 11, 50, 0, 0, 16, 0, 10, 49, 0],
    ),
  ],
  "a camera's polynomials": [
    doubles(
      TAG.rationalPolynomials,
      ...Array.from({ length: 92 }, (_, i) => i / 3),
    ),
  ],
};

for (const [name, fields] of Object.entries(PLACES)) {
  Deno.test(`a pyramid lies where its source does: ${name}`, async () => {
    const all = [
      ...fields,
      keys([MODEL, 1], [1025, 2], [PROJECTED, 32633]), // 2: of pixels' centres
      doubles(TAG.geoDoubles, 6378137, 298.25),
      CITATION,
      NO_DATA,
    ];
    await withFile(geoTiff(all), async (path, folder) => {
      const { image, copy } = await copied(path, folder);
      const expected = new Map(
        all.map((field) => [field.tag, "values" in field && field.values]),
      );
      assert.deepEqual(byTag(image.geoTags), expected);
      assert.deepEqual(byTag(copy.geoTags), expected);
      assert.deepEqual(copy.georeference, image.georeference);
    });
  });
}

Deno.test("a value for no data is not kept where samples become others", async () => {
  const noData = (value: string, bits: number) =>
    geoTiff([SCALE, TIEPOINT, text(TAG.noData, value)], { bits });
  const kept: [Uint8Array, boolean][] = [
    [noData("255", 8), true],
    [noData("255.0", 8), true],
    [noData("-9999", 8), false],
    [noData("nan", 8), false],
    [noData("255", 16), false],
  ];
  for (const [bytes, isKept] of kept) {
    await withFile(bytes, async (path, folder) => {
      const { copy } = await copied(path, folder);
      assert.equal(byTag(copy.geoTags).has(TAG.noData), isKept);
      assert.ok(copy.georeference);
    });
  }
});

Deno.test("an image without a place has no entries of one, and no warning", async () => {
  await withFile(geoTiff([]), async (path, folder) => {
    const { image, copy } = await copied(path, folder);
    assert.deepEqual([image.geoTags, copy.geoTags], [[], []]);
    assert.ok(!image.warnings.some((warning) => NO_NUMBER.test(warning)));
  });
});

Deno.test("a place that is damaged leaves the image as it is, with a word", async () => {
  const beyond: Field = {
    tag: TAG.modelTiepoint,
    type: TYPE.double,
    count: 6,
    at: 1e6,
  };
  await withFile(geoTiff([SCALE, beyond]), async (path) => {
    const image = await openImage(path);
    image.close();
    assert.equal(image.georeference, undefined);
    assert.match(
      image.warnings.join("\n"),
      /^modelTiepoint \(tag 33922\) lies beyond the end of the file: ignored$/m,
    );
  });
});

Deno.test("a transformation that maps no pixels to places is omitted", async () => {
  for (const values of [[NaN, 1, 0], [0, 0, 0], [1, 0, 0], [Infinity, 1, 0]]) {
    const scale: Field = {
      tag: TAG.modelPixelScale,
      type: TYPE.double,
      values,
    };
    await withFile(geoTiff([scale, TIEPOINT]), async (path, folder) => {
      const { image, copy } = await copied(path, folder);
      assert.equal(image.georeference, undefined, `${values}`);
      assert.match(
        image.warnings.join("\n"),
        /^georeference ignored: its transformation \[.*\] maps no pixels to places$/m,
      );
      assert.deepEqual(copy.geoTags, []);
    });
  }
});

Deno.test("an image that is turned warns that its place is omitted", async () => {
  const turned = { tag: TAG.orientation, type: TYPE.short, values: [6] };
  await withFile(geoTiff([SCALE, TIEPOINT, turned]), async (path, folder) => {
    const { image, copy } = await copied(path, folder);
    assert.deepEqual([image.georeference, copy.georeference], [
      ...[undefined, undefined],
    ]);
    assert.ok(
      image.warnings.some((warning) =>
        warning.startsWith("georeference ignored: ")
      ),
    );
  });
});

const utm = sharedData("corners", "utm.tif");

Deno.test({
  name: "utm.tif and its pyramid lie at the same place",
  ignore: utm === undefined,
  fn: async () => {
    await withFolder(async (folder) => {
      const { image, copy } = await copied(utm!, folder);
      assert.equal(image.georeference?.crs, "EPSG:32633");
      assert.deepEqual(copy.georeference, image.georeference);
      assert.deepEqual(copy.geoTags, image.geoTags);
    });
  },
});
