/**
 * Looks at images of any size, as many at once as the memory bound allows.
 *
 * @module
 */
import { turn } from "../../turn.ts";
import type { Model } from "../model.ts";
import { lookInBlocks } from "./blocks.ts";
import type { LookImage, LookOptions } from "./draws.ts";
import type { Look } from "./look.ts";
import { microBatches } from "./micro_batches.ts";
import { type Overview, overviewOf } from "./overview.ts";
import { lookByOverview } from "./overview_look.ts";
import { lookWhole } from "./whole.ts";

/**
 * The looks at images, in order, micro-batch by micro-batch. A look is disposed
 * of when the next one is asked for.
 *
 * @throws {ImageError} If an image cannot be read, or has no foreground.
 */
export async function* lookAt(
  model: Model,
  images: readonly LookImage[],
  options: LookOptions,
): AsyncGenerator<Look> {
  if (model.overview) {
    yield* overviewLooks(model, images, options);
    return;
  }
  const cut = microBatches(images, model.config, options);
  for (const { images: places, inBlocks } of cut) {
    await turn(options.signal); // wasm computes without a pause
    const own = places.map((i) => images[i]!);
    const look: Look = inBlocks
      ? await lookInBlocks(model, own[0]!, options)
      : await lookWhole(model, own, options);
    try {
      yield { ...look, places };
    } finally {
      look.dispose();
    }
  }
}

/** The looks by attention of the encoder, which sees an image once for all. */
async function* overviewLooks(
  model: Model,
  images: readonly LookImage[],
  options: LookOptions,
): AsyncGenerator<Look> {
  let last: { pyramid: LookImage["pyramid"]; seen: Overview } | undefined;
  for (const [i, image] of images.entries()) {
    await turn(options.signal);
    const { pyramid } = image;
    if (last?.pyramid !== pyramid) {
      last = { pyramid, seen: await overviewOf(model, pyramid, options) };
    }
    const look = await lookByOverview(model, image, last.seen, options);
    try {
      yield { ...look, places: [i] };
    } finally {
      look.dispose();
    }
  }
}
