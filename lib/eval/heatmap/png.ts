/**
 * The picture of a prediction: its heat map over the image.
 *
 * @module
 */
import { encodePng } from "../../image/formats/png.ts";
import { readOverview } from "../../image/overview.ts";
import type { Pixels, Pyramid } from "../../image/pyramid.ts";
import { describeScale, renderHeatmap, withPngText } from "./colours.ts";
import { turn } from "../../turn.ts";
import type { Prediction } from "../predict.ts";
import type { HeatKind } from "./heatmap.ts";

// As large as the heat map itself.
const MAX_SIDE = 1024; // px
const GREY: Pixels = {
  data: Uint8Array.of(128, 128, 128, 255),
  width: 1,
  height: 1,
};

/**
 * A PNG of alpha * beta over the image, or of the evidence, the sub-tiles
 * outlined, what it shows and its scale in the file's Comment.
 *
 * @param prediction made with `attention: true`.
 * @param options.kind `evidence` is there under the head `evidence` alone.
 * @param options.signal stops the reading of the image.
 * @param options.photograph draws the heat over the image, else over grey.
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
  { kind = "attention", photograph = true, signal }: {
    kind?: HeatKind;
    photograph?: boolean;
    signal?: AbortSignal | undefined;
  } = {},
): Promise<Uint8Array<ArrayBuffer>> {
  const heat = prediction[kind];
  if (!heat) {
    throw new TypeError(
      `Cannot draw the heat map: the prediction has no ${kind}; predict with attention: true`,
    );
  }
  const ground = photograph ? await overview(pyramid, signal) : GREY;
  await turn(signal);
  const { pixels, scale } = renderHeatmap(heat, ground, prediction.subTiles);
  await turn(signal);
  const text = describeScale(scale, kind);
  return withPngText(await encodePng(pixels), "Comment", text);
}

/** The whole image, small. */
async function overview(
  pyramid: Pyramid,
  signal: AbortSignal | undefined,
): Promise<Pixels> {
  const { data, width, height } = await readOverview(
    pyramid,
    MAX_SIDE,
    signal,
  );
  const pixels = new Uint8Array(width * height * 4).fill(255);
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) pixels[4 * i + c] = data[3 * i + c]!;
  }
  return { data: pixels, width, height };
}
