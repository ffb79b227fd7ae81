/**
 * Pictures as the input of a pretrained network: resized, less the mean,
 * divided by the deviation, one channel after the other.
 *
 * @module
 */
import type { Size } from "../image/geometry.ts";
import { resizedAxis, type Taps } from "./cells.ts";
import type { EncoderConfig } from "./encoder.ts";

const CHANNELS = 3;

/** How pictures of one size become the input. */
export interface Resizing extends Pick<EncoderConfig, "mean" | "deviation"> {
  /** Size of a picture, px. */
  from: Size;
  /** Size of the input, px. */
  to: Size;
  /** Px of the input for each px of a picture. */
  scale: { x: number; y: number };
}

/** Writes one picture, `[height, width, 3]`, as `[3, height, width]` from `at`. */
type WritePicture = (
  picture: Float32Array,
  input: Float32Array,
  at: number,
) => void;

/**
 * A function that writes one picture into the input. Px of the input beyond the
 * end of the picture repeat its last.
 */
export function resizer(resizing: Resizing): WritePicture {
  const { from, to, scale } = resizing;
  const rows = resizedAxis(from.height, to.height, scale.y);
  const columns = resizedAxis(from.width, to.width, scale.x);
  const arePairs = [...rows, ...columns]
    .every(({ weights }) => weights.length <= 2);
  return arePairs
    ? pairResizer(pairsOf(rows), pairsOf(columns), resizing)
    : tapResizer(rows, columns, resizing);
}

function tapResizer(
  rows: readonly Taps[],
  columns: readonly Taps[],
  { from, to, mean, deviation }: Resizing,
): WritePicture {
  const plane = to.width * to.height;
  const row = new Float32Array(from.width * CHANNELS);
  return (picture, input, at) => {
    for (let y = 0; y < to.height; y++) {
      blend(picture, rows[y]!, row);
      for (let channel = 0; channel < CHANNELS; channel++) {
        const values = input.subarray(at + channel * plane + y * to.width);
        const factor = 1 / deviation[channel]!;
        const offset = -mean[channel]! * factor;
        for (let x = 0; x < to.width; x++) {
          values[x] = valueAt(row, columns[x]!, channel) * factor + offset;
        }
      }
    }
  };
}

/** Two neighbours of each px; where one is enough, the second weighs nothing. */
interface Pairs {
  /** The first of them: a px of the axis. */
  first: Int32Array;
  near: Float32Array;
  far: Float32Array;
}

function pairsOf(taps: readonly Taps[]): Pairs {
  return {
    first: Int32Array.from(taps, ({ first }) => first),
    near: Float32Array.from(taps, ({ weights }) => weights[0]!),
    far: Float32Array.from(taps, ({ weights }) => weights[1] ?? 0),
  };
}

/** As {@linkcode tapResizer}, in a third of the time: pictures are often enlarged. */
function pairResizer(
  rows: Pairs,
  columns: Pairs,
  { from, to, mean, deviation }: Resizing,
): WritePicture {
  const plane = to.width * to.height, length = from.width * CHANNELS;
  const [redFactor, greenFactor, blueFactor] = deviation.map((d) => 1 / d) as [
    number,
    number,
    number,
  ];
  const red = -mean[0] * redFactor;
  const green = -mean[1] * greenFactor;
  const blue = -mean[2] * blueFactor;
  const row = new Float32Array(length + CHANNELS); // a px beyond, of no weight
  return (picture, input, at) => {
    for (let y = 0; y < to.height; y++) {
      blendPair(picture, rows, y, row.subarray(0, length));
      const toRed = at + y * to.width;
      const toGreen = toRed + plane, toBlue = toGreen + plane;
      for (let x = 0; x < to.width; x++) {
        const near = columns.near[x]!, far = columns.far[x]!;
        const i = columns.first[x]! * CHANNELS;
        input[toRed + x] = (near * row[i]! + far * row[i + 3]!) * redFactor +
          red;
        input[toGreen + x] =
          (near * row[i + 1]! + far * row[i + 4]!) * greenFactor + green;
        input[toBlue + x] = (near * row[i + 2]! + far * row[i + 5]!) *
            blueFactor + blue;
      }
    }
  };
}

/** The weighted sum of two rows of a picture. */
function blendPair(
  picture: Float32Array,
  { first, near, far }: Pairs,
  y: number,
  row: Float32Array,
): void {
  const upper = near[y]!, lower = far[y]!;
  const start = first[y]! * row.length;
  const below = lower === 0 ? start : start + row.length;
  for (let x = 0; x < row.length; x++) {
    row[x] = Math.fround(upper * picture[start + x]!) +
      lower * picture[below + x]!;
  }
}

/** The weighted sum of the rows of a picture. */
function blend(
  picture: Float32Array,
  { first, weights }: Taps,
  row: Float32Array,
): void {
  row.fill(0);
  for (let i = 0; i < weights.length; i++) {
    const weight = weights[i]!;
    const start = (first + i) * row.length;
    for (let x = 0; x < row.length; x++) {
      row[x]! += weight * picture[start + x]!;
    }
  }
}

function valueAt(
  row: Float32Array,
  { first, weights }: Taps,
  channel: number,
): number {
  let sum = 0;
  for (let i = 0; i < weights.length; i++) {
    sum += weights[i]! * row[(first + i) * CHANNELS + channel]!;
  }
  return sum;
}
