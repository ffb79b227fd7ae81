import assert from "node:assert/strict";
import { join } from "node:path";
import { ImageError } from "../../../lib/errors.ts";
import { decodeBmp } from "../../../lib/image/formats/bmp.ts";
import { exists } from "../../../lib/files.ts";
import { openImage } from "../../../lib/image/open.ts";
import { sharedData } from "../../shared_data.ts";
import { type Bmp, bmpFile } from "../bmp_files.ts";
import { pixelAt, readAll } from "../pictures.ts";

function decode(bytes: Uint8Array, maxPixels = 1e6) {
  return decodeBmp(bytes, { maxPixels });
}

const RED = [255, 0, 0, 255], GREEN = [0, 255, 0, 255], BLUE = [0, 0, 255, 255];
const BLACK = [0, 0, 0, 255], WHITE = [255, 255, 255, 255];
const RGB_PALETTE = [0, 0, 255, 0, 0, 255, 0, 0, 255, 0, 0, 0]; // red, green, blue

Deno.test("BMP of 24 bits: rows from the bottom, blue first, padded", () => {
  const { pixels, warnings } = decode(bmpFile({
    width: 1,
    height: 2,
    bits: 24,
    rows: [255, 0, 0, 99, 0, 0, 255, 99],
  }));
  assert.deepEqual([...pixels.data], [...RED, ...BLUE]);
  assert.deepEqual(warnings, []);
});

Deno.test("BMP with a negative height is stored from the top", () => {
  const { pixels } = decode(bmpFile({
    width: 1,
    height: -2,
    bits: 24,
    rows: [255, 0, 0, 99, 0, 0, 255, 99],
  }));
  assert.deepEqual([...pixels.data], [...BLUE, ...RED]);
});

Deno.test("BMP of 1, 2, 4 and 8 bits: the leftmost pixel is in the highest bits", () => {
  const rows = {
    1: [0b01000000, 0, 0, 0],
    2: [0b00011000, 0, 0, 0],
    4: [0x01, 0x20, 0, 0],
    8: [0, 1, 2, 0],
  };
  for (const [bits, row] of Object.entries(rows)) {
    const { pixels, warnings } = decode(bmpFile({
      width: 3,
      height: 1,
      bits: Number(bits),
      rows: row,
      palette: RGB_PALETTE.slice(0, bits === "1" ? 8 : 12),
    }));
    const last = bits === "1" ? RED : BLUE;
    assert.deepEqual([...pixels.data], [...RED, ...GREEN, ...last], bits);
    assert.deepEqual(warnings, ["palette expanded to RGB"]);
  }
});

Deno.test("BMP: an index outside the palette is black", () => {
  const { pixels } = decode(bmpFile({
    width: 4,
    height: 1,
    bits: 8,
    rows: [3, 255, 1, 0],
    palette: RGB_PALETTE,
    used: 4_000_000_000,
  }));
  assert.deepEqual([...pixels.data], [...BLACK, ...BLACK, ...GREEN, ...RED]);
});

Deno.test("BMP of 16 bits: 5-5-5, or as the bit fields say", () => {
  const rows = [0x00, 0x7c, 0xff, 0x7f]; // 0x7c00, 0x7fff
  const plain = decode(bmpFile({ width: 2, height: 1, bits: 16, rows }));
  assert.deepEqual([...plain.pixels.data], [...RED, ...WHITE]);

  const fields = decode(bmpFile({
    width: 2,
    height: 1,
    bits: 16,
    rows: [0x00, 0xf8, 0xf0, 0x01], // 0xf800, 0x01f0
    compression: 3,
    masks: [0xf800, 0x07e0, 0x001f],
  }));
  assert.deepEqual(pixelAt(fields.pixels, 0, 0), RED);
  // green 15 of 63, blue 16 of 31
  assert.deepEqual(pixelAt(fields.pixels, 1, 0), [0, 61, 132, 255]);
});

Deno.test("BMP of 32 bits: the fourth byte is alpha only where a field says so", () => {
  const rows = [0, 0, 255, 128, 0, 255, 0, 255];
  const plain = decode(bmpFile({ width: 2, height: 1, bits: 32, rows }));
  assert.deepEqual([...plain.pixels.data], [...RED, ...GREEN]);

  const masks = [0xff0000, 0xff00, 0xff, 0xff000000];
  const file = { width: 2, height: 1, bits: 32, compression: 6, masks };
  const alpha = decode(bmpFile({ ...file, rows }));
  assert.deepEqual([...alpha.pixels.data], [255, 0, 0, 128, ...GREEN]);

  const blank = decode(bmpFile({
    ...file,
    rows: rows.map((byte, i) => i % 4 === 3 ? 0 : byte),
  }));
  assert.deepEqual(
    [...blank.pixels.data],
    [...RED, ...GREEN],
    "never filled in",
  );
});

Deno.test("BMP: the padding of the last row may be missing", () => {
  const rows = [0, 0, 255];
  const { pixels } = decode(bmpFile({ width: 1, height: 1, bits: 24, rows }));
  assert.deepEqual([...pixels.data], RED);
});

Deno.test("BMP: damaged and unsupported files are refused by reason", () => {
  const good: Bmp = { width: 1, height: 1, bits: 24, rows: [0, 0, 0, 0] };
  const cases: [file: Uint8Array, reason: RegExp][] = [
    [bmpFile({ ...good, rows: [0, 0] }), /truncated: 1 x 1 px of 24 bits/],
    [bmpFile({ ...good, width: 30_000, height: 30_000 }), /900000000 px/],
    [bmpFile({ ...good, width: 0 }), /says 0 x 1 px/],
    [bmpFile({ ...good, width: -1 }), /says -1 x 1 px/],
    [bmpFile({ ...good, bits: 7 }), /7 bits a pixel/],
    [bmpFile({ ...good, bits: 8, compression: 1 }), /compression RLE8/],
    [bmpFile({ ...good, bits: 0, compression: 4 }), /compression JPEG/],
    [bmpFile({ ...good, compression: 99 }), /compression number 99/],
    [
      bmpFile({ ...good, bits: 32, compression: 3, masks: [0xff0ff, 0, 0] }),
      /bit field 0xff0ff is not contiguous/,
    ],
    [bmpFile(good).subarray(0, 20), /header is damaged or truncated/],
    [bmpFile(good).subarray(0, 2), /header is damaged or truncated/],
    [bmpFile(good).with(14, 13), /header is damaged or truncated/],
  ];
  for (const [file, reason] of cases) {
    assert.throws(() => decode(file), (error: unknown) => {
      assert.ok(error instanceof ImageError);
      assert.match(error.message, reason);
      return true;
    });
  }
});

// Transparent as image-rs reads them, opaque as we do: alpha that is 0
// everywhere, or that a file without bit fields cannot have.
const OTHER_ALPHA = /A1_R5|A4_R4|A8_R8_G8_B8_Rgb/;

const originals = sharedData("hostile", "image-rs-bmp");
const references = sharedData("hostile", "image-rs-bmp-reference");
Deno.test({
  name: "BMP: equal to image-rs, pixel by pixel",
  ignore: references === undefined,
  fn: async () => {
    let compared = 0;
    for await (const { name } of Deno.readDir(references!)) {
      const bmp = join(originals!, name.slice(0, -".png".length));
      // Some references are of files that are not there.
      if (!await exists(bmp) || OTHER_ALPHA.test(name)) continue;
      assert.deepEqual(
        await readAll(await openImage(bmp)),
        await readAll(await openImage(`${references}/${name}`)),
        name,
      );
      compared++;
    }
    assert.ok(compared >= 10);
  },
});

const colon = sharedData("colon", "images");
Deno.test({
  name: "BMP: all 100 colon images open without a warning",
  ignore: colon === undefined,
  fn: async () => {
    let opened = 0;
    for await (const { name } of Deno.readDir(colon!)) {
      const { width, height, warnings } = await openImage(`${colon}/${name}`);
      assert.deepEqual([width, height, warnings], [500, 500, []]);
      opened++;
    }
    assert.equal(opened, 100);
  },
});
