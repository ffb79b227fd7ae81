/**
 * The frozen f of a model: opened with its checkpoint, and how it reads the
 * sub-tiles that were drawn.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import {
  type Dictionary,
  dictionaryEncoder,
  dictionaryTensors,
} from "../encoder/dictionary.ts";
import type { Encoder, EncoderConfig } from "../encoder/encoder.ts";
import { gridFeatures } from "../encoder/grid.ts";
import { openOnnxEncoder } from "../encoder/onnx.ts";
import { scatteringEncoder } from "../encoder/scattering.ts";
import { regionMiddle } from "../image/geometry.ts";
import type { Pyramid } from "../image/pyramid.ts";
import type { NetworkConfig } from "./config.ts";
import type { Glimpse, LookOptions } from "./look/draws.ts";
import { placesOf } from "./look/places.ts";
import { DICTIONARY_PREFIX } from "./networks.ts";
import type { Parameters } from "./parameters.ts";

/**
 * The encoder of frozen features; undefined if f is trained. That of a file is
 * shared by all models of this process that use it, and stays open.
 *
 * @param parameters that hold the dictionary, for these features.
 * @throws {EncoderError} If its file cannot be used.
 */
export async function openFrozen(
  { features, encoder, colours }: NetworkConfig,
  parameters: Parameters,
): Promise<Encoder | undefined> {
  switch (features) {
    case "encoder":
      return await sharedEncoder(encoder!);
    case "scattering":
      return scatteringEncoder({ colours });
    case "dictionary":
      return dictionaryEncoder(await dictionaryOf(parameters), {
        key: `dictionary/${
          parameters.get(`${DICTIONARY_PREFIX}fine/offset`)!.id
        }`,
      });
    default:
      return undefined;
  }
}

/**
 * The encoder that sees whole images for attention; undefined if networks a and b
 * do.
 *
 * @throws {EncoderError} If its file cannot be used.
 */
export async function openOverview(
  { encoder, overview }: NetworkConfig,
): Promise<Encoder | undefined> {
  return overview
    ? await sharedEncoder({ ...encoder!, ...overview })
    : undefined;
}

// A network takes hundreds of MB and seconds to open.
const opened = new Map<string, Promise<Encoder>>();

function sharedEncoder(settings: EncoderConfig): Promise<Encoder> {
  const engine = tf.getBackend() === "webgpu" ? "webgpu" : "wasm";
  const key = JSON.stringify([engine, settings]);
  const found = opened.get(key);
  if (found) return found;
  const opening = openOnnxEncoder(settings, { engine });
  opened.set(key, opening);
  opening.catch(() => opened.delete(key)); // the file may be mended
  return opening;
}

async function dictionaryOf(parameters: Parameters): Promise<Dictionary> {
  const read = dictionaryTensors.map(async ({ name, shape }) => {
    const values = await parameters.get(DICTIONARY_PREFIX + name)!.data();
    return [name, { shape, data: values as Float32Array }] as const;
  });
  return new Map(await Promise.all(read));
}

/**
 * Frozen features at the places of the sub-tiles of glimpses, in order:
 * `[S * places, K]`.
 *
 * @param options.side places of a sub-tile, to a side.
 * @throws {ImageError} If an image cannot be read.
 * @throws {EncoderError} If a feature is not finite.
 */
export async function frozenFeatures(
  encoder: Encoder,
  images: readonly { pyramid: Pyramid }[],
  glimpses: readonly Pick<Glimpse, "image" | "subTileRegions">[],
  { memory, signal, subTileSize, side }:
    & Pick<LookOptions, "memory" | "signal">
    & { subTileSize: number; side: number },
): Promise<tf.Tensor2D> {
  const rows: Float32Array[] = [];
  for (const { image, subTileRegions } of glimpses) {
    rows.push(
      await gridFeatures(
        encoder,
        images[image]!.pyramid,
        subTileRegions.flatMap((region) =>
          placesOf(regionMiddle(region), { subTileSize, side })
        ),
        { memory, signal, windowSize: subTileSize },
      ),
    );
  }
  return tf.tidy(() =>
    tf.concat2d(
      rows.map((values) =>
        tf.tensor2d(values, [
          values.length / encoder.channels,
          encoder.channels,
        ])
      ),
      0,
    )
  );
}
