/**
 * The picture of a prediction: its heat map over the image.
 *
 * @module
 */
import { downsample } from "../../kernels/downsample.ts";
import { packPixels } from "../../kernels/gather_patches.ts";
import { boundedSize, locationAt } from "../image/geometry.ts";
import { encodePng } from "../image/png.ts";
import type { Pixels, Pyramid } from "../image/pyramid.ts";
import {
  describeScale,
  heatmap,
  renderHeatmap,
  withPngText,
} from "./heatmap.ts";
import type { Prediction } from "./predict.ts";

// As large as the heat map itself.
const LONGEST_SIDE = 1024; // px

/**
 * A PNG of alpha * beta over the image, the sub-tiles outlined, its scale in
 * the file's Comment.
 *
 * @param prediction one that holds its attention maps.
 */
export async function heatmapPng(
  pyramid: Pyramid,
  prediction: Prediction,
): Promise<Uint8Array<ArrayBuffer>> {
  const { attention } = prediction;
  if (!attention) {
    throw new TypeError("Cannot draw attention that was not kept");
  }
  const { tileMap, subTileMap } = attention;
  const heat = heatmap(pyramid, {
    tileAttention: { ...tileMap, attention: attention.tileAttention },
    tiles: prediction.tiles.map(({ x, y, width, height }, i) => ({
      location: locationAt(attention.tiles[i]!, tileMap.columns),
      region: { x, y, width, height },
      subTileAttention: {
        ...subTileMap,
        attention: attention.subTileAttention[i]!,
      },
    })),
  });
  const { pixels, scale } = renderHeatmap(
    heat,
    await overview(pyramid),
    prediction.subTiles,
  );
  return withPngText(await encodePng(pixels), "Comment", describeScale(scale));
}

/** The whole image, small. */
async function overview(pyramid: Pyramid): Promise<Pixels> {
  const { width, height } = pyramid;
  const whole = await pyramid.read({ x: 0, y: 0, width, height }, 0);
  const output = boundedSize(pyramid, LONGEST_SIDE);
  const packed = packPixels(whole);
  const view = downsample(packed, {
    origins: new Int32Array(2),
    size: { width, height },
    output,
  });
  const values = await view.data();
  packed.dispose();
  view.dispose();
  const data = new Uint8Array(output.width * output.height * 4).fill(255);
  for (let i = 0; i < output.width * output.height; i++) {
    for (let c = 0; c < 3; c++) {
      data[4 * i + c] = Math.round(values[3 * i + c]! * 255);
    }
  }
  return { data, ...output };
}
