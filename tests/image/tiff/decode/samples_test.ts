/**
 * Samples of a TIFF of other types than 8 and 16 bits.
 */
import assert from "node:assert/strict";
import { deflateSync } from "node:zlib";
import {
  type PieceSamples,
  shortField,
  type TiffRecipe,
} from "../tiff_files.ts";
import {
  layouts,
  PALETTE,
  type Rgb,
  rgbAt,
  sampleAt,
  shows,
  SIZE,
} from "../tiff_kinds.ts";

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
