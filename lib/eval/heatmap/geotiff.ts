/**
 * A heat map as a pyramidal GeoTIFF of float32, aligned with its image: mass per
 * level-0 px, at the resolution that it was computed at.
 *
 * @module
 */
import type { Size } from "../../image/geometry.ts";
import type { Pyramid } from "../../image/pyramid.ts";
import { scaledGeoTags } from "../../image/tiff/georeference.ts";
import { encodeFloats } from "../../image/tiff/write/encoder.ts";
import { blockGrid, writeTiff } from "../../image/tiff/write/writer.ts";
import type { HeatKind, Heatmap } from "./heatmap.ts";

const BLOCK_SIZE = 256; // px
const MIN_LEVEL = 256; // px: the first level that fits is the last

/** One float a pixel. */
interface Floats extends Size {
  values: Float32Array;
}

/**
 * Writes `heat` at `path`, atomically. The levels are means of 2 x 2 px, so each
 * keeps the mass.
 *
 * @param options.image the image as it lies in its file, for its place on a map.
 * @param options.mpp micrometres per px of the image.
 */
export async function writeHeatTiff(
  path: string,
  heat: Heatmap,
  { image, mpp, kind }: {
    image: Pyramid;
    mpp: number | undefined;
    kind: HeatKind;
  },
): Promise<void> {
  const levels: Floats[] = [heat];
  while (
    levels.at(-1)!.width > MIN_LEVEL || levels.at(-1)!.height > MIN_LEVEL
  ) {
    levels.push(halved(levels.at(-1)!));
  }
  const across = image.width / heat.width, down = image.height / heat.height;
  const layout = {
    levels,
    blockSize: BLOCK_SIZE,
    compression: { kind: "deflate" },
    samples: "float",
    title: `zoomin ${kind} per level-0 px`,
    geoTags: scaledGeoTags(image, [across, down]),
    ...mpp !== undefined && { mpp: mpp * across },
  } as const;
  await writeTiff(path, layout, async (writer) => {
    for (const [level, floats] of levels.entries()) {
      const { rows, columns } = blockGrid(floats, BLOCK_SIZE);
      for (let index = 0; index < rows * columns; index++) {
        const x = index % columns * BLOCK_SIZE;
        const y = Math.floor(index / columns) * BLOCK_SIZE;
        const block = await writer.write(await encodeFloats(cut(floats, x, y)));
        writer.place(level, index, block);
      }
    }
  });
}

/** The block at (x, y), 0 beyond the edges. */
function cut({ values, width, height }: Floats, x: number, y: number) {
  const block = new Float32Array(BLOCK_SIZE * BLOCK_SIZE);
  const end = Math.min(width, x + BLOCK_SIZE);
  for (let row = 0; row < Math.min(BLOCK_SIZE, height - y); row++) {
    const first = (y + row) * width;
    block.set(values.subarray(first + x, first + end), row * BLOCK_SIZE);
  }
  return block;
}

function halved({ values, width, height }: Floats): Floats {
  const size = { width: Math.ceil(width / 2), height: Math.ceil(height / 2) };
  const out = new Float32Array(size.width * size.height);
  for (let y = 0; y < size.height; y++) {
    for (let x = 0; x < size.width; x++) {
      let sum = 0, count = 0;
      for (let row = 2 * y; row < Math.min(2 * y + 2, height); row++) {
        for (
          let column = 2 * x;
          column < Math.min(2 * x + 2, width);
          column++
        ) {
          sum += values[row * width + column]!;
          count++;
        }
      }
      out[y * size.width + x] = sum / count;
    }
  }
  return { ...size, values: out };
}
