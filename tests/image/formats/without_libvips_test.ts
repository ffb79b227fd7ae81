/**
 * Decoding in JavaScript, used if libvips does not load, compared with libvips:
 * PNG to the same pixels, JPEG to 18 levels.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import type { Sharp } from "sharp";
import { randomKey, RandomStream } from "../../../kernels/random.ts";
import { ImageError } from "../../../lib/errors.ts";
import {
  decodeJpeg,
  JPEG_WARNING,
} from "../../../lib/image/formats/jpeg_decoder.ts";
import { isPng, pngFault } from "../../../lib/image/formats/png_chunks.ts";
import { decodePng } from "../../../lib/image/formats/png_decoder.ts";
import type { DecodedImage } from "../../../lib/image/pyramids/raster.ts";
import { decodeWithVips } from "../../../lib/image/formats/vips.ts";
import { sharedData } from "../../shared_data.ts";
import { toSharp } from "../pictures.ts";

const OPTIONS = { maxPixels: 2 ** 24 };
const MAX_LEVELS = 18;

/** Noise with random alpha. */
function noise(width: number, height: number): Sharp {
  const random = new RandomStream(randomKey(5));
  const data = Uint8Array.from(
    { length: width * height * 4 },
    () => random.below(256),
  );
  return toSharp({ data, width, height });
}

/** The greatest difference of two pictures of one size. */
function difference(a: DecodedImage, b: DecodedImage): number {
  assert.deepEqual(
    [a.pixels.width, a.pixels.height],
    [b.pixels.width, b.pixels.height],
  );
  return a.pixels.data.reduce(
    (most, value, i) => Math.max(most, Math.abs(value - b.pixels.data[i]!)),
    0,
  );
}

/** Our pixels and warnings equal those of libvips. */
async function assertSame(bytes: Uint8Array, what: string): Promise<void> {
  const theirs = await decodeWithVips(bytes, OPTIONS);
  const ours = decodePng(bytes, OPTIONS);
  assert.equal(difference(ours, theirs), 0, what);
  assert.deepEqual(ours.warnings, theirs.warnings, what);
}

const PNGS: Record<string, (picture: Sharp) => Sharp> = {
  "RGBA": (picture) => picture.png(),
  "RGB": (picture) => picture.removeAlpha().png(),
  "grey": (picture) => picture.removeAlpha().toColourspace("b-w").png(),
  "grey and alpha": (picture) => picture.toColourspace("b-w").png(),
  "palette and alpha": (picture) => picture.png({ palette: true }),
  "palette of 4 bits": (picture) => picture.png({ palette: true, colours: 16 }),
  "palette of 1 bit": (picture) => picture.png({ palette: true, colours: 2 }),
  "16-bit RGBA": (picture) => picture.toColourspace("rgb16").png(),
  "16-bit grey": (picture) =>
    picture.removeAlpha().toColourspace("grey16").png(),
  "filtered": (picture) => picture.png({ adaptiveFiltering: true }),
};

for (const [name, encode] of Object.entries(PNGS)) {
  Deno.test(`PNG in JavaScript is libvips's: ${name}`, async () => {
    for (const [width, height] of [[37, 23], [1, 1], [64, 64], [3, 50]]) {
      for (const progressive of [false, true]) {
        const bytes = await encode(noise(width!, height!))
          .png({ progressive, force: false }).toBuffer();
        await assertSame(bytes, `${width} x ${height}, ${progressive}`);
      }
    }
  });
}

const hostile = sharedData("hostile");

Deno.test({
  name: "PNG in JavaScript is libvips's, over the public corpora",
  ignore: hostile === undefined,
  fn: async () => {
    let same = 0;
    for (const folder of ["pngsuite", "png-bugfixes", "go-fuzz-png"]) {
      for (const { name } of Deno.readDirSync(join(hostile!, folder))) {
        const bytes = await Deno.readFile(join(hostile!, folder, name));
        if (!isPng(bytes)) continue;
        const theirs = await decodeWithVips(bytes, OPTIONS)
          .catch((error: Error) => error);
        // Ours may accept more files, and libvips accepts some truncated ones.
        if (theirs instanceof Error || pngFault(bytes)) continue;
        await assertSame(bytes, name);
        same++;
      }
    }
    assert.ok(same > 40, `${same}`);
  },
});

Deno.test("a damaged PNG is refused in JavaScript, by the same words", async () => {
  const png = new Uint8Array(await noise(30, 20).png().toBuffer());
  for (const [at, reason] of [[100, /IDAT/], [18, /IHDR/]] as const) {
    const bytes = png.slice();
    bytes[at]! ^= 1;
    assert.throws(() => decodePng(bytes, OPTIONS), (error: Error) => {
      assert.ok(error instanceof ImageError);
      assert.match(error.message, reason);
      return true;
    });
  }
  assert.throws(
    () => decodePng(png, { maxPixels: 599 }),
    /30 x 20 = 600 px, more than the 599 px allowed/,
  );
});

/** A photo-like picture: decoders differ on noise. */
function smooth(width: number, height: number): Sharp {
  const data = new Uint8Array(width * height * 4);
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i += 4) {
      const wave = 40 * Math.sin(x / 5) * Math.cos(y / 7);
      data.set([190 + wave, 140 + wave - x / 4, 170 + wave / 2, 255], i);
    }
  }
  return toSharp({ data, width, height });
}

const JPEGS: Record<string, (picture: Sharp) => Sharp> = {
  "4:2:0": (picture) => picture.jpeg({ quality: 90 }),
  "4:4:4": (picture) =>
    picture.jpeg({ quality: 90, chromaSubsampling: "4:4:4" }),
  "grey": (picture) => picture.toColourspace("b-w").jpeg(),
  "progressive": (picture) => picture.jpeg({ progressive: true }),
  "turned": (picture) => picture.jpeg().withMetadata({ orientation: 6 }),
  "mirrored": (picture) => picture.jpeg().withMetadata({ orientation: 2 }),
};

for (const [name, encode] of Object.entries(JPEGS)) {
  Deno.test(`JPEG in JavaScript is libvips's to ${MAX_LEVELS} levels: ${name}`, async () => {
    const bytes = await encode(smooth(123, 77).removeAlpha()).toBuffer();
    const theirs = await decodeWithVips(bytes, OPTIONS);
    const ours = await decodeJpeg(bytes, OPTIONS);
    const most = difference(ours, theirs);
    assert.ok(most <= MAX_LEVELS, `${most} levels`);
    const [warning, ...others] = ours.warnings;
    assert.equal(warning, JPEG_WARNING);
    assert.deepEqual(others, theirs.warnings);
  });
}

Deno.test("a JPEG that is not decoded, or ends too early, is refused", async () => {
  const picture = () => smooth(40, 30).removeAlpha();
  const whole = new Uint8Array(await picture().jpeg().toBuffer());
  const cmyk = await picture().toColourspace("cmyk").jpeg().toBuffer();
  const refused: [Uint8Array, RegExp][] = [
    [cmyk, /JPEG of 4 channels, which only sharp decodes/],
    [whole.subarray(0, whole.length / 2), /it ends too early/],
    [whole.subarray(0, 3), /it has no frame/],
  ];
  for (const [bytes, reason] of refused) {
    await assert.rejects(decodeJpeg(bytes, OPTIONS), (error: Error) => {
      assert.ok(error instanceof ImageError);
      assert.match(error.message, reason);
      return true;
    });
  }
  await assert.rejects(
    decodeJpeg(whole, { maxPixels: 1199 }),
    /40 x 30 = 1200 px, more than/,
  );
});

Deno.test("JPEG of RGB as it is stored is not taken for YCbCr", async () => {
  const adobe = [0xff, 0xee, 0, 14, 65, 100, 111, 98, 101, 0, 100, 0, 0, 0, 0];
  const jpeg = new Uint8Array(
    await smooth(40, 30).removeAlpha()
      .jpeg({ chromaSubsampling: "4:4:4" }).toBuffer(),
  );
  const isJfif = jpeg[3] === 0xe0;
  const jfif = isJfif ? 2 + 2 + (jpeg[4]! << 8 | jpeg[5]!) : 2; // its end
  const rgb = Uint8Array.from([
    0xff,
    0xd8,
    ...adobe,
    0,
    ...jpeg.subarray(jfif),
  ]);
  const ours = await decodeJpeg(rgb, OPTIONS);
  const theirs = await decodeWithVips(rgb, OPTIONS);
  assert.ok(difference(ours, theirs) <= MAX_LEVELS);
  const asYcbcr = await decodeJpeg(jpeg, OPTIONS);
  assert.ok(difference(ours, asYcbcr) > 50); // it matters
});

Deno.test("EXIF that is damaged does not spoil a JPEG", async () => {
  const whole = new Uint8Array(
    await smooth(40, 30).removeAlpha().jpeg()
      .withMetadata({ orientation: 6 }).toBuffer(),
  );
  const at = whole.findIndex((byte, i) =>
    byte === 0x45 && whole[i + 1] === 0x78 && whole[i + 2] === 0x69
  );
  whole.fill(0xff, at + 6, at + 10); // the order of its bytes
  const { pixels } = await decodeJpeg(whole, OPTIONS);
  assert.equal(pixels.width * pixels.height, 1200);
});
