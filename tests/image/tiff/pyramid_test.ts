/**
 * TIFF pyramids: the same picture in every layout and compression (fixtures/
 * tiff), and real slides and GeoTIFFs, compared with libvips.
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { fileURLToPath } from "node:url";
import { deflateSync, zstdCompressSync } from "node:zlib";
import sharp, { type SharpOptions } from "sharp";
import { randomKey, RandomStream } from "../../../kernels/random.ts";
import { ImageError } from "../../../lib/errors.ts";
import { BlockCache } from "../../../lib/image/pyramids/block_cache.ts";
import { openFile } from "../../../lib/image/bytes/file.ts";
import type { Region } from "../../../lib/image/geometry.ts";
import { openImage } from "../../../lib/image/open.ts";
import type { Pyramid } from "../../../lib/image/pyramid.ts";
import {
  encodeDirectory,
  encodeHeader,
  HEADER_BYTES,
  TYPE,
} from "../../../lib/image/tiff/directory.ts";
import { readTiffImage } from "../../../lib/image/tiff/levels.ts";
import { TiffFile } from "../../../lib/image/tiff/parser.ts";
import { tiffPyramid } from "../../../lib/image/tiff/pyramid.ts";
import { sharedData } from "../../shared_data.ts";
import {
  asymmetricPicture,
  readAll,
  TemporaryFolder,
  toSharp,
} from "../pictures.ts";

function fixture(name: string): string {
  return fileURLToPath(
    new URL(`../../../fixtures/tiff/${name}`, import.meta.url),
  );
}

/** A file read in blocks, however small it is. */
async function openBlocks(path: string): Promise<Pyramid> {
  const source = await openFile(path);
  const file = await TiffFile.open(source);
  const image = await readTiffImage(file, await file.directories());
  return tiffPyramid(source, image, new BlockCache(2 ** 22));
}

/** RGB of a region of a level; the alpha of all of it must be 255. */
async function readRgb(
  image: Pyramid,
  level = 0,
  region: Region = { x: 0, y: 0, ...sizeOf(image, level) },
): Promise<Uint8Array> {
  const { data } = await image.read(region, level);
  const rgb = new Uint8Array(region.width * region.height * 3);
  for (let from = 0, to = 0; from < data.length; from += 4, to += 3) {
    rgb.set(data.subarray(from, from + 3), to);
    assert.equal(data[from + 3], 255);
  }
  return rgb;
}

function sizeOf(image: Pyramid, level: number) {
  const { width, height } = image.levels[level]!;
  return { width, height };
}

/** The same as libvips reads it: sRGB, over white. */
async function vipsRgb(
  path: string,
  options: SharpOptions,
  { x, y, width, height }: Region,
): Promise<Uint8Array> {
  const picture = sharp(path, {
    ...options,
    ignoreIcc: true,
    limitInputPixels: false,
  });
  const { data, info } = await picture.autoOrient()
    .extract({ left: x, top: y, width, height })
    .toColourspace("srgb").flatten({ background: "white" })
    .raw({ depth: "uchar" }).toBuffer({ resolveWithObject: true });
  assert.equal(info.channels, 3);
  return new Uint8Array(data);
}

function greatestDifference(a: Uint8Array, b: Uint8Array): number {
  assert.equal(a.length, b.length);
  return a.reduce((most, v, i) => Math.max(most, Math.abs(v - b[i]!)), 0);
}

const SIZE = { width: 67, height: 45 };
const picture = await vipsRgb(fixture("pages_none.tif"), {}, {
  x: 0,
  y: 0,
  ...SIZE,
});

for (
  const [name, tolerance] of [
    ["pages_none.tif", 0],
    ["pages_lzw.tif", 0],
    ["pages_deflate.tif", 0],
    ["pages_packbits.tif", 0],
    ["pages_zstd.tif", 0],
    ["pages_webp.tif", 0],
    ["predictor.tif", 0],
    ["sub_images.tif", 0],
    ["strips.tif", 0],
    ["one_strip.tif", 0],
    ["planes_big_endian.tif", 0],
    ["planes16_big_endian.tif", 0],
    ["jpeg2000_rgb.tif", 0],
    ["jpeg2000_ycbcr.tif", 2],
    ["slide.ome.tif", 0],
    ["aperio.svs", 0],
    ["rgb16.tif", 0],
  ] as const
) {
  Deno.test(`${name}: the picture, whole and in parts`, async () => {
    const image = await openBlocks(fixture(name));
    const whole = await readRgb(image);
    assert.ok(greatestDifference(whole, picture) <= tolerance);
    const part = { x: 13, y: 9, width: 40, height: 30 };
    const rows = Array.from({ length: part.height }, (_, row) => {
      const from = ((part.y + row) * SIZE.width + part.x) * 3;
      return [...whole.subarray(from, from + part.width * 3)];
    });
    assert.deepEqual([...await readRgb(image, 0, part)], rows.flat());
    image.close();
  });
}

Deno.test("levels of pages and of sub-images are libvips's", async () => {
  const pages = [0, 1, 2].map((page): SharpOptions => ({ page }));
  const subImages = [-1, 0, 1].map((subifd): SharpOptions => ({
    tiff: { subifd },
  }));
  const cases: [string, SharpOptions[]][] = [
    ...["none", "lzw", "deflate", "packbits", "jpeg", "webp"].map((
      name,
    ): [string, SharpOptions[]] => [`pages_${name}.tif`, pages]),
    ["predictor.tif", pages],
    ["jpeg_rgb.tif", pages],
    ["grey.tif", pages],
    ["grey_jpeg.tif", pages],
    ["rgb16.tif", pages],
    ["alpha.tif", pages],
    ["sub_images.tif", subImages],
  ];
  for (const [name, levels] of cases) {
    const image = await openBlocks(fixture(name));
    assert.deepEqual(image.levels, [
      { ...SIZE, downsample: 1 },
      { width: 33, height: 22, downsample: (67 / 33 + 45 / 22) / 2 },
      { width: 16, height: 11, downsample: (67 / 16 + 45 / 11) / 2 },
    ], name);
    for (const [level, options] of levels.entries()) {
      const all = { x: 0, y: 0, ...sizeOf(image, level) };
      const expected = await vipsRgb(fixture(name), options, all);
      const difference = greatestDifference(
        await readRgb(image, level),
        expected,
      );
      assert.ok(difference <= (/jpeg|alpha/.test(name) ? 2 : 0), name);
    }
    image.close();
  }
});

Deno.test("the levels that sharp does not read are the same as another file's", async () => {
  const deflated = await openBlocks(fixture("pages_deflate.tif"));
  const zstd = await openBlocks(fixture("pages_zstd.tif"));
  for (const level of [1, 2]) {
    assert.deepEqual(
      await readRgb(zstd, level),
      await readRgb(deflated, level),
    );
  }
});

Deno.test("palettes, white-is-zero grey and grey become RGB, and say so", async () => {
  const red = picture.filter((_, i) => i % 3 === 0);
  const shown = async (name: string) => {
    const image = await openBlocks(fixture(name));
    return { warnings: image.warnings, rgb: await readRgb(image) };
  };
  const palette = await shown("palette.tif");
  assert.deepEqual(palette.warnings, ["palette expanded to RGB"]);
  assert.deepEqual(
    [...palette.rgb],
    [...red].flatMap((i) => [i, i * 3 % 256, i * 7 % 256]),
  );
  const inverted = await shown("white_is_zero.tif");
  assert.deepEqual(inverted.warnings, ["grey expanded to RGB"]);
  assert.deepEqual(
    [...inverted.rgb],
    [...red].flatMap((value) => Array(3).fill(255 - value)),
  );
  const { warnings } = await shown("alpha.tif");
  assert.deepEqual(warnings, ["has alpha: composited over white"]);
  assert.deepEqual((await shown("rgb16.tif")).warnings, [
    "16-bit samples scaled to 8",
  ]);
});

Deno.test("an Aperio slide: levels, not its label, macro and thumbnail", async () => {
  const image = await openImage(fixture("aperio.svs"));
  assert.deepEqual(
    image.levels.map(({ width, height }) => [width, height]),
    [[67, 45], [34, 23]],
  );
  assert.equal(image.mpp, 0.499);
  assert.equal(image.magnification, 20);
  assert.deepEqual(image.warnings, []);
  const half = await readRgb(image, 1);
  assert.deepEqual([...half.subarray(0, 6)], [
    ...picture.subarray(0, 3),
    ...picture.subarray(6, 9), // every second px
  ]);
});

Deno.test("OME-TIFF says micrometres per px", async () => {
  const image = await openImage(fixture("slide.ome.tif"));
  assert.equal(image.mpp, 0.25);
});

Deno.test("pages that cannot be decoded are refused by name", async () => {
  await assert.rejects(
    openImage(fixture("lzma.tif")),
    /as TIFF: compression LZMA is not supported$/,
  );
});

Deno.test("JPEG 2000 with subsampled colours is refused, not misread", async () => {
  using folder = new TemporaryFolder();
  const bytes = await Deno.readFile(fixture("jpeg2000_rgb.tif"));
  for (let at = 0; at + 50 < bytes.length; at++) {
    // Start, then the segment with the sizes: the second component's step.
    const isStart = bytes[at] === 0xff && bytes[at + 1] === 0x4f &&
      bytes[at + 2] === 0xff && bytes[at + 3] === 0x51;
    if (isStart) bytes[at + 42 + 4] = 2;
  }
  const image = await openImage(folder.write("a.tif", bytes));
  await assert.rejects(readRgb(image), /with subsampled chroma is not supp/);
  image.close();
});

Deno.test("outside the image is zero, at every level", async () => {
  const image = await openImage(fixture("pages_deflate.tif"));
  for (const [level, { width, height }] of image.levels.entries()) {
    const region = { x: -3, y: -2, width: width + 5, height: height + 4 };
    const { data } = await image.read(region, level);
    const inside = await readRgb(image, level);
    for (let y = 0, i = 0; y < region.height; y++) {
      for (let x = 0; x < region.width; x++, i += 4) {
        const column = x - 3, row = y - 2;
        const isInside = column >= 0 && row >= 0 && column < width &&
          row < height;
        const from = (row * width + column) * 3;
        assert.deepEqual(
          [...data.subarray(i, i + 4)],
          isInside ? [...inside.subarray(from, from + 3), 255] : [0, 0, 0, 0],
        );
      }
    }
  }
  await assert.rejects(image.read({ x: 0, y: 0, ...SIZE }, 3), RangeError);
  image.close();
  await assert.rejects(image.read({ x: 0, y: 0, ...SIZE }, 0), /was closed/);
});

Deno.test("a slide that is cut is refused where it is cut", async () => {
  const path = await Deno.makeTempFile();
  try {
    const bytes = await Deno.readFile(fixture("pages_deflate.tif"));
    for (const share of [0.2, 0.5]) {
      await Deno.writeFile(path, bytes.subarray(0, bytes.length * share));
      await assert.rejects(async () => {
        const image = await openImage(path);
        for (const level of image.levels.keys()) await readRgb(image, level);
      }, (error: Error) => {
        assert.equal(error.name, "ImageError");
        assert.match(error.message, /damaged or truncated/);
        return error.message.includes(path);
      });
    }
    // Only the last of its levels is behind the cut.
    await Deno.writeFile(path, bytes.subarray(0, bytes.length * 0.97));
    const image = await openImage(path);
    assert.equal(image.levels.length, 2);
    assert.match(
      image.warnings[0]!,
      /^pages after the first 2 skipped: .*cated/,
    );
    assert.deepEqual(await readRgb(image), picture);
    image.close();
  } finally {
    await Deno.remove(path);
  }
});

Deno.test("any byte of a file may be wrong: pixels or a named error", async () => {
  const random = new RandomStream(randomKey(4));
  using folder = new TemporaryFolder();
  for (const { name } of Deno.readDirSync(fixture("."))) {
    if (!/\.(tif|svs)$/.test(name)) continue;
    const whole = await Deno.readFile(fixture(name));
    for (let round = 0; round < 8; round++) {
      const bytes = whole.slice();
      for (let i = 0; i < 3; i++) {
        const end = random.below(2) * (bytes.length - 1000); // directories
        bytes[end + random.below(1000)] = random.below(256);
      }
      const path = folder.write(name, bytes);
      try {
        const image = await openImage(path);
        for (const [level, { width, height }] of image.levels.entries()) {
          const region = { x: 0, y: 0, width, height };
          if (width * height < 2 ** 22) await image.read(region, level);
        }
        image.close();
      } catch (error) {
        if (!(error instanceof ImageError)) throw error;
        assert.ok(error.message.includes(path), error.message);
      }
    }
  }
});

Deno.test("a few bytes that say they are an immense image are refused", async () => {
  using folder = new TemporaryFolder();
  const long = (tag: number, value: number) => ({
    tag,
    type: TYPE.long,
    values: [value],
  });
  const directory = encodeDirectory([
    long(256, 2 ** 24),
    long(257, 2 ** 31 - 1),
    long(258, 8),
    long(262, 1),
    long(273, 8), // one strip without any data
    long(279, 2 ** 31),
  ], { at: HEADER_BYTES, big: false, last: true });
  const path = folder.write(
    "a.tif",
    Buffer.concat([encodeHeader(HEADER_BYTES, false), directory]),
  );
  await assert.rejects(openImage(path), {
    name: "ImageError",
    message:
      /a\.tif as TIFF: its header says 16777216 x 2147483647 px; a side may have at most 2097152 px$/,
  });
});

Deno.test("a table that is longer than its file is refused", async () => {
  using folder = new TemporaryFolder();
  const bytes = await Deno.readFile(fixture("planes_big_endian.tif"));
  const view = new DataView(bytes.buffer);
  const first = view.getUint32(4);
  for (let i = 0; i < view.getUint16(first); i++) {
    const entry = first + 2 + 12 * i;
    if (view.getUint16(entry) === 324) view.setUint32(entry + 4, 2 ** 31);
  }
  await assert.rejects(
    openImage(folder.write("a.tif", bytes)),
    /it is damaged or truncated \(it ends too early\)/,
  );
});

/** A grey file of 32 x 16 px in two tiles of 16, whose bytes are `tiles`. */
function twoTiles(tiles: readonly Uint8Array[], compression: number) {
  const tags: [tag: number, type: number, ...values: number[]][] = [
    [256, TYPE.long, 32],
    [257, TYPE.long, 16],
    [258, TYPE.short, 8],
    [259, TYPE.short, compression],
    [262, TYPE.short, 1],
    [322, TYPE.short, 16],
    [323, TYPE.short, 16],
  ];
  let at = HEADER_BYTES;
  const offsets = tiles.map(({ length }) => {
    const offset = length === 0 ? 0 : at; // an omitted tile
    at += length;
    return offset;
  });
  tags.push([324, TYPE.long, ...offsets]);
  tags.push([325, TYPE.long, ...tiles.map(({ length }) => length)]);
  const directory = encodeDirectory(
    tags.map(([tag, type, ...values]) => ({ tag, type, values })),
    { at, big: false, last: true },
  );
  return Buffer.concat([encodeHeader(at, false), ...tiles, directory]);
}

Deno.test("a block that the file omits is black", async () => {
  using folder = new TemporaryFolder();
  const tiles = [new Uint8Array(256).fill(77), new Uint8Array(0)];
  const image = await openImage(folder.write("a", twoTiles(tiles, 1)));
  const rgb = await readRgb(image);
  for (let i = 0; i < rgb.length; i++) {
    assert.equal(rgb[i], Math.floor(i / 3) % 32 < 16 ? 77 : 0);
  }
  image.close();
});

Deno.test("a block that unpacks to more than it may is refused", async () => {
  using folder = new TemporaryFolder();
  const bomb = new Uint8Array(2 ** 25);
  const cases: [Uint8Array, number][] = [
    [deflateSync(bomb), 8],
    [zstdCompressSync(bomb), 50000],
  ];
  for (const [tile, compression] of cases) {
    const path = folder.write("a", twoTiles([tile, tile], compression));
    const image = await openImage(path);
    await assert.rejects(readRgb(image), /block 0 .* damaged or truncated/);
    image.close();
  }
});

Deno.test("an image opened twice shares its blocks in one cache", async () => {
  const cache = new BlockCache(2 ** 22);
  const first = await openImage(fixture("pages_deflate.tif"), { cache });
  await readRgb(first);
  const second = await openImage(fixture("pages_deflate.tif"), { cache });
  const before = second.traffic.bytes;
  assert.deepEqual(await readRgb(second), picture);
  assert.equal(second.traffic.bytes, before);
});

const REAL_FILES = [
  ["wsi", "CMU-1-Small-Region.svs"],
  ["wsi", "small.svs"],
  ["wsi", "boxes.tiff"],
  ["wsi", "cells.ome.tif"],
  ["wsi", "test_orient1.tif"],
  ["wsi", "test_orient3.tif"],
  ["wsi", "test_orient6.tif"],
  ["cog", "TCI.tif"],
  ["cog", "cog_rgb.tif"],
  ["cog", "cog_uint16.tif"],
  ["cog", "cog_uint8_rgba.tif"],
  ["cog", "cog_world.tif"],
] as const;
const MAX_READ = 2048; // px

for (const [folder, name] of REAL_FILES) {
  const path = sharedData(folder, name);
  Deno.test({
    name: `${folder}/${name}: every level is libvips's`,
    ignore: path === undefined,
    fn: async () => {
      const image = await openBlocks(path!);
      for (const [page, { width, height }] of image.levels.entries()) {
        const region = {
          x: Math.floor(Math.max(0, width - MAX_READ) / 2),
          y: Math.floor(Math.max(0, height - MAX_READ) / 2),
          width: Math.min(width, MAX_READ),
          height: Math.min(height, MAX_READ),
        };
        assert.deepEqual(
          await readRgb(image, page, region),
          await vipsRgb(path!, { page }, region),
        );
      }
      image.close();
    },
  });
}

const geotiff = sharedData("cog", "cog_rgb.tif");
Deno.test({
  name: "a GeoTIFF says where it lies",
  ignore: geotiff === undefined,
  fn: async () => {
    // gdalinfo: NAD83 / UTM zone 13N, origin (519467.496, 4311669.767).
    assert.deepEqual((await openImage(geotiff!)).georeference, {
      crs: "EPSG:26913",
      transform: [
        0.14981552941953233,
        0,
        519467.4957275815,
        0,
        -0.1499978958645129,
        4311669.7657353515,
      ],
    });
  },
});

const BAD_FILES: [name: string, reason: RegExp][] = [
  ["broken.svs", /begins with the signature of none of PNG/],
  ["unopenable.tiff", /compression number 52479 is not supported/],
  ["unreadable.svs", /block 0 of level 0: it is damaged or truncated/],
];
for (const [name, reason] of BAD_FILES) {
  const path = sharedData("wsi", name);
  Deno.test({
    name: `wsi/${name} is refused by name`,
    ignore: path === undefined,
    fn: async () => {
      await assert.rejects(async () => {
        await readRgb(await openImage(path!));
      }, reason);
    },
  });
}

Deno.test("a predictor means nothing without the compressions it is of", async () => {
  using folder = new TemporaryFolder();
  const bytes = await toSharp(asymmetricPicture(40, 30)).removeAlpha()
    .tiff({ compression: "none", tile: true, tileWidth: 16, tileHeight: 16 })
    .toBuffer();
  const plain = await openImage(folder.write("plain.tif", bytes));
  // The entry of the resolution's unit is turned into a predictor.
  const unit = bytes.indexOf(Uint8Array.of(296 & 255, 1, 3, 0, 1, 0, 0, 0));
  assert.ok(unit > 0);
  bytes.set([317 & 255], unit);
  bytes.set([2], unit + 8);
  const image = await openImage(folder.write("predictor.tif", bytes));
  assert.deepEqual(await readAll(image), await readAll(plain));
});
