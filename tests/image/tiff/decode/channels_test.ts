/**
 * Channels of a TIFF: each is shown by its meaning, or ignored with a warning.
 */
import assert from "node:assert/strict";
import { openImage } from "../../../../lib/image/open.ts";
import { pixelAt, readAll, TemporaryFolder } from "../../pictures.ts";
import { tiffFile } from "../tiff_files.ts";
import {
  greyAt,
  layouts,
  over,
  type Rgb,
  rgbAt,
  sampleAt,
  shows,
  SIZE,
} from "../tiff_kinds.ts";

const ALPHA = "has alpha: composited over white";

Deno.test("a fourth channel without a meaning is ignored: it is not alpha", async () => {
  const base = { ...SIZE, value: sampleAt, samples: 4 };
  const recipes = [...layouts({ ...base, extra: [0] }), ...layouts(base)];
  for (const recipe of recipes) {
    assert.deepEqual(await shows(recipe, rgbAt), [
      "channel 4 ignored: neither a colour nor alpha",
    ]);
  }
});

Deno.test("alpha is found behind other channels, and over white", async () => {
  const base = { ...SIZE, value: sampleAt, samples: 6, extra: [0, 2, 1] };
  for (const recipe of layouts(base)) {
    const warnings = await shows(
      recipe,
      (x, y) => over(rgbAt(x, y), sampleAt(x, y, 4)),
    );
    assert.deepEqual(warnings, [
      "channels 4, 6 ignored: neither colours nor alpha",
      ALPHA,
    ]);
  }
});

Deno.test("fewer ExtraSamples than extra samples", async () => {
  const base = { ...SIZE, value: sampleAt, extra: [2] };
  for (const recipe of layouts({ ...base, samples: 5 })) {
    await shows(recipe, (x, y) => over(rgbAt(x, y), sampleAt(x, y, 3)));
  }
  for (const recipe of layouts({ ...base, samples: 4, photometric: 1 })) {
    await shows(recipe, (x, y) => over(rgbAt(x, y), sampleAt(x, y, 3)));
  }
});

Deno.test("planes that are not shown are not read", async () => {
  using folder = new TemporaryFolder();
  const size = { width: 256, height: 256 };
  const bytes = tiffFile({
    ...size,
    value: sampleAt,
    samples: 9,
    planar: true,
  });
  const image = await openImage(folder.write("a.tif", bytes));
  const pixels = await readAll(image);
  assert.deepEqual(pixelAt(pixels, 3, 4), [...rgbAt(3, 4), 255]);
  assert.ok(image.traffic.bytes < 5 * 2 ** 16, `${image.traffic.bytes}`);
  image.close();
});

Deno.test("premultiplied alpha is not multiplied again", async () => {
  const value = (x: number, y: number, c: number) =>
    c === 3 ? 200 : Math.min(200, sampleAt(x, y, c));
  for (
    const recipe of layouts({ ...SIZE, value, samples: 4, extra: [1] })
  ) {
    await shows(
      recipe,
      (x, y) => rgbAt(x, y).map((v) => Math.min(200, v) + 55) as Rgb,
    );
  }
});

Deno.test("grey with alpha, white as zero with alpha", async () => {
  for (const photometric of [0, 1]) {
    const base = { ...SIZE, value: sampleAt, samples: 2, extra: [2] };
    for (const recipe of layouts({ ...base, photometric })) {
      const warnings = await shows(recipe, (x, y) => {
        const shown = greyAt(x, y).map((v) =>
          photometric === 0 ? 255 - v : v
        ) as Rgb;
        return over(shown, sampleAt(x, y, 1));
      });
      assert.deepEqual(warnings, ["grey expanded to RGB", ALPHA]);
    }
  }
});

Deno.test("three channels that are only called grey are RGB, as GDAL writes them", async () => {
  const ASSUMED = "its channels have no names: the first three read as RGB";
  const value = (x: number, y: number, c: number) => sampleAt(x, y, c) * 257;
  const base = { ...SIZE, value, photometric: 1, bits: 16 };
  const DEEP = "16-bit samples scaled to 8";
  for (const recipe of layouts({ ...base, samples: 3, extra: [0, 0] })) {
    assert.deepEqual(await shows(recipe, rgbAt), [ASSUMED, DEEP]);
  }
  for (const recipe of layouts({ ...base, samples: 4, extra: [0, 0, 2] })) {
    const warnings = await shows(
      recipe,
      (x, y) => over(rgbAt(x, y), sampleAt(x, y, 3)),
    );
    assert.deepEqual(warnings, [ASSUMED, DEEP, ALPHA]);
  }
  for (const recipe of layouts({ ...base, samples: 4, extra: [0, 0, 0] })) {
    assert.deepEqual(await shows(recipe, rgbAt), [
      ASSUMED,
      "channel 4 ignored: neither a colour nor alpha",
      DEEP,
    ]);
  }
});

Deno.test("a surplus of BitsPerSample means nothing", async () => {
  using folder = new TemporaryFolder();
  const bytes = tiffFile({ ...SIZE, value: sampleAt, samples: 3 });
  // The entry of BitsPerSample, of which there are three, becomes one of four.
  const entry = bytes.indexOf(2) < 0
    ? -1
    : new DataView(bytes.buffer, bytes.byteOffset).getUint32(4, true) + 2 + 24;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  assert.equal(view.getUint16(entry, true), 258);
  view.setUint32(entry + 4, 4, true);
  const image = await openImage(folder.write("a.tif", bytes));
  assert.deepEqual(pixelAt(await readAll(image), 3, 4), [...rgbAt(3, 4), 255]);
  image.close();
});
