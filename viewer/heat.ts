/**
 * Heat maps as coloured pictures, by the scale and colours of the server's own.
 *
 * @module
 */
import { VIRIDIS } from "../lib/eval/heatmap/viridis.ts";
import type { MapDocument } from "../lib/serve/documents.ts";
import type { State } from "./state.ts";

/** A heat map of the whole image. */
export interface HeatMap {
  width: number;
  height: number;
  /** `[height, width]`: attention mass per level-0 px. */
  values: Float32Array;
}

/** A coloured heat map, and the values at the ends of its colours. */
export interface ColouredMap {
  canvas: HTMLCanvasElement;
  low: number;
  high: number;
}

// As of lib/eval/heatmap/colours.ts: objects are tiny, 1 % is a lot.
const LOW = 0.01, HIGH = 0.995;

/** Values of a document. */
export async function heatMapOf(
  { width, height, values }: MapDocument,
): Promise<HeatMap> {
  const bytes = Uint8Array.from(atob(values), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream()
    .pipeThrough(new DecompressionStream("gzip"));
  const buffer = await new Response(stream).arrayBuffer();
  return { width, height, values: new Float32Array(buffer) };
}

/**
 * Colours a heat map; the hotter, the more opaque.
 *
 * @param scale `percentile`: linear from the 1st to the 99.5th; `raw`: from 0 to
 *   the largest value.
 */
export function coloured(
  { width, height, values }: HeatMap,
  scale: State["scale"],
): ColouredMap {
  const [low, high] = ends(values, scale);
  const image = new ImageData(width, height);
  const range = high - low;
  values.forEach((value, i) => {
    const intensity = range > 0
      ? Math.min(Math.max((value - low) / range, 0), 1)
      : 0;
    image.data.set(colourOf(intensity), 4 * i);
    image.data[4 * i + 3] = 255 * Math.sqrt(intensity);
  });
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d")!.putImageData(image, 0, 0);
  return { canvas, low, high };
}

function ends(values: Float32Array, scale: State["scale"]): [number, number] {
  const sorted = values.toSorted();
  const largest = sorted.at(-1)!;
  if (scale === "raw") return [0, largest];
  const at = (part: number) => sorted[Math.round(part * (sorted.length - 1))]!;
  // A map that is flat almost everywhere would show nothing.
  return at(HIGH) > at(LOW) ? [at(LOW), at(HIGH)] : [at(LOW), largest];
}

/** The colour of an intensity in [0, 1]: RGB, 0 to 255. */
export function colourOf(intensity: number): [number, number, number] {
  const place = intensity * (VIRIDIS.length - 1);
  const below = Math.min(Math.floor(place), VIRIDIS.length - 2);
  const from = VIRIDIS[below]!, to = VIRIDIS[below + 1]!;
  const mix = (c: 0 | 1 | 2) => from[c] + (place - below) * (to[c] - from[c]);
  return [mix(0), mix(1), mix(2)];
}
