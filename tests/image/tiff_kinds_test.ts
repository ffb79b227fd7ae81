/**
 * Kinds of pixels of a TIFF, made by hand: every channel is shown by what it
 * means, whatever the layout, or the file is refused by name.
 */
import assert from "node:assert/strict";
import { deflateSync } from "node:zlib";
import sharp from "sharp";
import { openImage } from "../../lib/image/open.ts";
import { pixelAt, readAll, TemporaryFolder } from "./pictures.ts";
import {
  asciiField,
  type PieceSamples,
  piecesOf,
  shortField,
  tiffFile,
  type TiffRecipe,
} from "./tiff_files.ts";

type Rgb = [red: number, green: number, blue: number];

const SIZE = { width: 41, height: 37 };

/** A sample of the picture, 0 to 255, other in each channel. */
function sampleAt(x: number, y: number, sample: number): number {
  return (x * (3 + sample) + y * (5 - sample) + sample * 40) % 256;
}

function rgbAt(x: number, y: number): Rgb {
  return [sampleAt(x, y, 0), sampleAt(x, y, 1), sampleAt(x, y, 2)];
}

function greyAt(x: number, y: number): Rgb {
  const value = sampleAt(x, y, 0);
  return [value, value, value];
}

/** Over white, by an opacity of 0 to 255. */
function over(rgb: Rgb, opacity: number): Rgb {
  return rgb.map((value) =>
    Math.round(value * opacity / 255) + 255 - opacity
  ) as Rgb;
}

/** Holds every pixel of a file against `colour`; returns the warnings. */
async function shows(
  recipe: TiffRecipe,
  colour: (x: number, y: number) => Rgb,
  tolerance = 0,
): Promise<readonly string[]> {
  using folder = new TemporaryFolder();
  const image = await openImage(folder.write("a.tif", tiffFile(recipe)));
  const pixels = await readAll(image);
  image.close();
  for (let y = 0; y < recipe.height; y++) {
    for (let x = 0; x < recipe.width; x++) {
      const found = pixelAt(pixels, x, y);
      const isNear = [...colour(x, y), 255].every((value, c) =>
        Math.abs(value - found[c]!) <= tolerance
      );
      assert.ok(isNear, `${x}, ${y}: ${found}, not ${colour(x, y)}`);
    }
  }
  return image.warnings;
}

async function refuses(recipe: TiffRecipe, reason: RegExp): Promise<void> {
  using folder = new TemporaryFolder();
  const path = folder.write("a.tif", tiffFile(recipe));
  await assert.rejects(openImage(path), reason);
}

/** The same file in strips, in tiles, and with planes apart. */
function layouts(recipe: TiffRecipe): TiffRecipe[] {
  return [{ rowsPerStrip: 8 }, { tile: 16 }].flatMap((layout) => [
    { ...recipe, ...layout },
    { ...recipe, ...layout, planar: true },
  ]);
}

const ALPHA = "has alpha: composited over white";

Deno.test("a fourth channel without a meaning is left out: it is not alpha", async () => {
  const base = { ...SIZE, value: sampleAt, samples: 4 };
  const recipes = [...layouts({ ...base, extra: [0] }), ...layouts(base)];
  for (const recipe of recipes) {
    assert.deepEqual(await shows(recipe, rgbAt), [
      "channel 4 left out: neither a colour nor alpha",
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
      "channels 4, 6 left out: neither colours nor alpha",
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
      "channel 4 left out: neither a colour nor alpha",
      DEEP,
    ]);
  }
});

/** Colours of a palette of 256. */
const PALETTE = Array.from({ length: 256 }, (_, i): Rgb => [
  255 - i,
  i * 3 % 256,
  i * 7 % 256,
]);
const PALETTE_FIELD = shortField(
  320,
  ...[0, 1, 2].flatMap((c) => PALETTE.map((rgb) => rgb[c]! * 257)),
);

Deno.test("a piece that is left out has the colour of zero, or of nodata", async () => {
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
    [ // beyond the type: its nearest, as GDAL has it
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

Deno.test("a file of one strip that is left out is empty, not its header", async () => {
  const recipe = { width: 600, height: 600, value: sampleAt, missing: [0] };
  await shows(recipe, () => [0, 0, 0]);
});

Deno.test("a plane that is left out is zero, and the others are shown", async () => {
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
    "nodata value 255: shown as it is stored, and for what is left out",
  ]);
});

const KR = 0.2126, KB = 0.0722; // of BT.709
const WEIGHTS = {
  tag: 529,
  type: 5,
  values: [2126, 10_000, 7152, 10_000, 722, 10_000],
};
const NARROW = {
  tag: 532,
  type: 5,
  values: [16, 1, 235, 1, 128, 1, 240, 1, 128, 1, 240, 1],
};

/** The picture, smooth enough for pixels to share their colours. */
function smoothAt(x: number, y: number, columns = 1, rows = 1): Rgb {
  const left = Math.floor(x / columns) * columns;
  const top = Math.floor(y / rows) * rows;
  return [60 + 3 * left, 50 + 3 * top, 200 - 2 * left];
}

/** BT.709's luminance and colours in a narrow range. */
function toYcbcr([red, green, blue]: Rgb): [number, number, number] {
  const y = KR * red + (1 - KR - KB) * green + KB * blue;
  return [
    Math.round(16 + y * 219 / 255),
    Math.round(128 + (blue - y) / (2 - 2 * KB) * 112 / 127),
    Math.round(128 + (red - y) / (2 - 2 * KR) * 112 / 127),
  ];
}

/** Units of luminance with the colours that they share. */
function ycbcrUnits(
  { numbers, width, rows }: PieceSamples,
  columns: number,
  down: number,
): Uint8Array {
  const at = (x: number, y: number, c: number) =>
    numbers[(Math.min(y, rows - 1) * width + Math.min(x, width - 1)) * 3 + c]!;
  const units: number[] = [];
  for (let y = 0; y < rows; y += down) {
    for (let x = 0; x < width; x += columns) {
      for (let i = 0; i < columns * down; i++) {
        units.push(at(x + i % columns, y + Math.floor(i / columns), 0));
      }
      units.push(at(x, y, 1), at(x, y, 2));
    }
  }
  return Uint8Array.from(units);
}

for (const [columns, rows] of [[1, 1], [2, 1], [2, 2], [1, 2], [4, 4]]) {
  Deno.test(`YCbCr that is no JPEG becomes RGB: colours of ${columns} x ${rows} px`, async () => {
    for (const layout of [{ rowsPerStrip: 8 }, { tile: 16 }]) {
      await shows(
        {
          ...SIZE,
          ...layout,
          samples: 3,
          photometric: 6,
          compression: "deflate",
          value: (x, y, c) => toYcbcr(smoothAt(x, y, columns, rows))[c]!,
          encode: (piece) => deflateSync(ycbcrUnits(piece, columns!, rows!)),
          fields: [shortField(530, columns!, rows!), WEIGHTS, NARROW],
        },
        (x, y) => smoothAt(x, y, columns, rows),
        3,
      );
    }
  });
}

Deno.test("YCbCr with planes apart becomes RGB", async () => {
  await shows(
    {
      ...SIZE,
      samples: 3,
      photometric: 6,
      planar: true,
      value: (x, y, c) => toYcbcr(smoothAt(x, y))[c]!,
      fields: [shortField(530, 1, 1), WEIGHTS, NARROW],
    },
    smoothAt,
    3,
  );
});

Deno.test("numbers of few and odd bits are spread over 8", async () => {
  for (const bits of [1, 2, 4, 12, 24]) {
    const most = 2 ** bits - 1;
    const value = (x: number, y: number, c: number) =>
      Math.round(sampleAt(x, y, c) / 255 * most);
    const shown = (x: number, y: number, c: number) =>
      bits < 8
        ? Math.round(value(x, y, c) * 255 / most)
        : bits === 12
        ? value(x, y, c) >> 4
        : sampleAt(x, y, c);
    for (const recipe of layouts({ ...SIZE, bits, value, samples: 3 })) {
      await shows(
        recipe,
        (x, y) => [0, 1, 2].map((c) => shown(x, y, c)) as Rgb,
      );
    }
  }
});

Deno.test("palettes of few bits", async () => {
  const fields = [shortField(
    320,
    ...[0, 1, 2].flatMap((c) =>
      PALETTE.slice(0, 16).map((rgb) => rgb[c]! * 257)
    ),
  )];
  const value = (x: number, y: number) => sampleAt(x, y, 0) % 16;
  for (const recipe of layouts({ ...SIZE, bits: 4, value, fields })) {
    await shows(
      { ...recipe, photometric: 3, planar: false },
      (x, y) => PALETTE[value(x, y)]!,
    );
  }
});

Deno.test("bytes whose lowest bit is first", async () => {
  const reversed = (value: number) =>
    parseInt(
      value.toString(2).padStart(8, "0").split("").reverse().join(""),
      2,
    );
  const recipe = {
    ...SIZE,
    value: (x: number, y: number, c: number) => reversed(sampleAt(x, y, c)),
    samples: 3,
    fields: [shortField(266, 2)],
  };
  for (const layout of [{ rowsPerStrip: 8 }, { tile: 16 }]) {
    await shows({ ...recipe, ...layout }, rgbAt);
  }
});

Deno.test("other numbers than 8 and 16 bits say their scale", async () => {
  const cases: [Partial<TiffRecipe>, scale: (v: number) => number, RegExp][] = [
    [
      { bits: 16, format: "signed" },
      (v) => v * 257 - 32_768,
      /^16-bit samples \(signed\) scaled to 8: -32768 is black, 32767 white$/,
    ],
    [{ bits: 8, format: "signed" }, (v) => v - 128, /-128 is black, 127 white/],
    [{ bits: 32 }, (v) => v * 0x1010101, /0 is black, 4294967295 white/],
    [
      {
        bits: 32,
        format: "signed",
        fields: [0, 510].map((v, i) => shortField(340 + i, v)),
      },
      (v) => v * 2,
      /0 is black, 510 white/,
    ],
    [
      { bits: 32, format: "float" },
      (v) => v / 255,
      /^32-bit samples \(floating point\) scaled to 8: 0 is black, 1 white$/,
    ],
    [{ bits: 16, format: "float" }, (v) => v / 255, /0 is black, 1 white/],
    [
      {
        bits: 64,
        format: "float",
        fields: [10, 12].map((v, i) => shortField(340 + i, v)),
      },
      (v) => 10 + v / 127.5,
      /10 is black, 12 white/,
    ],
  ];
  for (const [recipe, scale, warning] of cases) {
    const value = (x: number, y: number, c: number) => scale(sampleAt(x, y, c));
    for (const layout of layouts({ ...SIZE, ...recipe, value, samples: 3 })) {
      const warnings = await shows(layout, rgbAt, 1);
      assert.match(warnings[0]!, warning);
    }
  }
});

Deno.test("floating point beyond its scale is cut off, and no number is black", async () => {
  const stored = [NaN, -1, 0.5, 2];
  const shown = [0, 0, 128, 255];
  await shows(
    {
      ...SIZE,
      bits: 32,
      format: "float",
      value: (x) => stored[x % 4]!,
    },
    (x) => Array(3).fill(shown[x % 4]!) as unknown as Rgb,
  );
});

Deno.test("the predictor of floating point", async () => {
  const recipe: TiffRecipe = {
    ...SIZE,
    tile: 16,
    bits: 32,
    format: "float",
    samples: 3,
    compression: "deflate",
    value: (x, y, c) => sampleAt(x, y, c) / 255,
    encode: (piece) => deflateSync(floatDifferences(piece)),
    fields: [shortField(317, 3)],
  };
  await shows(recipe, rgbAt, 1);
});

/** The bytes of floats by their rank, the highest first, as differences. */
function floatDifferences({ numbers, rows, channels }: PieceSamples) {
  const length = numbers.length / rows;
  const view = new DataView(new ArrayBuffer(4));
  const out = new Uint8Array(numbers.length * 4);
  for (const [i, number] of numbers.entries()) {
    view.setFloat32(0, number);
    const row = Math.floor(i / length) * length * 4;
    for (let b = 0; b < 4; b++) {
      out[row + b * length + i % length] = view.getUint8(b);
    }
  }
  for (let end = out.length; end > 0; end -= length * 4) {
    for (let i = end - 1; i >= end - length * 4 + channels; i--) {
      out[i]! -= out[i - channels]!;
    }
  }
  return out;
}

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

/** JPEGs of pieces, by libvips, cut to what of them lies in the image. */
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
      // Four channels go through as inks, which libvips inverts on writing.
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

/** Changes slowly, so that JPEG keeps it. */
function softAt(x: number, y: number, sample: number): number {
  return 60 + 2 * x + sample * 20 - (sample % 2) * 3 * y + y;
}
const softRgb = (x: number, y: number): Rgb => [
  softAt(x, y, 0),
  softAt(x, y, 1),
  softAt(x, y, 2),
];

Deno.test("JPEG tiles: planes apart, four channels, and only what the image has", async () => {
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

Deno.test("libvips decodes what blocks lack, and nothing that is refused for its meaning", async () => {
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

Deno.test("tiles that Aperio leaves out are made of the finer level", async () => {
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
    level(1, [0]), // glass, where the finest lacks it
    level(2, [0, 4]),
    level(4, [0]), // of what level 1 is made of
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
