/**
 * A few classifications, to tell how long one takes here.
 *
 * @module
 */
import { RasterPyramid } from "../image/pyramids/raster.ts";
import { Memory } from "../memory.ts";
import type { Config } from "../model/config.ts";
import type { Model } from "../model/model.ts";
import { modelSpecs } from "../model/networks.ts";
import { disposeParameters, initialParameters } from "../model/parameters.ts";
import { batchImages } from "./batches.ts";
import { predict } from "./predict.ts";

// As small as images of patches are; larger ones gain more from a GPU.
const MIN_SIDE = 512; // px
// The first also compiles.
const TIMES = 3;

/**
 * Seconds that an image of noise takes on the current engine, in a batch as
 * `classifyEach` makes them, without being opened.
 */
export async function classificationTrial(
  { config, classes, signal }: {
    config: Config;
    classes: readonly string[];
    signal: AbortSignal;
  },
): Promise<number> {
  const memory = new Memory();
  const model: Model = {
    config,
    classes,
    normalisation: { mean: [0.5, 0.5, 0.5], deviation: [0.3, 0.3, 0.3] },
    calibration: null,
    parameters: initialParameters(modelSpecs(config, classes), {
      initialisation: config.network.initialisation,
      seed: 0,
    }),
  };
  const side = Math.max(MIN_SIDE, 2 * config.view.tileSize);
  const count = batchImages(side ** 2, memory);
  const images = Array.from({ length: count }, (_, i) => noise(side, i));
  const seconds: number[] = [];
  try {
    for (let seed = 0; seed < TIMES; seed++) {
      const started = performance.now();
      await predict(model, images, {
        seed,
        foreground: { kind: "none" }, // noise is no tissue
        memory,
        signal,
      });
      seconds.push((performance.now() - started) / 1000 / count);
    }
    return Math.min(...seconds.slice(1));
  } finally {
    disposeParameters(model.parameters);
  }
}

/** An image of `side` x `side` px of many colours. */
function noise(side: number, seed: number): RasterPyramid {
  const words = Uint32Array.from(
    { length: side ** 2 },
    (_, i) => Math.imul(i + seed * side ** 2, 0x9e3779b1) | 0xff000000,
  );
  const pixels = {
    data: new Uint8Array(words.buffer),
    width: side,
    height: side,
  };
  return new RasterPyramid("noise", { pixels, warnings: [] });
}
