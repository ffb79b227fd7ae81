import assert from "node:assert/strict";
import { join } from "node:path";
import sharp from "sharp";
import { randomKey, RandomStream } from "../../../kernels/random.ts";
import { writeSlide } from "../../../lib/data/synthetic/slide.ts";
import {
  isTissue,
  planSlide,
  SLIDE_DEFAULTS,
} from "../../../lib/data/synthetic/slide_plan.ts";
import { ImageError } from "../../../lib/errors.ts";
import { Foreground } from "../../../lib/image/foreground/foreground.ts";
import { tileCentre, tileMapSize } from "../../../lib/image/geometry.ts";
import {
  ORIENTATIONS,
  orientedSize,
  storedPoint,
} from "../../../lib/image/pyramids/orientation.ts";
import { openImage } from "../../../lib/image/open.ts";
import type { Pyramid } from "../../../lib/image/pyramid.ts";
import { RasterPyramid } from "../../../lib/image/pyramids/raster.ts";
import {
  type ForegroundChoice,
  foregroundOf,
  otsuThreshold,
} from "../../../lib/image/foreground/tissue.ts";
import { withFolder } from "../../data/folder.ts";
import { sharedData } from "../../shared_data.ts";

const PINK = [220, 150, 190], GLASS = [243, 243, 244];

/** An image that is pink where `isPink` is true. */
function stained(
  width: number,
  height: number,
  isPink: (x: number, y: number) => boolean,
): Pyramid {
  const data = new Uint8Array(width * height * 4).fill(255);
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i += 4) {
      data.set(isPink(x, y) ? PINK : GLASS, i);
    }
  }
  const pixels = { data, width, height };
  return new RasterPyramid("slide", { pixels, warnings: [] });
}

function failsByName(message: RegExp) {
  return (error: Error) =>
    error instanceof ImageError && message.test(error.message) &&
    !error.message.includes("\n");
}

Deno.test("Otsu's threshold parts two groups, and needs two", () => {
  assert.equal(otsuThreshold(Uint8Array.of(3, 4, 5, 90, 91, 92)), 5);
  assert.equal(otsuThreshold(Uint8Array.of(7, 7, 7)), 0);
  // Groups at 20 and 200: the larger group does not attract the threshold.
  const uneven = new Uint8Array(1000).fill(20).fill(200, 990);
  assert.equal(otsuThreshold(uneven), 20);
});

for (const [width, height] of [[300, 200], [2500, 40], [37, 3001]] as const) {
  Deno.test(`tissue of ${width} x ${height} px: to the pixel of the mask`, async () => {
    const isPink = (x: number, y: number) =>
      x >= width / 4 && x < width / 2 && y >= height / 4 && y < height / 2;
    const image = stained(width, height, isPink);
    const found = (await foregroundOf(image, { kind: "tissue" }))!;
    const cell = Math.ceil(Math.max(width, height) / 1024);
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x += 3) {
        const corners = [[-cell, 0], [cell, 0], [0, -cell], [0, cell]]
          .map(([dx, dy]) => isPink(x + dx!, y + dy!));
        if (corners.some((corner) => corner !== isPink(x, y))) continue;
        assert.equal(found.at({ x, y }), isPink(x, y), `${x}, ${y}`);
      }
    }
    assert.ok(Math.abs(found.share - 1 / 16) < 0.02, `${found.share}`);
  });
}

Deno.test("specks are dropped and small holes filled", async () => {
  const image = stained(400, 400, (x, y) => {
    const isSpeck = x >= 10 && x < 13 && y >= 10 && y < 13;
    const isHole = x >= 200 && x < 203 && y >= 200 && y < 203;
    const isLargeHole = x >= 250 && x < 260 && y >= 250 && y < 260;
    const isPiece = x >= 100 && x < 300 && y >= 100 && y < 300;
    return isSpeck || (isPiece && !isHole && !isLargeHole);
  });
  const found = (await foregroundOf(image, { kind: "tissue" }))!;
  assert.equal(found.at({ x: 11, y: 11 }), false);
  assert.equal(found.at({ x: 201, y: 201 }), true);
  assert.equal(found.at({ x: 255, y: 255 }), false);
  assert.equal(found.at({ x: 299, y: 299 }), true);
  assert.equal(found.at({ x: 300, y: 299 }), false);
});

Deno.test("no foreground is an error by name, everywhere is no mask", async () => {
  const white = stained(300, 200, () => false);
  await assert.rejects(
    foregroundOf(white, { kind: "tissue" }),
    failsByName(/^Cannot find the foreground of slide: .*colour.*polygons/),
  );
  assert.equal(await foregroundOf(white, { kind: "none" }), undefined);
});

Deno.test("JPEG's noise on glass is no tissue", async () => {
  const random = new RandomStream(randomKey(0));
  const data = new Uint8Array(300 * 200 * 4).map((_, i) =>
    i % 4 === 3 ? 255 : 240 + random.below(9)
  );
  const pixels = { data, width: 300, height: 200 };
  const image = new RasterPyramid("glass", { pixels, warnings: [] });
  await assert.rejects(
    foregroundOf(image, { kind: "tissue" }),
    failsByName(/foreground of glass/),
  );
});

Deno.test("a map's locations: the centres of its tiles, whole or in blocks", async () => {
  const image = stained(640, 320, (x, y) => x >= 320 && y < 100);
  const found = (await foregroundOf(image, { kind: "tissue" }))!;
  for (
    const grid of [{ scale: 1 / 8, stride: 8 }, { scale: 1 / 8, stride: 40 }]
  ) {
    const map = tileMapSize(image, grid);
    const all = found.locations(map, grid);
    assert.equal(all.length, map.rows * map.columns);
    for (const [i, allowed] of all.entries()) {
      const row = Math.floor(i / map.columns), column = i % map.columns;
      const { x, y } = tileCentre({ row, column }, map, image, grid);
      assert.equal(allowed, x >= 320 && y < 100 ? 1 : 0, `${row}, ${column}`);
    }
    const block = { row: 1, column: 5, rows: 3, columns: 7 };
    const part = found.locations(map, grid, block);
    const expected = [1, 2, 3].flatMap((
      row,
    ) => [...all.subarray(row * map.columns + 5, row * map.columns + 12)]);
    assert.deepEqual([...part], expected);
  }
});

Deno.test("a mask image: bright is foreground; another image's is refused", async () => {
  await withFolder(async (folder) => {
    const image = stained(600, 300, () => false);
    const write = async (name: string, width: number, right: number) => {
      const path = join(folder, name);
      const raw = Uint8Array.from(
        { length: width * 50 },
        (_, i) => i % width >= width / 2 ? right : 0,
      );
      await sharp(raw, { raw: { width, height: 50, channels: 1 } })
        .png().toFile(path);
      return { kind: "mask", path } as const;
    };
    const found = (await foregroundOf(image, await write("a.png", 100, 255)))!;
    assert.equal(found.share, 0.5);
    assert.equal(found.at({ x: 299, y: 10 }), false);
    assert.equal(found.at({ x: 300, y: 10 }), true);
    await assert.rejects(
      foregroundOf(image, await write("dark.png", 100, 100)),
      failsByName(/dark\.png is dark or transparent everywhere/),
    );
    await assert.rejects(
      foregroundOf(image, await write("square.png", 50, 255)),
      failsByName(/^Cannot use .*square\.png as a mask of slide: 50 x 50 px/),
    );
    await assert.rejects(
      foregroundOf(image, { kind: "mask", path: join(folder, "no.png") }),
      failsByName(/no\.png.*no such file/),
    );
  });
});

Deno.test("polygons: inside is foreground, holes are not", async () => {
  await withFolder(async (folder) => {
    const image = stained(9000, 6000, () => false);
    const square = (x: number, y: number, side: number) => [
      [x, y],
      [x + side, y],
      [x + side, y + side],
      [x, y + side],
      [x, y],
    ];
    const polygon = {
      type: "Polygon",
      coordinates: [square(1000, 1000, 3000), square(2000, 2000, 500)],
    };
    const tiny = {
      type: "MultiPolygon",
      coordinates: [[square(8000.2, 5000.2, 0.5)], [square(-500, -500, 200)]],
    };
    const write = async (name: string, value: unknown) => {
      const path = join(folder, name);
      const mark = name === "b" ? "\ufeff" : ""; // as some editors write
      await Deno.writeTextFile(path, mark + JSON.stringify(value));
      return { kind: "polygons", path } as ForegroundChoice;
    };
    const features = [polygon, tiny, { type: "Point", coordinates: [1, 1] }]
      .map((geometry) => ({ type: "Feature", properties: {}, geometry }));
    const collection = { type: "FeatureCollection", features };
    const found = (await foregroundOf(image, await write("a", collection)))!;
    const inside = [[1003, 1003], [3997, 3997], [1997, 2100], [8000, 5000]];
    const outside = [[996, 2000], [4004, 2000], [2250, 2250], [0, 0]];
    for (const [x, y] of inside) assert.ok(found.at({ x: x!, y: y! }));
    for (const [x, y] of outside) assert.ok(!found.at({ x: x!, y: y! }));
    const expected = (3000 ** 2 - 500 ** 2) / (9000 * 6000);
    assert.ok(Math.abs(found.share - expected) < 0.001);

    for (const value of [polygon, features, features[0]]) {
      const same = (await foregroundOf(image, await write("b", value)))!;
      assert.ok(same.at({ x: 1500, y: 1500 }));
    }
    const refused: [unknown, RegExp][] = [
      [
        { type: "Polygon", coordinates: [[[1, 2]]] },
        /: coordinates\[0\] is not a ring/,
      ],
      [{ type: "FeatureCollection", features: [] }, /holds no polygon/],
      [[polygon].slice(1), /holds no polygon/],
      [
        { ...polygon, coordinates: [square(9000, 0, 50)] },
        /no polygon of .*9000 x 6000 px/,
      ],
    ];
    for (const [value, message] of refused) {
      await assert.rejects(
        foregroundOf(image, await write("c", value)),
        failsByName(message),
      );
    }
    await Deno.writeTextFile(join(folder, "d"), "{");
    for (const name of ["d", "none"]) {
      const path = join(folder, name);
      await assert.rejects(
        foregroundOf(image, { kind: "polygons", path }),
        failsByName(/^Cannot read .* as GeoJSON polygons: /),
      );
    }
  });
});

Deno.test("the tissue of a synthetic slide is found, and nothing else", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "slide.tif");
    const options = { ...SLIDE_DEFAULTS, gigapixels: 0.05 };
    await writeSlide(path, options, {
      file: { compression: { kind: "jpeg", quality: 85 }, distinct: false },
    });
    const plan = planSlide(options);
    const image = await openImage(path);
    const found = (await foregroundOf(image, { kind: "tissue" }))!;
    image.close();
    const cell = plan.side / plan.cells;
    for (let y = cell / 2; y < plan.side; y += cell) {
      for (let x = cell / 2; x < plan.side; x += cell) {
        assert.equal(found.at({ x, y }), isTissue(plan, { x, y }));
      }
    }
  });
});

const svs = sharedData("wsi", "CMU-1-Small-Region.svs");

Deno.test({
  name: "a scanned slide has tissue and glass",
  ignore: svs === undefined,
  fn: async () => {
    const image = await openImage(svs!);
    const found = (await foregroundOf(image, { kind: "tissue" }))!;
    image.close();
    assert.ok(found.share > 0.1 && found.share < 0.95, `${found.share}`);
  },
});

Deno.test("a foreground turns with its image", () => {
  const size = { width: 40, height: 30 };
  const cells = new Uint8Array(12);
  cells[1] =
    cells[4] =
    cells[5] =
    cells[11] =
      1;
  const stored = new Foreground({ cells, rows: 3, columns: 4 }, size);
  for (const orientation of ORIENTATIONS) {
    const turned = stored.oriented(orientation);
    const { width, height } = orientedSize(size, orientation);
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const point = storedPoint({ x, y }, size, orientation);
        assert.equal(turned.at({ x, y }), stored.at(point));
      }
    }
    const map = tileMapSize({ width, height }, { scale: 0.1, stride: 10 });
    assert.equal(
      turned.locations(map, { scale: 0.1, stride: 11 })
        .reduce((sum, value) => sum + value, 0),
      4,
    );
  }
});
