/**
 * YCbCr of a TIFF that is no JPEG.
 */
import { deflateSync } from "node:zlib";
import { type PieceSamples, shortField } from "../tiff_files.ts";
import { type Rgb, shows, SIZE } from "../tiff_kinds.ts";

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

/** The picture, smooth enough for subsampled chroma. */
function smoothAt(x: number, y: number, columns = 1, rows = 1): Rgb {
  const left = Math.floor(x / columns) * columns;
  const top = Math.floor(y / rows) * rows;
  return [60 + 3 * left, 50 + 3 * top, 200 - 2 * left];
}

/** BT.709's luma and chroma in a narrow range. */
function toYcbcr([red, green, blue]: Rgb): [number, number, number] {
  const y = KR * red + (1 - KR - KB) * green + KB * blue;
  return [
    Math.round(16 + y * 219 / 255),
    Math.round(128 + (blue - y) / (2 - 2 * KB) * 112 / 127),
    Math.round(128 + (red - y) / (2 - 2 * KR) * 112 / 127),
  ];
}

/** Units of luma with their shared chroma. */
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
