/**
 * The picture of a prediction: its heat map over the image.
 *
 * @module
 */
import { boundedSize, type Size } from "../../image/geometry.ts";
import { encodePng } from "../../image/formats/png.ts";
import { readOverview } from "../../image/overview.ts";
import type { Pixels, Pyramid } from "../../image/pyramid.ts";
import { describeScale, renderHeatmap, withPngText } from "./colours.ts";
import { withLegend } from "./legend.ts";
import { turn } from "../../turn.ts";
import type { Prediction } from "../predict.ts";
import type { HeatKind } from "./heatmap.ts";

// As large as the heat map itself.
const MAX_SIDE = 1024; // px
// Where one looks at the picture itself: a screen's worth of detail.
const POSTER_SIDE = 4096; // px
const LEAST_WIDTH = 400; // px, for the words of the legend
// Of a pixel while it is averaged, drawn and encoded.
const BYTES_PER_PIXEL = 24;
const GREY: Pixels = {
  data: Uint8Array.of(128, 128, 128, 255),
  width: 1,
  height: 1,
};

/**
 * A PNG of alpha * beta over the image, or of the evidence, the heaviest sub-tiles
 * framed, what it shows and its scale in the file's Comment.
 *
 * @param prediction made with `attention: true`.
 * @param options.kind `evidence` is there under the head `evidence` alone.
 * @param options.signal stops the reading of the image.
 * @param options.photograph draws the heat over the image, else over grey.
 * @param options.poster draws it at the image's own resolution, at most 4096 px
 *   and as many as these bytes hold, with a legend below it.
 *
 * @example
 * ```ts
 * import { openImage, readCheckpoint } from "@zoomin/zoomin";
 * import { predict } from "../predict.ts";
 *
 * const { model } = await readCheckpoint("run"); // after startEngine
 * const image = await openImage("scan.tif");
 * const { predictions } = await predict(model, [image], {
 *   seed: 0,
 *   attention: true,
 * });
 * await Deno.writeFile("heat.png", await heatmapPng(image, predictions[0]!));
 * ```
 */
export async function heatmapPng(
  pyramid: Pyramid,
  prediction: Prediction,
  { kind = "attention", photograph = true, poster, signal }: {
    kind?: HeatKind;
    photograph?: boolean;
    poster?: { bytes: number; mpp: number | undefined } | undefined;
    signal?: AbortSignal | undefined;
  } = {},
): Promise<Uint8Array<ArrayBuffer>> {
  const heat = prediction[kind];
  if (!heat) {
    throw new TypeError(
      `Cannot draw the heat map: the prediction has no ${kind}; predict with attention: true`,
    );
  }
  const size = poster ? posterSize(pyramid, poster.bytes) : heat;
  const ground = photograph ? await overview(pyramid, size, signal) : GREY;
  await turn(signal);
  const { pixels, scale, framed } = renderHeatmap(
    heat,
    ground,
    prediction.subTiles,
    size,
  );
  await turn(signal);
  const picture = poster
    ? withLegend(pixels, {
      kind,
      scale,
      framed,
      subTiles: prediction.subTiles.length,
      downsample: pyramid.width / pixels.width,
      mpp: poster.mpp,
    })
    : pixels;
  const text = describeScale(scale, kind);
  return withPngText(await encodePng(picture), "Comment", text);
}

/** The image's own size, bounded; a small image is enlarged. */
function posterSize(image: Size, bytes: number): Size {
  const held = Math.sqrt(bytes / BYTES_PER_PIXEL);
  const side = Math.max(MAX_SIDE, Math.min(POSTER_SIDE, Math.floor(held)));
  const { width, height } = boundedSize(image, side);
  const times = Math.min(
    Math.ceil(LEAST_WIDTH / width),
    Math.max(1, Math.floor(side / Math.max(width, height))),
  );
  return { width: width * times, height: height * times };
}

/** The whole image, no smaller than `size` if it has as many pixels. */
async function overview(
  pyramid: Pyramid,
  size: Size,
  signal: AbortSignal | undefined,
): Promise<Pixels> {
  const { data, width, height } = await readOverview(
    pyramid,
    Math.max(size.width, size.height, MAX_SIDE),
    signal,
  );
  const pixels = new Uint8Array(width * height * 4).fill(255);
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) pixels[4 * i + c] = data[3 * i + c]!;
  }
  return { data: pixels, width, height };
}
