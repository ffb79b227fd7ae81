/**
 * Cuts tiles in a Worker, so that decoding never blocks the HTTP loop. See
 * tiles.ts.
 *
 * @module
 */
import { findLibvips } from "../../image/formats/libvips.ts";
import { BlockCache } from "../../image/pyramids/block_cache.ts";
import { answerCalls } from "../../workers/calls.ts";
import { guardedFetch } from "../intake/guarded_fetch.ts";
import { Cutter } from "./cutter.ts";
import { OpenImages } from "./open_images.ts";
import type { CutterMethods } from "./protocol.ts";

// Shares of the bound: decoded blocks, and pictures that are held decoded.
const BLOCK_SHARE = 1 / 8, HELD_SHARE = 1 / 2;
const BYTES_PER_PIXEL = 4;

let cutter: Cutter;

answerCalls<CutterMethods, never>({
  async start({ allowedHosts, memoryBytes, maxPixels, maxBlocks }) {
    const heldBytes = memoryBytes * HELD_SHARE;
    const images = new OpenImages(heldBytes, {
      cache: new BlockCache(memoryBytes * BLOCK_SHARE),
      heldPixels: heldBytes / BYTES_PER_PIXEL,
      maxPixels,
      fetch: guardedFetch(allowedHosts),
    });
    cutter = new Cutter({ images, maxBlocks });
    await findLibvips(); // loaded before the first picture
  },
  describe: (image, signal) => cutter.describe(image, signal),
  cut: (task, signal) => cutter.cut(task, signal),
});
