import assert from "node:assert/strict";
import { join } from "node:path";
import sharp, { type Sharp } from "sharp";
import { ImageError } from "../../../lib/errors.ts";
import { tileMapSize } from "../../../lib/image/geometry.ts";
import { openImage } from "../../../lib/image/open.ts";
import type { Pixels } from "../../../lib/image/pyramid.ts";
import { RasterPyramid } from "../../../lib/image/pyramids/raster.ts";
import { foregroundOf } from "../../../lib/image/foreground/tissue.ts";
import { withFolder } from "../../data/folder.ts";
import { sharedData } from "../../shared_data.ts";
import { bmpFile } from "../bmp_files.ts";
import { readAll } from "../pictures.ts";

const SIDE = 64;

/** An image of one colour, which has no foreground. */
function blank(side: number): RasterPyramid {
  const data = new Uint8Array(side * side * 4).fill(200);
  return new RasterPyramid("slide", {
    pixels: { data, width: side, height: side },
    warnings: [],
  });
}

/** RGBA of a mask by quarter, clockwise from the upper left. */
function quarters(...colours: number[][]): Pixels {
  const data = new Uint8Array(SIDE * SIDE * 4);
  for (let y = 0, i = 0; y < SIDE; y++) {
    for (let x = 0; x < SIDE; x++, i += 4) {
      const right = x >= SIDE / 2, lower = y >= SIDE / 2;
      data.set(colours[lower ? (right ? 2 : 3) : (right ? 1 : 0)]!, i);
    }
  }
  return { data, width: SIDE, height: SIDE };
}

// White, black, transparent white, transparent black.
const MARKED = quarters(
  [255, 255, 255, 255],
  [0, 0, 0, 255],
  [255, 255, 255, 0],
  [0, 0, 0, 0],
);

function picture({ data, width, height }: Pixels): Sharp {
  return sharp(data, { raw: { width, height, channels: 4 } });
}

/** Quarters that a mask at `path` marks, clockwise from the upper left. */
async function markedQuarters(path: string): Promise<boolean[]> {
  const found = await foregroundOf(blank(SIDE), { kind: "mask", path });
  const near = SIDE / 4, far = SIDE * 3 / 4;
  return [[near, near], [far, near], [far, far], [near, far]]
    .map(([x, y]) => found!.at({ x: x!, y: y! }));
}

const FORMATS: Record<string, (mask: Sharp) => Sharp> = {
  "RGBA PNG": (mask) => mask.png(),
  "palette PNG": (mask) => mask.png({ palette: true }),
  "grey and alpha PNG": (mask) => mask.toColourspace("b-w").png(),
  "16-bit RGBA PNG": (mask) => mask.toColourspace("rgb16").png(),
  "16-bit grey and alpha PNG": (mask) => mask.toColourspace("grey16").png(),
  "WebP": (mask) => mask.webp({ lossless: true, exact: true }),
  "TIFF in strips": (mask) => mask.tiff({ compression: "deflate" }),
  "TIFF in tiles": (mask) =>
    mask.tiff({
      compression: "lzw",
      tile: true,
      tileWidth: 32,
      tileHeight: 32,
    }),
  "grey and alpha TIFF in tiles": (mask) =>
    mask.toColourspace("b-w").tiff({
      compression: "deflate",
      tile: true,
      tileWidth: 32,
      tileHeight: 32,
    }),
};

for (const [format, encode] of Object.entries(FORMATS)) {
  Deno.test(`transparent pixels of a mask mark nothing: ${format}`, async () => {
    await withFolder(async (folder) => {
      const path = join(folder, "mask");
      await Deno.writeFile(path, await encode(picture(MARKED)).toBuffer());
      const marked = await markedQuarters(path);
      assert.deepEqual(marked, [true, false, false, false]);
    });
  });
}

Deno.test("transparent pixels of a mask mark nothing: BMP", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "mask.bmp");
    await Deno.writeFile(
      path,
      bmpFile({
        width: SIDE,
        height: -SIDE, // from the top
        bits: 32,
        compression: 6,
        masks: [0xff, 0xff00, 0xff0000, 0xff000000], // red, green, blue, alpha
        rows: [...MARKED.data],
      }),
    );
    const marked = await markedQuarters(path);
    assert.deepEqual(marked, [true, false, false, false]);
  });
});

Deno.test("a mask's brightness includes its alpha: half-transparent white is dark grey", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "mask.png");
    const mask = quarters(
      [255, 255, 255, 127],
      [255, 255, 255, 128],
      [200, 200, 200, 255],
      [200, 200, 200, 128],
    );
    await picture(mask).png().toFile(path);
    const marked = await markedQuarters(path);
    assert.deepEqual(marked, [false, true, true, false]);
  });
});

Deno.test("a mask without transparency is bright or dark, whatever its samples", async () => {
  await withFolder(async (folder) => {
    const opaque = quarters(
      [255, 255, 255, 255],
      [0, 0, 0, 255],
      [90, 90, 90, 255],
      [180, 180, 180, 255],
    );
    for (const space of ["srgb", "b-w", "rgb16", "grey16"]) {
      const path = join(folder, `${space}.png`);
      await picture(opaque).removeAlpha().toColourspace(space).png()
        .toFile(path);
      const marked = await markedQuarters(path);
      assert.deepEqual(marked, [true, false, false, true], space);
    }
  });
});

Deno.test("a mask that is black where it is opaque marks nothing, and is refused", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "mask.png");
    await picture(quarters([0, 0, 0, 255], [0, 0, 0, 0], [0, 0, 0, 0], [
      255,
      255,
      255,
      0,
    ])).png().toFile(path);
    await assert.rejects(
      foregroundOf(blank(SIDE), { kind: "mask", path }),
      (error: Error) =>
        error instanceof ImageError &&
        /mask\.png is dark or transparent everywhere/.test(error.message),
    );
  });
});

Deno.test("the pixels of an image are laid over white, those of a mask over black", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "picture.tif");
    await picture(MARKED).tiff({
      compression: "deflate",
      tile: true,
      tileWidth: 32,
      tileHeight: 32,
    })
      .toFile(path);
    for (const backdrop of ["white", "black"] as const) {
      const image = await openImage(path, { backdrop });
      const { data } = await readAll(image);
      image.close();
      const last = data.subarray(data.length - 4); // transparent black
      const value = backdrop === "white" ? 255 : 0;
      assert.deepEqual([...last], [value, value, value, 255]);
      assert.ok(
        image.warnings.includes(`has alpha: composited over ${backdrop}`),
        image.warnings.join(),
      );
    }
  });
});

Deno.test("a large mask with transparency, converted to a temporary pyramid", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "large.png");
    const [width, height] = [16_384, 4608]; // more than is held whole
    await sharp({
      create: { width, height, channels: 4, background: "#ffffff00" },
    }).composite([{
      input: {
        create: { width: 8192, height, channels: 4, background: "white" },
      },
      left: 0,
      top: 0,
    }]).png({ compressionLevel: 1 }).toFile(path);
    const data = new Uint8Array(256 * 72 * 4);
    const image = new RasterPyramid("slide", {
      pixels: { data, width: 256, height: 72 },
      warnings: [],
    });
    const found = (await foregroundOf(image, { kind: "mask", path }))!;
    assert.equal(found.share, 0.5);
    assert.equal(found.at({ x: 10, y: 10 }), true);
    assert.equal(found.at({ x: 200, y: 10 }), false);
  });
});

const shared = sharedData("corners", "mask_white_on_transparent.png");

Deno.test({
  name: "all tiles that a mask of white on nothing allows lie in its square",
  ignore: shared === undefined,
  fn: async () => {
    const image = blank(100);
    const found = (await foregroundOf(image, {
      kind: "mask",
      path: shared!,
    }))!;
    const grid = { scale: 0.5, stride: 4 };
    const map = tileMapSize(image, grid);
    const allowed = found.locations(map, grid);
    const sum = allowed.reduce((total, value) => total + value, 0);
    assert.equal(found.share, 0.16);
    assert.ok(sum > 0 && sum < 0.2 * allowed.length, `${sum}`);
  },
});
