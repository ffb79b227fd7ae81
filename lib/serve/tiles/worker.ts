/**
 * Cuts tiles in a Worker, so that decoding never blocks the HTTP loop. See
 * tiles.ts.
 *
 * @module
 */
import { encodeJpeg } from "../../image/formats/jpeg.ts";
import { findLibvips } from "../../image/formats/libvips.ts";
import { BlockCache } from "../../image/pyramids/block_cache.ts";
import { answerCalls } from "../../workers/calls.ts";
import { guardedFetch } from "../intake/guarded_fetch.ts";
import { Cutter } from "./cutter.ts";
import { OpenImages } from "./open_images.ts";
import type { CutterMethods } from "./protocol.ts";

// Shares of the bound: decoded blocks, and pictures that are held decoded.
const BLOCK_SHARE = 1 / 16, HELD_SHARE = 1 / 2;
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
    await warmUp();
  },
  describe: (image, signal) => cutter.describe(image, signal),
  cut: (task, signal) => cutter.cut(task, signal),
});

/** Makes a picture, so that the first one does not wait for the library. */
async function warmUp(): Promise<void> {
  const { libvips } = await findLibvips();
  const pixel = { width: 1, height: 1, data: new Uint8ClampedArray(3) };
  if (libvips) await encodeJpeg(pixel);
}
