import assert from "node:assert/strict";
import { crc32 } from "node:zlib";
import sharp from "sharp";
import { ImageError } from "../../lib/errors.ts";
import { openImage } from "../../lib/image/open.ts";
import { encodePng } from "../../lib/image/formats/png.ts";
import { RasterPyramid } from "../../lib/image/pyramids/raster.ts";
import { sharedData } from "../shared_data.ts";
import {
  asymmetricPicture,
  pixelAt,
  readAll,
  TemporaryFolder,
  toSharp,
} from "./pictures.ts";

const picture = () => toSharp(asymmetricPicture(24, 16)).removeAlpha();
const red = () => flat("#c03020"); // 192, 48, 32

function flat(background: string) {
  return sharp({ create: { width: 4, height: 2, channels: 3, background } });
}

/** Opens `bytes` as a file, and returns it with its first pixel. */
async function openBytes(bytes: Uint8Array, name = "image") {
  using folder = new TemporaryFolder();
  const image = await openImage(folder.write(name, bytes));
  const pixels = await readAll(image);
  return { image, pixels, first: pixelAt(pixels, 0, 0) };
}

Deno.test("openImage reads lossless formats exactly, whatever the file is called", async () => {
  const formats = {
    png: picture().png(),
    interlaced: picture().png({ progressive: true }),
    webp: picture().webp({ lossless: true }),
    tiff: picture().tiff({ compression: "none" }),
    tiled: picture().tiff({ compression: "lzw", tile: true }),
    bigTiff: picture().tiff({ compression: "deflate", bigtiff: true }),
  };
  for (const [format, encoder] of Object.entries(formats)) {
    const bytes = await encoder.toBuffer();
    const { image, pixels } = await openBytes(bytes, "misnamed.jpg");
    assert.deepEqual(pixels, asymmetricPicture(24, 16), format);
    assert.deepEqual(image.levels, [{ width: 24, height: 16, downsample: 1 }]);
    assert.deepEqual(image.warnings, [], format);
    assert.ok(image.traffic.bytes > bytes.length, format); // its head twice
    assert.ok(image.traffic.requests >= 2, format);
    assert.equal(pixels.data.byteOffset % 4, 0);
  }
});

Deno.test("openImage reads JPEG, progressive too", async () => {
  for (const progressive of [false, true]) {
    const bytes = await red().jpeg({ quality: 100, progressive }).toBuffer();
    const { image, first } = await openBytes(bytes);
    assertNear(first, [192, 48, 32, 255], 3);
    assert.deepEqual(image.warnings, []);
  }
});

Deno.test("openImage names its conversions", async () => {
  const grey16 = sharp(new Uint16Array(8).fill(0x12ff), {
    raw: { width: 4, height: 2, channels: 1 },
  }).toColourspace("grey16");
  const rgb16 = sharp(new Uint16Array(24).fill(0x12ff), {
    raw: { width: 4, height: 2, channels: 3 },
  }).toColourspace("rgb16");
  const pages = [
    await red().png().toBuffer(),
    await flat("blue").png().toBuffer(),
  ];
  const GREY = "grey expanded to RGB", DEEP = "16-bit samples scaled to 8";
  const cases = [
    [
      red().greyscale().toColourspace("b-w").png(),
      [GREY],
      [102, 102, 102, 255],
    ],
    [
      red().png({ palette: true }),
      ["palette expanded to RGB"],
      [192, 48, 32, 255],
    ],
    [grey16.clone().png(), [GREY, DEEP], [0x12, 0x12, 0x12, 255]],
    [grey16.clone().tiff({ compression: "lzw" }), [GREY, DEEP], [
      0x12,
      0x12,
      0x12,
      255,
    ]],
    [rgb16.clone().png(), [DEEP], [0x12, 0x12, 0x12, 255]],
    [
      red().toColourspace("lab").tiff({ compression: "none" }),
      ["Lab converted to sRGB"],
      [192, 48, 32, 255],
    ],
    [
      sharp(pages, { join: { animated: true } }).webp({ lossless: true }),
      ["first of 2 pages read"],
      [192, 48, 32, 255],
    ],
    [
      sharp(pages, { join: { animated: true } }).tiff({ compression: "none" }),
      ["first of 2 pages read"],
      [192, 48, 32, 255],
    ],
    [
      red().withIccProfile("p3").png(),
      ["colour profile not applied"],
      undefined,
    ],
  ] as const;
  for (const [encoder, warnings, colour] of cases) {
    const { image, first } = await openBytes(await encoder.toBuffer());
    assert.deepEqual(image.warnings, warnings);
    if (colour) assertNear(first, colour, 1);
  }

  const cmyk = red().toColourspace("cmyk").jpeg({ quality: 100 });
  const { image, first } = await openBytes(await cmyk.toBuffer());
  assert.deepEqual(image.warnings, ["CMYK converted to sRGB"]);
  assertNear(first, [192, 48, 32, 255], 30); // through the inks and back
});

Deno.test("openImage lays transparent pixels over white, and says so", async () => {
  const half = await sharp(new Uint8Array([100, 200, 50, 128]), {
    raw: { width: 1, height: 1, channels: 4 },
  }).png().toBuffer();
  const { image, first } = await openBytes(half);
  assert.deepEqual(first, [177, 227, 152, 255]); // 100 * 128 / 255 + 127
  assert.deepEqual(image.warnings, ["has alpha: composited over white"]);

  const grey = sharp(new Uint8Array([100, 0]), {
    raw: { width: 1, height: 1, channels: 2 },
  }).toColourspace("b-w").png();
  assert.deepEqual((await openBytes(await grey.toBuffer())).first, [
    255,
    255,
    255,
    255,
  ]);

  const opaque = await red().ensureAlpha().png().toBuffer();
  assert.deepEqual((await openBytes(opaque)).image.warnings, []);
});

Deno.test("a name that ends in brackets is a name", async () => {
  for (const format of ["png", "jpeg"] as const) {
    const bytes = await red().toFormat(format).toBuffer();
    const { first } = await openBytes(bytes, "plain[1]");
    assertNear(first, [192, 48, 32, 255], 3);
  }
});

Deno.test("read: zero outside, the held pixels for the whole image", async () => {
  const held = asymmetricPicture();
  const image = new RasterPyramid("memory", { pixels: held, warnings: [] });
  assert.equal((await readAll(image)).data, held.data);

  const part = await image.read({ x: 3, y: -1, width: 4, height: 3 }, 0);
  for (let y = 0; y < 3; y++) {
    for (let x = 0; x < 4; x++) {
      const inside = y > 0 && x < 2;
      assert.deepEqual(
        pixelAt(part, x, y),
        inside ? pixelAt(held, x + 3, y - 1) : [0, 0, 0, 0],
      );
    }
  }
  for (const [x, y] of [[5, 0], [-9, 0], [0, 3], [0, -4], [99, 99]]) {
    const { data } = await image.read(
      { x: x!, y: y!, width: 4, height: 4 },
      0,
    );
    assert.ok(data.length === 64 && data.every((byte) => byte === 0));
  }
  const around = await image.read({ x: -1, y: -1, width: 7, height: 5 }, 0);
  assert.deepEqual(pixelAt(around, 5, 3), pixelAt(held, 4, 2)); // last row, last column
  await assert.rejects(
    image.read({ x: 0, y: 0, width: 1, height: 1 }, 1),
    RangeError,
  );
  image.close();
  await assert.rejects(readAll(image), /closed/);
});

Deno.test("openImage refuses other files, by name and reason", async () => {
  using folder = new TemporaryFolder();
  const gif = folder.write("a.png", new TextEncoder().encode("GIF89a..."));
  const cases: [path: string, reason: RegExp][] = [
    ["/no/such.png", /no such file/],
    [new URL(".", import.meta.url).pathname, /it is a folder/],
    ["/dev/null", /it is not a file/],
    [folder.write("empty.png", new Uint8Array(0)), /it is empty/],
    [gif, /none of PNG, JPEG, WebP, TIFF, BMP/],
    [
      folder.write("b", new Uint8Array([0x89])),
      /begins with the signature of none/,
    ],
    [
      folder.write("svg", new TextEncoder().encode("<svg/>")),
      /none of PNG/,
    ],
  ];
  for (const [path, reason] of cases) {
    await assertRefused(path, reason);
  }
});

Deno.test("openImage refuses a long side before it decodes", async () => {
  using folder = new TemporaryFolder();
  const png = await flat("red").png().toBuffer();
  const side = 2 ** 21 + 1;
  for (
    const [at, size] of [[16, `${side} x 2`], [20, `4 x ${side}`]] as const
  ) {
    const wide = new Uint8Array(png); // of which most pixels are missing
    const view = new DataView(wide.buffer, wide.byteOffset);
    view.setUint32(at, side);
    view.setUint32(29, crc32(wide.subarray(12, 29)));
    await assertRefused(
      folder.write(`${at}.png`, wide),
      new RegExp(`header says ${size} px; a side may have at most 2097152 px`),
    );
  }
  const bmp = new Uint8Array(54);
  bmp.set([0x42, 0x4d]);
  const view = new DataView(bmp.buffer);
  view.setUint32(10, 54, true);
  view.setUint32(14, 40, true);
  view.setInt32(18, side, true);
  view.setInt32(22, 1, true);
  view.setUint16(26, 1, true);
  view.setUint16(28, 24, true);
  await assertRefused(
    folder.write("wide.bmp", bmp),
    /header says 2097153 x 1 px; a side may have/,
  );
});

Deno.test("openImage holds a wide strip, of which a pyramid would take more", async () => {
  using folder = new TemporaryFolder();
  const strip = await sharp({
    create: { width: 70_000, height: 8, channels: 3, background: "red" },
  }).png().toBuffer();
  const path = folder.write("strip.png", strip);
  const image = await openImage(path, { heldPixels: 1000 });
  assert.deepEqual([...image.warnings], []);
  image.close();
});

Deno.test("openImage refuses truncated files of every format", async () => {
  using folder = new TemporaryFolder();
  const noisy = () => {
    const data = new Uint8Array(64 * 64 * 3).map((_, i) => (i * i * 31) >> 3);
    return sharp(data, { raw: { width: 64, height: 64, channels: 3 } });
  };
  const formats = {
    png: noisy().png(),
    jpeg: noisy().jpeg(),
    progressive: noisy().jpeg({ progressive: true }),
    webp: noisy().webp(),
    tiff: noisy().tiff({ compression: "lzw" }),
    plainTiff: noisy().tiff({ compression: "none" }),
  };
  for (const [format, encoder] of Object.entries(formats)) {
    const bytes = await encoder.toBuffer();
    for (const share of [0.01, 0.3, 0.6, 0.9]) {
      const cut = bytes.subarray(0, Math.max(14, bytes.length * share));
      await assertRefused(folder.write(format, cut), /damaged or truncated/);
    }
  }
});

Deno.test("openImage refuses too many pixels by the header alone", async () => {
  using folder = new TemporaryFolder();
  const path = folder.write("small.png", await picture().png().toBuffer());
  await assert.rejects(
    openImage(path, { maxPixels: 383 }),
    /it has 24 x 16 = 384 px, more than the 383 px allowed/,
  );
  await openImage(path, { maxPixels: 384 });
  await assertRefused(
    folder.write("bomb.png", hugePng()),
    /60000 x 60000 = 3600000000 px/,
  );

  // A hole of 4 GiB behind a good start: it must not be read.
  const lab = picture().toColourspace("lab").tiff({ compression: "none" });
  const whole = folder.write("whole.tif", await lab.toBuffer());
  Deno.truncateSync(whole, 2 ** 32);
  await assertRefused(whole, /4294967296 bytes, too many/);
  const plain = picture().tiff({ compression: "none" });
  const slide = folder.write("slide.tif", await plain.toBuffer());
  Deno.truncateSync(slide, 2 ** 32);
  const image = await openImage(slide);
  assert.deepEqual(await readAll(image), asymmetricPicture(24, 16));
  assert.ok(image.traffic.bytes < 2 ** 20);
  image.close();
});

Deno.test("openImage: an aborted signal ends it with the signal's reason", async () => {
  using folder = new TemporaryFolder();
  const path = folder.write("small.png", await picture().png().toBuffer());
  const controller = new AbortController();
  const opening = openImage(path, { signal: controller.signal });
  controller.abort(new Error("enough"));
  await assert.rejects(opening, /enough/);
  await assert.rejects(
    openImage(path, { signal: controller.signal }),
    /enough/,
  );

  const image = await openImage(path);
  const all = { x: 0, y: 0, width: 24, height: 16 };
  await assert.rejects(image.read(all, 0, controller.signal), /enough/);
});

Deno.test("encodePng keeps every pixel, the zeros outside an image included", async () => {
  const image = new RasterPyramid("memory", {
    pixels: asymmetricPicture(),
    warnings: [],
  });
  const pixels = await image.read({ x: -2, y: -2, width: 9, height: 9 }, 0);
  const decoded = await sharp(await encodePng(pixels)).raw().toBuffer();
  assert.deepEqual(new Uint8Array(decoded), pixels.data);
});

const suite = sharedData("hostile", "pngsuite");
Deno.test({
  name: "PngSuite: every kind of PNG, and damaged ones refused",
  ignore: suite === undefined,
  fn: async () => {
    for await (const { name } of Deno.readDir(suite!)) {
      if (!/^\w{8}\.png$/.test(name) || name === "PngSuite.png") continue;
      const path = `${suite}/${name}`;
      if (name.startsWith("x")) {
        await assertRefused(path, /damaged|none of PNG/);
        continue;
      }
      // Name: what it tests, interlaced or not, colour type, kind, bits.
      const { warnings } = await openImage(path);
      const [, kind, bits] = /(\d[cgpa])(\d\d)\.png$/.exec(name)!;
      assert.equal(
        warnings.includes("16-bit samples scaled to 8"),
        bits === "16",
      );
      assert.equal(
        warnings.includes("palette expanded to RGB"),
        kind!.endsWith("p"),
        name,
      );
      assert.equal(
        warnings.includes("grey expanded to RGB"),
        kind === "0g" || kind === "4a",
        name,
      );
    }
  },
});

const oriented = sharedData("wsi", "test_orient1.tif");
Deno.test({
  name: "TIFF orientation tags of files made elsewhere are applied",
  ignore: oriented === undefined,
  fn: async () => {
    const upright = await openImage(oriented!);
    const half = await openImage(sharedData("wsi", "test_orient3.tif")!);
    const quarter = await openImage(sharedData("wsi", "test_orient6.tif")!);
    const { width, height } = upright;
    assert.deepEqual([half.width, half.height], [width, height]);
    assert.deepEqual([quarter.width, quarter.height], [height, width]);
    // The same rows are stored in all three.
    const [first, third, sixth] = await Promise.all(
      [upright, half, quarter].map(readAll),
    );
    for (const [x, y] of [[0, 0], [7, 90], [width - 1, 3], [60, height - 1]]) {
      const stored = pixelAt(first!, x!, y!);
      assert.deepEqual(
        pixelAt(third!, width - 1 - x!, height - 1 - y!),
        stored,
      );
      assert.deepEqual(pixelAt(sixth!, height - 1 - y!, x!), stored);
    }
  },
});

const scenes = sharedData("gtsdb", "images");
Deno.test({
  name: "road scenes open without a warning",
  ignore: scenes === undefined,
  fn: async () => {
    for (const { name } of [...Deno.readDirSync(scenes!)].slice(0, 5)) {
      const { width, height, warnings } = await openImage(`${scenes}/${name}`);
      assert.deepEqual([width, height, warnings], [1360, 800, []]);
    }
  },
});

/** Asserts a one-line ImageError that names the file and gives the reason. */
async function assertRefused(path: string, reason: RegExp): Promise<void> {
  await assert.rejects(openImage(path), (error: unknown) => {
    assert.ok(error instanceof ImageError);
    assert.ok(error.message.startsWith(`Cannot open ${path} as `));
    assert.match(error.message, reason);
    assert.doesNotMatch(error.message, /\n/);
    return true;
  });
}

function assertNear(
  actual: readonly number[],
  expected: readonly number[],
  tolerance: number,
): void {
  const near = actual.every((value, i) =>
    Math.abs(value - expected[i]!) <= tolerance
  );
  assert.ok(near, `${actual} is not ${expected} +- ${tolerance}`);
}

/** A PNG of some bytes whose good header says 60000 x 60000 px. */
function hugePng(): Uint8Array {
  const header = new DataView(new ArrayBuffer(13));
  header.setUint32(0, 60_000);
  header.setUint32(4, 60_000);
  header.setUint8(8, 8); // bits a sample
  header.setUint8(9, 2); // RGB
  return new Uint8Array([
    ...[0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a],
    ...chunk("IHDR", new Uint8Array(header.buffer)),
    ...chunk("IDAT", new Uint8Array(8)),
    ...chunk("IEND", new Uint8Array(0)),
  ]);
}

function chunk(type: string, data: Uint8Array): Uint8Array {
  const body = new Uint8Array([...new TextEncoder().encode(type), ...data]);
  const framed = new DataView(new ArrayBuffer(body.length + 8));
  framed.setUint32(0, data.length);
  new Uint8Array(framed.buffer).set(body, 4);
  framed.setUint32(4 + body.length, crc32(body));
  return new Uint8Array(framed.buffer);
}
