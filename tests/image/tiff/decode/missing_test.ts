/** Tiles and strips that a TIFF omits, and truncated ones. */
import assert from "node:assert/strict";
import { deflateSync } from "node:zlib";
import { openImage } from "../../../../lib/image/open.ts";
import { pixelAt, readAll, TemporaryFolder } from "../../pictures.ts";
import { asciiField, tiffFile, type TiffRecipe } from "../tiff_files.ts";
import {
  greyAt,
  over,
  PALETTE,
  PALETTE_FIELD,
  type Rgb,
  rgbAt,
  sampleAt,
  shows,
  SIZE,
  softAt,
} from "../tiff_kinds.ts";

Deno.test("an omitted piece has the colour of zero, or of nodata", async () => {
  const grey = { ...SIZE, value: sampleAt };
  const invert = (rgb: Rgb) => rgb.map((v) => 255 - v) as Rgb;
  const cases: [TiffRecipe, (x: number, y: number) => Rgb, empty: Rgb][] = [
    [grey, greyAt, [0, 0, 0]],
    [
      { ...grey, photometric: 0 },
      (x, y) => invert(greyAt(x, y)),
      [255, 255, 255],
    ],
    [
      { ...grey, photometric: 3, fields: [PALETTE_FIELD] },
      (x, y) => PALETTE[sampleAt(x, y, 0)]!,
      PALETTE[0]!,
    ],
    [{ ...grey, samples: 3 }, rgbAt, [0, 0, 0]],
    [
      { ...grey, samples: 4, extra: [2] },
      (x, y) => over(rgbAt(x, y), sampleAt(x, y, 3)),
      [255, 255, 255],
    ],
    [
      { ...grey, samples: 3, fields: [asciiField(42113, "200")] },
      rgbAt,
      [200, 200, 200],
    ],
    [ // beyond the type: clamped, as in GDAL
      { ...grey, samples: 3, fields: [asciiField(42113, "-9999")] },
      rgbAt,
      [0, 0, 0],
    ],
  ];
  for (const [recipe, colour, empty] of cases) {
    for (const compression of ["none", "deflate"] as const) {
      for (const layout of [{ rowsPerStrip: 8 }, { tile: 16 }]) {
        const isEmpty = (x: number, y: number) =>
          "tile" in layout ? x < 16 && y >= 16 && y < 32 : y >= 24 && y < 32;
        const missing = "tile" in layout ? [3] : [3];
        await shows(
          { ...recipe, ...layout, compression, missing },
          (x, y) => isEmpty(x, y) ? empty : colour(x, y),
        );
      }
    }
  }
});

Deno.test("a file whose only strip is omitted is empty, not its header", async () => {
  const recipe = { width: 600, height: 600, value: sampleAt, missing: [0] };
  await shows(recipe, () => [0, 0, 0]);
});

Deno.test("an omitted plane is zero, and the others are shown", async () => {
  const base = { ...SIZE, value: sampleAt, planar: true };
  await shows(
    { ...base, samples: 3, rowsPerStrip: 37, missing: [1] },
    (x, y) => [sampleAt(x, y, 0), 0, sampleAt(x, y, 2)],
  );
});

Deno.test("nodata is named, and shown as it is stored", async () => {
  const recipe = {
    ...SIZE,
    value: sampleAt,
    samples: 3,
    fields: [asciiField(42113, "255")],
  };
  assert.deepEqual(await shows(recipe, rgbAt), [
    "nodata value 255: shown as stored, and used for omitted blocks",
  ]);
});

Deno.test("tiles that hold only the rows of the image", async () => {
  for (const compression of ["none", "deflate", "packbits", "zstd"] as const) {
    const base = { ...SIZE, value: sampleAt, tile: 16, short: true };
    await shows({ ...base, compression, samples: 3 }, rgbAt);
    await shows({ ...base, compression, samples: 3, planar: true }, rgbAt);
  }
});

Deno.test("a tile that lacks rows of the image is refused", async () => {
  using folder = new TemporaryFolder();
  const bytes = tiffFile({
    ...SIZE,
    value: sampleAt,
    tile: 16,
    compression: "deflate",
    encode: ({ numbers }, i) =>
      deflateSync(Uint8Array.from(i === 8 ? numbers.slice(0, 64) : numbers)),
  });
  const image = await openImage(folder.write("a.tif", bytes));
  await assert.rejects(readAll(image), /block 8 .* holds 64 of 256 bytes/);
  image.close();
});

Deno.test("tiles that Aperio omits are made from the finer level", async () => {
  using folder = new TemporaryFolder();
  const level = (scale: number, missing: number[]): TiffRecipe => ({
    width: 80 / scale,
    height: 64 / scale,
    samples: 3,
    tile: 16,
    compression: "deflate",
    missing,
    value: (x, y, c) => softAt(x * scale >> 1, y * scale >> 1, c),
    fields: [asciiField(270, "Aperio Image Library\r\nx|AppMag = 20")],
  });
  const bytes = tiffFile(
    level(1, [0]), // glass, if the finest level lacks it
    level(2, [0, 4]),
    level(4, [0]), // averaged from level 1
  );
  const image = await openImage(folder.write("a.svs", bytes));
  assert.equal(image.levels.length, 3);
  const mean = (x: number, y: number, scale: number): Rgb => {
    const sum = [0, 0, 0];
    for (let i = 0; i < scale ** 2; i++) {
      const px = x * scale + i % scale, py = y * scale + Math.floor(i / scale);
      for (const c of [0, 1, 2]) {
        sum[c]! += px < 16 && py < 16 ? 255 : softAt(px >> 1, py >> 1, c);
      }
    }
    return sum.map((value) => Math.round(value / scale ** 2)) as Rgb;
  };
  const first = await image.read({ x: 0, y: 0, width: 40, height: 32 }, 1);
  for (const [x, y] of [[0, 0], [7, 7], [9, 5], [15, 15], [30, 20], [22, 30]]) {
    const isRebuilt = x! < 16 && y! < 16 || x! >= 16 && x! < 32 && y! >= 16;
    const colour = isRebuilt
      ? mean(x!, y!, 2)
      : [0, 1, 2].map((c) => softAt(x!, y!, c));
    assert.deepEqual(pixelAt(first, x!, y!), [...colour, 255], `${x}, ${y}`);
  }
  const second = await image.read({ x: 0, y: 0, width: 20, height: 16 }, 2);
  for (const [x, y] of [[0, 0], [3, 3], [6, 2], [15, 15]]) {
    const found = pixelAt(second, x!, y!);
    for (const [c, value] of mean(x!, y!, 4).entries()) {
      assert.ok(Math.abs(found[c]! - value) <= 3, `${x}, ${y}: ${found}`);
    }
  }
  image.close();
});

Deno.test("levels that lack every tile are made in time that grows with their pixels", async () => {
  using folder = new TemporaryFolder();
  const sides = Array.from({ length: 20 }, (_, level) => 336 - 16 * level);
  const recipes = sides.map((side, level): TiffRecipe => ({
    width: side,
    height: side,
    samples: 3,
    tile: 16,
    compression: "deflate",
    missing: level === 0
      ? []
      : Array.from({ length: (side / 16) ** 2 }, (_, tile) => tile),
    value: () => 100,
    fields: [asciiField(270, "Aperio Image Library\r\nx|AppMag = 20")],
  }));
  const image = await openImage(folder.write("a.svs", tiffFile(...recipes)));
  assert.equal(image.levels.length, sides.length);
  // Four blocks of the finer level for each would be 4^19 of them.
  const { data } = await image.read(
    { x: 0, y: 0, width: 32, height: 32 },
    sides.length - 1,
    AbortSignal.timeout(120_000),
  );
  assert.deepEqual([...data.subarray(0, 4)], [100, 100, 100, 255]);

  const given = new AbortController();
  const late = image.read(
    { x: 16, y: 16, width: 8, height: 8 },
    5,
    given.signal,
  );
  given.abort(new Error("given up"));
  await assert.rejects(late, /given up/);
  image.close();
});
