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

/**
 * A function that writes one picture, `[height, width, 3]`, as
 * `[3, height, width]` of the input, starting at `at`. Px of the input beyond
 * the end of the picture repeat its last.
 */
export function resizer(
  { from, to, scale, mean, deviation }: Resizing,
): (picture: Float32Array, input: Float32Array, at: number) => void {
  const rows = resizedAxis(from.height, to.height, scale.y);
  const columns = resizedAxis(from.width, to.width, scale.x);
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
