/**
 * A few steps of a training, to tell how long the whole will take here.
 *
 * @module
 */
import type { ManifestEntry } from "../data/manifest.ts";
import type { Engine } from "../engine/select.ts";
import { imageCache } from "../image/image_cache.ts";
import { Memory, peakMemoryBytes } from "../memory.ts";
import type { Config } from "../model/config.ts";
import { disposeModel } from "../model/frozen.ts";
import { Batches } from "./batches.ts";
import { AdamW } from "./optimizer.ts";
import { trainStep } from "./step/step.ts";
import { freshModel } from "./trainer.ts";

/** What a training would take. */
export interface Trial {
  /** Seconds of all epochs with one worker, without their scoring. */
  seconds: number;
  /** Peak resident memory of the trial, bytes. */
  peakBytes: number;
}

// The first step also compiles, and opens the images.
const STEPS = 3;

/**
 * Takes three steps, and reckons from the last two.
 *
 * @param images to train on, of which the first ones are used.
 * @throws {ImageError} If one of those cannot be read.
 */
export async function trainingTrial(
  engine: Engine,
  images: readonly ManifestEntry[],
  { config, classes, signal }: {
    config: Config;
    classes: readonly string[];
    signal: AbortSignal;
  },
): Promise<Trial> {
  const memory = new Memory();
  const { batchSize, epochs } = config.training;
  const train = images.slice(0, batchSize * STEPS);
  const cache = imageCache(memory, 0); // an epoch of many images finds none kept
  const model = await freshModel({ classes, train, validation: [] }, {
    config,
    seed: 0,
    cache,
    signal,
  });
  const optimizer = new AdamW();
  try {
    const ends: { at: number; images: number }[] = [];
    for await (
      const { images: batch, failure } of new Batches(model, train, {
        seed: 0,
        cache,
        signal,
      })
        .ofEpoch(1)
    ) {
      signal.throwIfAborted();
      if (failure) throw failure;
      await engine.whileAlive(() =>
        trainStep(model, optimizer, batch, {
          rate: 1,
          contrastive: false,
          freezeAttention: false,
          classWeights: classes.map(() => 1),
          exploration: 0,
          foreground: undefined,
          memory,
          signal,
        })
      );
      ends.push({ at: performance.now(), images: batch.length });
    }
    const timed = ends.slice(1).reduce((sum, { images }) => sum + images, 0);
    const perImage = (ends.at(-1)!.at - ends[0]!.at) / 1000 / timed;
    return {
      seconds: perImage * images.length * epochs,
      peakBytes: peakMemoryBytes(),
    };
  } finally {
    optimizer.dispose();
    await disposeModel(model);
    cache.close();
  }
}
