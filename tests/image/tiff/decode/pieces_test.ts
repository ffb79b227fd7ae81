/**
 * Tiles and strips of a TIFF in odd compressions and sizes, and those left to
 * libvips.
 */
import assert from "node:assert/strict";
import sharp from "sharp";
import { openImage } from "../../../../lib/image/open.ts";
import { pixelAt, readAll, TemporaryFolder } from "../../pictures.ts";
import {
  asciiField,
  piecesOf,
  shortField,
  tiffFile,
  type TiffRecipe,
} from "../tiff_files.ts";
import {
  greyAt,
  over,
  refuses,
  type Rgb,
  rgbAt,
  sampleAt,
  shows,
  SIZE,
  softAt,
  softRgb,
} from "../tiff_kinds.ts";

Deno.test("strips of zstd, PackBits and the LZW of before TIFF 5", async () => {
  for (const compression of ["zstd", "packbits", "lzw"] as const) {
    for (const samples of [1, 3]) {
      const recipe = { ...SIZE, value: sampleAt, samples, compression };
      await shows(
        { ...recipe, rowsPerStrip: 5 },
        samples === 1 ? greyAt : rgbAt,
      );
    }
  }
});

/** JPEGs of pieces, by libvips, cut to their part inside the image. */
async function jpegs(
  recipe: TiffRecipe,
  { cut }: { cut: boolean },
): Promise<Uint8Array[]> {
  const { width, height, tile = width } = recipe;
  const across = Math.ceil(width / tile), down = Math.ceil(height / tile);
  return await Promise.all(
    piecesOf(recipe).map(async (piece, i) => {
      const { numbers, rows, channels } = piece;
      const column = i % across, row = Math.floor(i / across) % down;
      const size = {
        width: cut ? Math.min(tile, width - column * tile) : tile,
        height: cut ? Math.min(rows, height - row * tile) : rows,
      };
      // Four channels are passed as inks, which libvips inverts on writing.
      const picture = channels === 4
        ? sharp(tiffFile({
          width: piece.width,
          height: rows,
          samples: 4,
          photometric: 5,
          value: (x, y, c) => 255 - numbers[(y * piece.width + x) * 4 + c]!,
        })).pipelineColourspace("cmyk").toColourspace("cmyk")
        : sharp(Uint8Array.from(numbers), {
          raw: {
            width: piece.width,
            height: rows,
            channels: channels as 1 | 3,
          },
        }).toColourspace(channels === 1 ? "b-w" : "srgb");
      return await picture.extract({ left: 0, top: 0, ...size })
        .jpeg({ quality: 100, chromaSubsampling: "4:4:4" }).toBuffer();
    }),
  );
}

Deno.test("JPEG tiles: planes apart, four channels, and only the image's own pixels", async () => {
  const size = { width: 40, height: 27, tile: 16, value: softAt };
  const base: TiffRecipe = { ...size, compression: "jpeg" };
  const cases: [TiffRecipe, (x: number, y: number) => Rgb][] = [
    [{ ...base, samples: 3, planar: true }, softRgb],
    [
      { ...base, samples: 4, extra: [2] },
      (x, y) => over(softRgb(x, y), softAt(x, y, 3)),
    ],
    [{ ...base, samples: 4, extra: [0] }, softRgb],
    [{ ...base, samples: 3, photometric: 6 }, softRgb],
    [{ ...base }, (x, y) => Array(3).fill(softAt(x, y, 0)) as unknown as Rgb],
    [
      { ...base, samples: 2, extra: [2], planar: true },
      (x, y) =>
        over(
          Array(3).fill(softAt(x, y, 0)) as unknown as Rgb,
          softAt(x, y, 1),
        ),
    ],
  ];
  for (const [recipe, colour] of cases) {
    for (const cut of [false, true]) {
      const encoded = await jpegs(recipe, { cut });
      await shows({ ...recipe, encode: (_, i) => encoded[i]! }, colour, 4);
    }
  }
});

Deno.test("strips of one row are read and decoded together", async () => {
  using folder = new TemporaryFolder();
  for (const compression of ["none", "deflate", "zstd"] as const) {
    const size = { width: 64, height: 3000 };
    const recipe = { ...size, value: sampleAt, samples: 3, rowsPerStrip: 1 };
    const bytes = tiffFile({ ...recipe, compression });
    const image = await openImage(folder.write("a.tif", bytes));
    const pixels = await readAll(image);
    assert.deepEqual(pixelAt(pixels, 63, 2999), [...rgbAt(63, 2999), 255]);
    assert.ok(image.traffic.requests < 30, `${image.traffic.requests}`);
    image.close();
  }
});

Deno.test("a picture in one large strip is decoded once and held", async () => {
  using folder = new TemporaryFolder();
  const recipe: TiffRecipe = {
    width: 2100,
    height: 2100,
    compression: "deflate",
    value: sampleAt,
    fields: [asciiField(270, "x|MPP = 0.5|")],
  };
  const image = await openImage(folder.write("a.tif", tiffFile(recipe)));
  const { requests } = image.traffic;
  const region = { x: 2000, y: 1900, width: 90, height: 90 };
  const pixels = await image.read(region, 0);
  assert.deepEqual(pixelAt(pixels, 50, 60), [...greyAt(2050, 1960), 255]);
  assert.equal(image.traffic.requests, requests);
  assert.equal(image.mpp, 0.5);
  assert.deepEqual(image.warnings, ["grey expanded to RGB"]);
  await assert.rejects(
    openImage(image.source, { maxPixels: 2 ** 20 }),
    /more than the 1048576 px allowed/,
  );
});

Deno.test("libvips decodes pages that blocks lack, and none that is refused for its meaning", async () => {
  const cmyk = { ...SIZE, photometric: 5, value: () => 0 };
  const white = () => [255, 255, 255] as Rgb;
  const warnings = await shows({ ...cmyk, samples: 4 }, white, 2);
  assert.deepEqual(warnings, ["CMYK converted to sRGB"]);
  await refuses(
    { ...cmyk, samples: 5, extra: [0] },
    /as TIFF: CMYK of 5 channels is not supported$/,
  );
  await refuses(
    { ...cmyk, samples: 4, fields: [shortField(332, 2)] },
    /as TIFF: its inks are not CMYK \(InkSet 2\)$/,
  );
  await refuses(
    { ...cmyk, samples: 4, compression: "zstd" },
    /as TIFF: CMYK with compression zstd is not supported$/,
  );
  await refuses(
    { ...cmyk, samples: 4, planar: true, tile: 16 },
    /as TIFF: CMYK in tiles with separate planes is not supported$/,
  );
  const bilevel = { ...SIZE, bits: 1, photometric: 0, value: () => 0 };
  const runs = await sharp(tiffFile(bilevel)).threshold()
    .toColourspace("b-w").tiff({ compression: "ccittfax4", bitdepth: 1 })
    .toBuffer();
  using folder = new TemporaryFolder();
  const image = await openImage(folder.write("fax.tif", runs));
  assert.deepEqual(pixelAt(await readAll(image), 3, 4), [255, 255, 255, 255]);
  for (
    const [recipe, reason] of [
      [{ samples: 3, photometric: 6, bits: 16 }, /YCbCr of 16-bit samples/],
      [{ samples: 3, photometric: 0 }, /3 channels are not grey, RGB/],
      [{ samples: 2, photometric: 2 }, /2 channels are not grey, RGB/],
      [{ photometric: 4 }, /its pixels are a mask/],
      [{ photometric: 32_803 }, /its pixels are a colour filter array/],
    ] as const
  ) await refuses({ ...SIZE, value: sampleAt, ...recipe }, reason);
});

/** A file with the tags of its first page changed. */
function renamed(
  recipe: TiffRecipe,
  tags: Record<number, number>,
): Uint8Array {
  const bytes = tiffFile(recipe);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const first = view.getUint32(4, true);
  for (let i = 0; i < view.getUint16(first, true); i++) {
    const entry = first + 2 + 12 * i;
    const tag = view.getUint16(entry, true);
    view.setUint16(entry, tags[tag] ?? tag, true);
  }
  return bytes;
}

Deno.test("tables of pieces under the names of strips, or without lengths", async () => {
  using folder = new TemporaryFolder();
  const PRIVATE = 65_000;
  const base = { ...SIZE, value: sampleAt, samples: 3 };
  for (const compression of ["none", "deflate"] as const) {
    for (
      const bytes of [
        renamed({ ...base, tile: 16, compression }, { 324: 273, 325: 279 }),
        renamed({ ...base, tile: 16, compression }, { 325: PRIVATE }),
        renamed({ ...base, rowsPerStrip: 8, compression }, { 279: PRIVATE }),
      ]
    ) {
      const image = await openImage(folder.write("a.tif", bytes));
      const pixels = await readAll(image);
      for (const [x, y] of [[0, 0], [40, 36], [17, 20]] as const) {
        assert.deepEqual(pixelAt(pixels, x, y), [...rgbAt(x, y), 255]);
      }
      image.close();
    }
  }
});
