/**
 * A pretrained network in an ONNX file, as an encoder.
 *
 * A network over maps of any size (`inputSize` null) takes pictures with many
 * places; its maps are pooled about each. One of a fixed size sees a picture, the
 * window about a place, resized to its input.
 *
 * @module
 */
import { createHash } from "node:crypto";
import type { Point, Size } from "../image/geometry.ts";
import { spansAbout } from "./cells.ts";
import type {
  Encoder,
  EncoderConfig,
  EncoderOutput,
  Pictures,
} from "./encoder.ts";
import { onnxHash, readOnnxFacts } from "./onnx/file.ts";
import {
  checkGpu,
  type NetworkInput,
  networkInput,
  type NetworkOutput,
  type Trial,
  TRIAL_SIZE,
  triedOutputs,
  unusable,
} from "./onnx/network.ts";
import {
  type OnnxEngine,
  Session,
  type SessionOptions,
  type Values,
} from "./onnx/runtime.ts";
import { type OutputMaps, pooledChannels, poolOutput } from "./pooling.ts";
import { resizer } from "./resize.ts";

// Changes whenever the code makes other features of the same file.
const VERSION = 1;

// Px of the input of one run: 16 pictures of 224 px.
const MAX_RUN_PIXELS = 16 * 224 ** 2;

// Px of the input that a block of a reduced image has at most: its margin, in px
// of the image, is so wide that smaller ones would be all margin.
const REDUCED_BLOCK_PIXELS = 2 ** 20;

// Bytes of a run for each px of its input: EfficientNet-Lite0 takes 222.
const BYTES_PER_INPUT_PIXEL = 240;

// Cells of the coarsest map around a place on which its features depend
// noticeably. Without what is beyond, EfficientNet-Lite0's at stride 32 change by
// 1.5 % on a slide (by 7 % with 6 cells, 0.2 % with 10), the finer ones by less
// than 0.01 %.
const MARGIN_CELLS = 8;

const MAX_STEP = 4096; // px

/** An output with what is made of it. */
type Used = NetworkOutput & EncoderOutput;

/**
 * Opens the network of `settings`.
 *
 * @param options the engine that it runs beside, and threads on the CPU (as many
 *   as cores if omitted).
 * @throws {EncoderError} If the file is another one than that of the settings, or
 *   of no use as they say.
 *
 * @example
 * ```ts
 * const encoder = await openOnnxEncoder(settings, { engine: "wasm" });
 * const picture = { data, count: 1, height: 64, width: 64 };
 * await encoder.features(picture, [[{ x: 32, y: 32 }]]); // [1, K]
 * ```
 */
export async function openOnnxEncoder(
  settings: EncoderConfig,
  { engine, threads }: { engine: OnnxEngine; threads?: number | undefined },
): Promise<OnnxEncoder> {
  const { path } = settings;
  const facts = await readOnnxFacts(path);
  const hash = await onnxHash(path, facts);
  if (hash !== settings.sha256) {
    throw unusable(
      path,
      `it is another one than the checkpoint was trained with (SHA-256 ${
        hash.slice(0, 12)
      }..., not ${settings.sha256.slice(0, 12)}...); give that file`,
    );
  }
  const { externalFiles } = facts;
  const options = { engine, threads, externalFiles };
  const session = await Session.open(path, options);
  try {
    const trial = trialOf(session, settings);
    const outputs = await usedOutputs(session, trial, settings);
    if (engine === "webgpu") await judgeGpu(session, trial, options);
    return new OnnxEncoder(session, { settings, input: trial.input, outputs });
  } catch (error) {
    await session.dispose();
    throw error;
  }
}

function trialOf(session: Session, settings: EncoderConfig): Trial {
  const { path, inputSize, outputs } = settings;
  const input = networkInput(session, path);
  checkInputSize(input, settings);
  const side = inputSize ?? TRIAL_SIZE;
  return {
    input,
    size: { width: side, height: side },
    names: outputs.map(({ name }) => name),
    path,
  };
}

async function usedOutputs(
  session: Session,
  trial: Trial,
  settings: EncoderConfig,
): Promise<Used[]> {
  const { path } = settings;
  const tried = await triedOutputs(session, trial);
  const outputs = tried.map((one, i) => ({ ...one, ...settings.outputs[i]! }));
  const channels = outputs.reduce((sum, one) => sum + channelsOf(one), 0);
  if (channels !== settings.channels) {
    throw unusable(
      path,
      `its outputs make ${channels} features of a place, not ${settings.channels} as the configuration says; set network.encoder.channels`,
    );
  }
  if (settings.inputSize === null) checkMaps(outputs, path);
  return outputs;
}

async function judgeGpu(
  session: Session,
  trial: Trial,
  options: SessionOptions,
): Promise<void> {
  const reference = await Session.open(trial.path, {
    ...options,
    asReference: true,
  });
  try {
    await checkGpu(session, reference, trial);
  } finally {
    await reference.dispose();
  }
}

function checkInputSize(
  { height, width }: NetworkInput,
  { path, inputSize }: EncoderConfig,
): void {
  const side = height ?? width;
  if (
    side === undefined ||
    [height ?? side, width ?? side].every((one) => one === inputSize)
  ) return;
  throw unusable(
    path,
    height === width
      ? `its input has ${side} x ${side} px, not ${
        inputSize ?? "any size"
      }; set network.encoder.inputSize = ${side}`
      : `its input has ${height} x ${width} px; export it with a square or any size`,
  );
}

/** A network over maps of any size: its outputs are maps of whole strides. */
function checkMaps(outputs: readonly Used[], path: string): void {
  for (const { name, kind, dims, cell } of outputs) {
    const isWhole = kind === "maps" && cell.x === cell.y &&
      Number.isInteger(cell.x);
    if (isWhole) continue;
    throw unusable(
      path,
      `its output "${name}" has the shape [${
        dims.join(", ")
      }] for ${TRIAL_SIZE} px: no maps of a whole stride; set network.encoder.inputSize to give it one window at a time`,
    );
  }
}

function channelsOf({ channels, pooling, kind }: Used): number {
  return kind === "maps" ? pooledChannels(channels, pooling) : channels;
}

/** The encoder of a file. */
export class OnnxEncoder implements Encoder {
  readonly key: string;
  readonly channels: number;
  readonly margin: number;
  readonly placesAtOnce: number;
  readonly step: number;
  readonly bytesPerPixel: number;
  readonly blockPixels?: number;
  readonly #session: Session;
  readonly #settings: EncoderConfig;
  readonly #input: NetworkInput;
  readonly #outputs: readonly Used[];
  /** The px of an input are a multiple of it, as the cells of all maps are. */
  readonly #stride: number;

  constructor(
    session: Session,
    { settings, input, outputs }: {
      settings: EncoderConfig;
      input: NetworkInput;
      outputs: readonly Used[];
    },
  ) {
    const { inputSize, scale } = settings;
    this.#session = session;
    this.#settings = settings;
    this.#input = input;
    this.#outputs = outputs;
    this.#stride = inputSize ??
      outputs.reduce((all, { cell }) => leastMultiple(all, cell.x), 1);
    this.key = keyOf(settings);
    this.channels = settings.channels;
    this.margin = marginOf(settings, outputs);
    this.placesAtOnce = inputSize === null ? Infinity : 1;
    this.step = inputSize === null ? wholeStep(this.#stride / scale) : 1;
    this.bytesPerPixel = BYTES_PER_INPUT_PIXEL * scale ** 2;
    if (scale < 1) this.blockPixels = REDUCED_BLOCK_PIXELS / scale ** 2;
  }

  async features(
    pictures: Pictures,
    places: readonly (readonly Point[])[],
    signal?: AbortSignal,
  ): Promise<Float32Array> {
    const { count } = pictures;
    const total = places.reduce((sum, { length }) => sum + length, 0);
    const features = new Float32Array(total * this.channels);
    const frame = this.#frame(pictures);
    const batch = this.#input.batch ?? frame.batch;
    let done = 0;
    for (let from = 0; from < count; from += batch) {
      signal?.throwIfAborted();
      const to = Math.min(count, from + batch);
      const results = await this.#run(pictures, { from, to, frame, batch });
      for (let i = from; i < to; i++) {
        for (const place of places[i]!) {
          this.#gather(results, place, {
            picture: i - from,
            frame,
            features,
            at: done++ * this.channels,
          });
        }
      }
    }
    this.#checkFinite(features);
    return features;
  }

  async dispose(): Promise<void> {
    await this.#session.dispose();
  }

  /** How pictures of this size lie in the input. */
  #frame({ height, width }: Size): Frame {
    const { inputSize, scale } = this.#settings;
    if (inputSize !== null) {
      return {
        from: { height, width },
        filled: { height: inputSize, width: inputSize },
        to: { height: inputSize, width: inputSize },
        scale: { x: inputSize / width, y: inputSize / height },
        batch: pixelsPerRun(inputSize ** 2),
      };
    }
    const filled = {
      height: Math.max(1, Math.round(height * scale)),
      width: Math.max(1, Math.round(width * scale)),
    };
    const stride = this.#stride;
    const to = {
      height: Math.ceil(filled.height / stride) * stride,
      width: Math.ceil(filled.width / stride) * stride,
    };
    return {
      from: { height, width },
      filled,
      to,
      scale: { x: scale, y: scale },
      batch: pixelsPerRun(to.height * to.width),
    };
  }

  async #run(
    { data }: Pictures,
    { from, to, frame, batch }: {
      from: number;
      to: number;
      frame: Frame;
      batch: number;
    },
  ): Promise<Map<string, Values>> {
    const write = resizer({ ...this.#settings, ...frame });
    const size = frame.from.height * frame.from.width * 3;
    const { height, width } = frame.to;
    const number = this.#input.batch === undefined ? to - from : batch;
    const input = new Float32Array(number * 3 * height * width);
    for (let i = from; i < to; i++) {
      const picture = data.subarray(i * size, (i + 1) * size);
      write(picture, input, (i - from) * 3 * height * width);
    }
    return await this.#session.run(
      { name: this.#input.name, data: input, dims: [number, 3, height, width] },
      this.#outputs.map(({ name }) => name),
    );
  }

  /** Writes the features of one place. */
  #gather(
    results: Map<string, Values>,
    place: Point,
    { picture, frame, features, at }: {
      picture: number;
      frame: Frame;
      features: Float32Array;
      at: number;
    },
  ): void {
    for (const output of this.#outputs) {
      const values = results.get(output.name)!;
      if (output.kind === "maps") {
        const maps = mapsOf(values, picture);
        const windows = windowsAbout(place, { output, maps, frame });
        const { pooling } = output;
        poolOutput(maps, windows, { pooling, features, at });
      } else {
        const each = values.data.length / values.dims[0]!;
        const start = picture * each; // of tokens, the first is the class token
        features.set(values.data.subarray(start, start + output.channels), at);
      }
      at += channelsOf(output);
    }
  }

  #checkFinite(features: Float32Array): void {
    const at = features.findIndex((value) => !Number.isFinite(value));
    if (at < 0) return;
    let index = at % this.channels;
    const output = this.#outputs.find((one) => (index -= channelsOf(one)) < 0);
    throw unusable(
      this.#settings.path,
      `its output "${
        output!.name
      }" is NaN or infinite on this picture; export it in float32, and check mean and deviation`,
    );
  }
}

/** How pictures of one size lie in the input of a network. */
interface Frame {
  /** Size of a picture, px. */
  from: Size;
  /** Px of the input that show it; the rest repeats its border. */
  filled: Size;
  /** Size of the input. */
  to: Size;
  /** Px of the input for each px of a picture. */
  scale: Point;
  /** Pictures of a run. */
  batch: number;
}

function pixelsPerRun(pixels: number): number {
  return Math.max(1, Math.floor(MAX_RUN_PIXELS / pixels));
}

/** The maps of one picture of a batch. */
function mapsOf({ data, dims }: Values, picture: number): OutputMaps {
  const [, channels, height, width] = dims as [number, number, number, number];
  const offset = picture * channels * height * width;
  return { data, offset, channels, height, width };
}

function windowsAbout(
  place: Point,
  { output: { cell, window }, maps, frame: { filled, scale } }: {
    output: Used;
    maps: OutputMaps;
    frame: Frame;
  },
) {
  const axis = (
    at: number,
    { cell, cells, extent, scale }: Record<
      "cell" | "cells" | "extent" | "scale",
      number
    >,
  ) =>
    spansAbout(at * scale, {
      cell,
      cells: Math.min(cells, Math.max(1, Math.ceil(extent / cell))),
      window: window * scale,
    });
  return {
    rows: axis(place.y, {
      cell: cell.y,
      cells: maps.height,
      extent: filled.height,
      scale: scale.y,
    }),
    columns: axis(place.x, {
      cell: cell.x,
      cells: maps.width,
      extent: filled.width,
      scale: scale.x,
    }),
  };
}

/** Everything that features depend on, but not the name of the file. */
function keyOf({ path: _, ...settings }: EncoderConfig): string {
  const text = JSON.stringify([VERSION, settings]);
  return `onnx-${createHash("sha256").update(text).digest("hex")}`;
}

function marginOf(
  { inputSize, scale }: EncoderConfig,
  outputs: readonly Used[],
): number {
  if (inputSize !== null) return Math.ceil(inputSize / scale / 2);
  const reach = outputs.map(({ window, cell }) =>
    window / 2 + MARGIN_CELLS * cell.x / scale
  );
  return Math.ceil(Math.max(...reach));
}

/** The least multiple of `step` px that is a whole number of px. */
function wholeStep(step: number): number {
  for (let multiple = step; multiple <= MAX_STEP; multiple += step) {
    if (Math.abs(multiple - Math.round(multiple)) < 1e-6) {
      return Math.round(multiple);
    }
  }
  return Math.ceil(step);
}

function leastMultiple(a: number, b: number): number {
  const divisor = (a: number, b: number): number =>
    b === 0 ? a : divisor(b, a % b);
  return a * b / divisor(a, b);
}
