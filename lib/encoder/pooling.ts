/**
 * Maps of a network pooled about places.
 *
 * @module
 */
import { meanTaps, type Span } from "./cells.ts";
import type { EncoderOutput } from "./encoder.ts";

/** Maps of one picture: `[channels, height, width]`, from `offset`. */
export interface OutputMaps {
  data: Float32Array;
  offset: number;
  channels: number;
  height: number;
  width: number;
}

/** Windows about a place, on both axes; see `spansAbout`. */
export interface Windows {
  rows: readonly Span[];
  columns: readonly Span[];
}

/** Features that a pooling makes of `channels`. */
export function pooledChannels(
  channels: number,
  pooling: EncoderOutput["pooling"],
): number {
  return pooling === "both" ? 2 * channels : channels;
}

/** Writes the maps pooled over `windows` to `features`, from `at`. */
export function poolOutput(
  maps: OutputMaps,
  windows: Windows,
  { pooling, features, at }: Pick<EncoderOutput, "pooling"> & {
    features: Float32Array;
    at: number;
  },
): void {
  if (pooling !== "max") writeMeans(maps, windows, features, at);
  const behind = pooling === "both" ? maps.channels : 0;
  if (pooling !== "mean") writeMaxima(maps, windows, features, at + behind);
}

function writeMeans(
  { data, offset, channels, height, width }: OutputMaps,
  windows: Windows,
  features: Float32Array,
  at: number,
): void {
  const rows = meanTaps(windows.rows), columns = meanTaps(windows.columns);
  for (let channel = 0; channel < channels; channel++) {
    let sum = 0;
    for (let y = 0; y < rows.weights.length; y++) {
      const start = offset + (channel * height + rows.first + y) * width +
        columns.first;
      let line = 0;
      for (let x = 0; x < columns.weights.length; x++) {
        line += columns.weights[x]! * data[start + x]!;
      }
      sum += rows.weights[y]! * line;
    }
    features[at + channel] = sum;
  }
}

function writeMaxima(
  maps: OutputMaps,
  { rows, columns }: Windows,
  features: Float32Array,
  at: number,
): void {
  for (let channel = 0; channel < maps.channels; channel++) {
    let sum = 0;
    for (const row of rows) {
      for (const column of columns) {
        sum += row.share * column.share * maximum(maps, channel, row, column);
      }
    }
    features[at + channel] = sum;
  }
}

function maximum(
  { data, offset, height, width }: OutputMaps,
  channel: number,
  rows: Span,
  columns: Span,
): number {
  let most = -Infinity;
  for (let y = rows.from; y < rows.to; y++) {
    const start = offset + (channel * height + y) * width;
    for (let x = columns.from; x < columns.to; x++) {
      const value = data[start + x]!;
      // Unlike Math.max alone: NaN, too, is to be found.
      if (!(value <= most)) most = value;
    }
  }
  return most;
}
