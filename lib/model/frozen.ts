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
import type { Encoder, EncoderConfig, Pictures } from "../encoder/encoder.ts";
import { gridFeatures } from "../encoder/grid.ts";
import { onnxHash, readOnnxFacts } from "../encoder/onnx/file.ts";
import { type OnnxEncoder, openOnnxEncoder } from "../encoder/onnx.ts";
import { scatteringEncoder } from "../encoder/scattering.ts";
import { EncoderError } from "../errors.ts";
import { exists } from "../files.ts";
import { type Point, regionMiddle } from "../image/geometry.ts";
import type { Pyramid } from "../image/pyramid.ts";
import type { NetworkConfig } from "./config.ts";
import type { Glimpse, LookOptions } from "./look/draws.ts";
import { placesOf } from "./look/places.ts";
import { DICTIONARY_PREFIX } from "./networks.ts";
import type { Model } from "./model.ts";
import { disposeParameters, type Parameters } from "./parameters.ts";

/**
 * The encoder of frozen features; undefined if f is trained. That of a file is
 * shared by all models of this process that use it, and closed when the last of
 * them is disposed of.
 *
 * @param parameters that hold the dictionary, for these features.
 * @param threads of the network of a file, on the CPU; as many as cores if
 *   omitted.
 * @throws {EncoderError} If its file cannot be used.
 */
export async function openFrozen(
  { features, encoder, colours }: NetworkConfig,
  parameters: Parameters,
  threads?: number,
): Promise<Encoder | undefined> {
  switch (features) {
    case "encoder":
      return await sharedEncoder(encoder!, threads);
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

/**
 * The encoder that reads close-ups; undefined if the model takes none.
 *
 * @throws {EncoderError} If its file cannot be used.
 */
export async function openCloseUp(
  { encoder, closeUp }: NetworkConfig,
): Promise<Encoder | undefined> {
  return closeUp
    ? await sharedEncoder({ ...encoder!, scale: 1, ...closeUp })
    : undefined;
}

/**
 * `network` with the encoder's file where it lies now, on another machine or in
 * another folder than in training.
 *
 * @param files given in the place of the path that the checkpoint has; one of
 *   them must be its file. If there are none, its path is taken.
 * @throws {EncoderError} If the file is not there.
 */
export async function withEncoderFile(
  network: NetworkConfig,
  files: readonly string[],
): Promise<NetworkConfig> {
  const { encoder } = network;
  if (!encoder) return network;
  const path = files.length === 0
    ? await itsOwn(encoder)
    : await oneOf(files, encoder);
  return { ...network, encoder: { ...encoder, path } };
}

async function itsOwn({ path }: EncoderConfig): Promise<string> {
  if (await exists(path)) return path;
  throw new EncoderError(
    `Cannot find the encoder of the checkpoint: there is no file ${path}; give it with --encoder FILE.onnx`,
  );
}

async function oneOf(
  files: readonly string[],
  { sha256 }: EncoderConfig,
): Promise<string> {
  if (files.length === 1) return files[0]!; // checked when it is opened
  for (const file of files) {
    const hash = await onnxHash(file, await readOnnxFacts(file));
    if (hash === sha256) return file;
  }
  throw new EncoderError(
    `None of the files of --encoder is the one that the checkpoint was trained with (SHA-256 ${
      sha256.slice(0, 12)
    }...): give that file, too`,
  );
}

/** Frees the values of a model, and its encoders if no other model uses them. */
export async function disposeModel(
  { parameters, encoder, overview, closeUp }: Pick<
    Model,
    "parameters" | "encoder" | "overview" | "closeUp"
  >,
): Promise<void> {
  disposeParameters(parameters);
  await encoder?.dispose();
  await overview?.dispose();
  await closeUp?.dispose();
}

/** An open network, and the number of those that use it. */
interface Shared {
  opening: Promise<OnnxEncoder>;
  users: number;
}

// A network takes hundreds of MB and seconds to open.
const opened = new Map<string, Shared>();

async function sharedEncoder(
  settings: EncoderConfig,
  threads?: number,
): Promise<Encoder> {
  const engine = tf.getBackend() === "webgpu" ? "webgpu" : "wasm";
  const key = JSON.stringify([engine, settings, threads]);
  let shared = opened.get(key);
  if (!shared) {
    const opening = openOnnxEncoder(settings, { engine, threads });
    shared = { opening, users: 0 };
    opened.set(key, shared);
    opening.catch(() => opened.delete(key)); // the file may be mended
  }
  shared.users++;
  return new SharedEncoder(await shared.opening, () => {
    if (--shared.users === 0) opened.delete(key);
    return shared.users === 0;
  });
}

/** One user's hold on an encoder that others may use, too. */
class SharedEncoder implements Encoder {
  readonly key: string;
  readonly channels: number;
  readonly margin: number;
  readonly placesAtOnce: number;
  readonly step: number;
  readonly bytesPerPixel: number;
  readonly blockPixels?: number;
  readonly #encoder: OnnxEncoder;
  readonly #release: () => boolean;
  #isHeld = true;

  /** @param release gives the hold back, and tells if it was the last. */
  constructor(encoder: OnnxEncoder, release: () => boolean) {
    this.key = encoder.key;
    this.channels = encoder.channels;
    this.margin = encoder.margin;
    this.placesAtOnce = encoder.placesAtOnce;
    this.step = encoder.step;
    this.bytesPerPixel = encoder.bytesPerPixel;
    if (encoder.blockPixels !== undefined) {
      this.blockPixels = encoder.blockPixels;
    }
    this.#encoder = encoder;
    this.#release = release;
  }

  features(
    pictures: Pictures,
    places: readonly (readonly Point[])[],
    signal?: AbortSignal,
  ): Promise<Float32Array> {
    return this.#encoder.features(pictures, places, signal);
  }

  async dispose(): Promise<void> {
    if (!this.#isHeld) return;
    this.#isHeld = false;
    if (this.#release()) await this.#encoder.dispose();
  }
}

/**
 * Keeps the encoder of a file open, if there is one, though models that use it
 * come and go, as in the folds of a cross-validation.
 *
 * @throws {EncoderError} If the file cannot be used.
 */
export async function keepEncoderOpen(network: NetworkConfig): Promise<void> {
  if (network.features === "encoder") await sharedEncoder(network.encoder!);
  await openOverview(network);
  await openCloseUp(network);
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
