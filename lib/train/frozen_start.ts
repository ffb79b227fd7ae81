/**
 * The frozen f of a model that is to be trained: a dictionary is learned from
 * patches of the training images, others are as they are.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { setTimeout } from "node:timers/promises";
import { randomKey, RandomStream } from "../../kernels/random.ts";
import type { ManifestEntry } from "../data/manifest.ts";
import type { Pictures } from "../encoder/encoder.ts";
import { learnDictionary } from "../encoder/learn_dictionary.ts";
import type { ImageCache } from "../image/image_cache.ts";
import { openAtMpp } from "../image/resampled.ts";
import { openCloseUp, openFrozen, openOverview } from "../model/frozen.ts";
import type { Model } from "../model/model.ts";
import { DICTIONARY_PREFIX } from "../model/networks.ts";

// Images that a dictionary is learned from, evenly spread: more change nothing.
const IMAGES = 60;
// Longest side of the part of an image that patches are taken from, px.
const LONGEST = 1024;
const CHANNELS = 3;
const PART = 111; // word of the random keys

/** Options of {@linkcode withFrozen}. */
interface FrozenOptions {
  cache: ImageCache;
  seed: number;
  signal?: AbortSignal | undefined;
}

/**
 * `model` with its frozen f, if it has one; a dictionary is learned first, into
 * its parameters.
 *
 * @throws {EncoderError} If its file cannot be used.
 * @throws {ImageError} If an image cannot be read.
 */
export async function withFrozen(
  model: Model,
  train: readonly ManifestEntry[],
  options: FrozenOptions,
): Promise<Model> {
  const { config: { network }, parameters } = model;
  if (network.features === "dictionary") {
    const entries = spread(train);
    const dictionary = await learnDictionary(
      pictures(model, entries, options),
      {
        seed: options.seed,
        images: entries.length,
        ...options.signal && { signal: options.signal },
      },
    );
    for (const [name, { shape, data }] of dictionary) {
      const variable = parameters.get(`${DICTIONARY_PREFIX}${name}`)!;
      tf.tidy(() => variable.assign(tf.tensor(data, shape)));
    }
  }
  return {
    ...model,
    encoder: await openFrozen(network, parameters),
    overview: await openOverview(network),
    closeUp: await openCloseUp(network),
  };
}

function spread(entries: readonly ManifestEntry[]): ManifestEntry[] {
  const step = Math.max(1, entries.length / IMAGES);
  const count = Math.min(entries.length, IMAGES);
  return Array.from(
    { length: count },
    (_, i) => entries[Math.floor(i * step)]!,
  );
}

/** Each image at full resolution; of a large one a random part. */
async function* pictures(
  { config: { mpp } }: Model,
  entries: readonly ManifestEntry[],
  { cache, seed, signal }: FrozenOptions,
): AsyncGenerator<Pictures> {
  for (const [index, entry] of entries.entries()) {
    await setTimeout(0); // decoded images never wait: let signals in
    const pyramid = await openAtMpp(cache, entry, mpp, signal);
    try {
      const random = new RandomStream(randomKey(seed, PART, index));
      const width = Math.min(LONGEST, pyramid.width);
      const height = Math.min(LONGEST, pyramid.height);
      const x = random.below(pyramid.width - width + 1);
      const y = random.below(pyramid.height - height + 1);
      const { data } = await pyramid.read({ x, y, width, height }, 0, signal);
      yield { data: colours(data), count: 1, width, height };
    } finally {
      pyramid.close();
    }
  }
}

/** RGB in [0, 1] of RGBA bytes. */
function colours(bytes: Uint8Array): Float32Array {
  const count = bytes.length / 4;
  const values = new Float32Array(count * CHANNELS);
  for (let i = 0; i < count; i++) {
    for (let c = 0; c < CHANNELS; c++) {
      values[i * CHANNELS + c] = bytes[4 * i + c]! / 255;
    }
  }
  return values;
}
