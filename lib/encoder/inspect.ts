/**
 * What an ONNX file offers as an encoder, and settings to begin with.
 *
 * @module
 */
import type { EncoderConfig, EncoderOutput } from "./encoder.ts";
import { type OnnxFacts, onnxHash, readOnnxFacts } from "./onnx/file.ts";
import {
  type NetworkInput,
  networkInput,
  type NetworkOutput,
  TRIAL_SIZE,
  triedOutputs,
  unusable,
} from "./onnx/network.ts";
import { type Declared, type OnnxEngine, Session } from "./onnx/runtime.ts";
import { pooledChannels } from "./pooling.ts";

/** An output, as far as it can be used. */
export interface InspectedOutput extends Declared {
  /** `[n, C, h, w]`, `[n, C]` or `[n, tokens, C]`; null: of no use. */
  kind: NetworkOutput["kind"] | null;
  /** C; null if of no use. */
  channels: number | null;
  /** Px of the input for a cell of its maps; null if it has none. */
  stride: number | null;
}

/** What {@linkcode inspectEncoder} finds. */
export interface EncoderReport {
  path: string;
  /** Bytes of the file, with those beside it that hold its weights. */
  bytes: number;
  sha256: string;
  producer: string;
  opset: number | null;
  metadata: Record<string, string>;
  input: Declared;
  outputs: InspectedOutput[];
  /** Side of the input that was timed, px. */
  timedSize: number;
  /** Median of the runs on one such input, ms. */
  milliseconds: number;
  /** Settings to begin with. */
  settings: EncoderConfig;
}

/** Options of {@linkcode inspectEncoder}. */
export interface InspectOptions {
  /** Where it runs; "wasm", on the CPU, if omitted. */
  engine?: OnnxEngine;
  threads?: number | undefined;
  signal?: AbortSignal | undefined;
}

// ImageNet's, which most networks without metadata were trained with.
const MEAN: Triple = [0.485, 0.456, 0.406];
const DEVIATION: Triple = [0.229, 0.224, 0.225];

type Triple = [number, number, number];

/**
 * Size of the objects that features should show: `common` for some 20 px, `tiny`
 * for 5 to 15 px, which a mean over a larger window would hide, `large` for 20 to
 * 100 px, about whose middle a cell of the maps sees them whole.
 */
export type ObjectSize = "common" | "tiny" | "large";

/** How a network over maps of any size is used. */
interface MapUse {
  /** Px of the input for each level-0 px. */
  scale: number;
  /** Strides that are used, and windows about a place, px. */
  windows: readonly (Omit<EncoderOutput, "name"> & { stride: number })[];
}

/** The maps of strides 8 and 16 at the place itself. */
const AT_PLACE: MapUse["windows"] = [
  { stride: 8, window: 0, pooling: "mean" },
  { stride: 16, window: 0, pooling: "mean" },
];

const MAP_USES: Record<ObjectSize, MapUse> = {
  common: {
    scale: 2,
    windows: [
      { stride: 8, window: 28, pooling: "mean" },
      { stride: 16, window: 24, pooling: "mean" },
      { stride: 32, window: 0, pooling: "mean" },
    ],
  },
  tiny: {
    scale: 2,
    windows: [
      { stride: 4, window: 12, pooling: "both" },
      { stride: 8, window: 12, pooling: "both" },
      { stride: 16, window: 24, pooling: "mean" },
    ],
  },
  large: { scale: 1, windows: AT_PLACE },
};

// At half scale EfficientNet-Lite0 takes 0.2 s for a frame of 1360 x 800 px.
const OVERVIEW: MapUse = { scale: 0.5, windows: AT_PLACE };

// An object of any size, read at 64 px.
const CLOSE_UP_SIZE = 64;
const CLOSE_UP: MapUse = { scale: 1, windows: AT_PLACE };
const RUNS = 5;

/**
 * Settings to begin with: means and deviations from the file's metadata, else
 * ImageNet's. A network over maps of any size is used at twice the resolution, at
 * strides 8, 16 and 32, or 4, 8 and 16 for tiny objects; another sees a window, and
 * gives its vector or class token.
 *
 * @param objects size of the objects that the features should show.
 * @throws {EncoderError} If the file is of no use.
 *
 * @example
 * ```ts
 * const settings = await encoderSettings("lite0_taps.onnx");
 * const encoder = await openOnnxEncoder(settings, { engine: "wasm" });
 * ```
 */
export async function encoderSettings(
  path: string,
  objects: ObjectSize = "common",
): Promise<EncoderConfig> {
  const maps = MAP_USES[objects];
  return await withNetwork(path, { maps }, ({ settings }) => settings);
}

/**
 * Settings to begin with for attention by an encoder, which sees the whole image
 * at half its resolution; null for a network that is not over maps of any size.
 *
 * @throws {EncoderError} If the file is of no use.
 */
export async function overviewSettings(
  path: string,
): Promise<Pick<EncoderConfig, "scale" | "outputs" | "channels"> | null> {
  const options = { maps: OVERVIEW };
  return await withNetwork(path, options, ({ settings }) => {
    const { inputSize, scale, outputs, channels } = settings;
    return inputSize === null ? { scale, outputs, channels } : null;
  });
}

/**
 * Settings to begin with for close-ups of objects, which are read at one size; null
 * for a network that is not over maps of any size.
 *
 * @throws {EncoderError} If the file is of no use.
 */
export async function closeUpSettings(
  path: string,
): Promise<
  | Pick<EncoderConfig, "outputs" | "channels">
    & { inputSize: number }
  | null
> {
  const options = { maps: CLOSE_UP };
  return await withNetwork(path, options, ({ settings }) => {
    const { inputSize, outputs, channels } = settings;
    return inputSize === null
      ? { inputSize: CLOSE_UP_SIZE, outputs, channels }
      : null;
  });
}

/**
 * Inspects an ONNX file, and times it.
 *
 * @throws {EncoderError} If the file is of no use.
 */
export async function inspectEncoder(
  path: string,
  options: InspectOptions = {},
): Promise<EncoderReport> {
  return await withNetwork(path, options, async (found) => {
    const { facts, session, settings, tried, side } = found;
    const byName = new Map(tried.map((one) => [one.name, one]));
    return {
      path,
      bytes: await bytesOf([
        path,
        ...facts.externalFiles.map((one) => one.path),
      ]),
      sha256: settings.sha256,
      producer: facts.producer,
      opset: facts.opset ?? null,
      metadata: facts.metadata,
      input: session.inputs[0]!,
      outputs: session.outputs.map((one) => ({
        ...one,
        kind: byName.get(one.name)?.kind ?? null,
        channels: byName.get(one.name)?.channels ?? null,
        stride: strideOf(byName.get(one.name)),
      })),
      timedSize: side,
      milliseconds: await timed(found, options.signal),
      settings,
    };
  });
}

/** An open network, and what is known of it. */
interface Opened {
  facts: OnnxFacts;
  session: Session;
  input: NetworkInput;
  /** Outputs that are of use. */
  tried: readonly NetworkOutput[];
  /** Side of the input of the trial, px. */
  side: number;
  settings: EncoderConfig;
}

async function withNetwork<T>(
  path: string,
  { engine = "wasm", threads, maps = MAP_USES.common }: InspectOptions & {
    maps?: MapUse;
  },
  use: (opened: Opened) => T | Promise<T>,
): Promise<T> {
  const facts = await readOnnxFacts(path);
  const { externalFiles } = facts;
  const session = await Session.open(path, { engine, threads, externalFiles });
  try {
    const input = networkInput(session, path);
    const side = input.height ?? input.width ?? TRIAL_SIZE;
    const tried = await usable(session, { input, side, path });
    const settings = {
      ...chosen(tried, { input, side, facts, path, maps }),
      sha256: await onnxHash(path, facts),
    };
    return await use({ facts, session, input, tried, side, settings });
  } finally {
    await session.dispose();
  }
}

/** The outputs that are of use. */
async function usable(
  session: Session,
  { input, side, path }: { input: NetworkInput; side: number; path: string },
): Promise<NetworkOutput[]> {
  const found: NetworkOutput[] = [];
  let fault: unknown;
  const names = session.outputs.filter(({ type }) => type === "float32")
    .map(({ name }) => name);
  for (const name of names) {
    const trial = {
      input,
      size: { width: side, height: side },
      names: [name],
      path,
    };
    try {
      found.push(...await triedOutputs(session, trial));
    } catch (error) {
      fault ??= error;
    }
  }
  if (found.length > 0) return found;
  throw fault ?? unusable(path, "it has no output of float32");
}

function strideOf(output: NetworkOutput | undefined): number | null {
  return output?.kind === "maps" ? output.cell.x : null;
}

/** Settings to begin with, but for the hash. */
function chosen(
  tried: readonly NetworkOutput[],
  { input, side, facts, path, maps: use }: {
    input: NetworkInput;
    side: number;
    facts: OnnxFacts;
    path: string;
    maps: MapUse;
  },
): EncoderConfig {
  const isFixed = (input.height ?? input.width) !== undefined;
  const maps = isFixed ? [] : mapsOf(tried, use);
  const used = maps.length > 0 ? maps : windowOutputs(tried, side);
  const channels = used.reduce((sum, { name, pooling }) => {
    const output = tried.find((one) => one.name === name)!;
    return sum + pooledChannels(output.channels, pooling);
  }, 0);
  return {
    path,
    sha256: "",
    scale: maps.length > 0 ? use.scale : 1,
    inputSize: maps.length > 0 ? null : side,
    ...normalisation(facts, path),
    outputs: used,
    channels,
  };
}

/** Maps of whole strides: of those that are known to serve, else all. */
function mapsOf(
  tried: readonly NetworkOutput[],
  { windows }: MapUse,
): EncoderOutput[] {
  const maps = tried.filter(({ kind, cell }) =>
    kind === "maps" && cell.x === cell.y && Number.isInteger(cell.x)
  );
  const known = windows.flatMap(({ stride, ...pooled }) =>
    maps.filter(({ cell }) => cell.x === stride)
      .map(({ name }): EncoderOutput => ({ name, ...pooled }))
  );
  return known.length > 0
    ? known
    : maps.map(({ name }) => ({ name, window: 0, pooling: "mean" }));
}

/** Of a network that sees a window: its vector, class token, or mean map. */
function windowOutputs(
  tried: readonly NetworkOutput[],
  side: number,
): EncoderOutput[] {
  const output = ["vector", "tokens", "maps"]
    .map((wanted) => tried.find(({ kind }) => kind === wanted))
    .find((one) => one !== undefined)!;
  const window = output.kind === "maps" ? side : 0;
  return [{ name: output.name, window, pooling: "mean" }];
}

/** Mean and deviation for RGB in [0, 1], as the metadata have them. */
function normalisation(
  { metadata }: OnnxFacts,
  path: string,
): Pick<EncoderConfig, "mean" | "deviation"> {
  const { channels = "RGB", range = "[0,1]" } = metadata;
  if (channels.toUpperCase() !== "RGB") {
    throw unusable(path, `its metadata ask for ${channels}; export it for RGB`);
  }
  const [, high = 1] = numbers(range) ?? [];
  const values = (key: string, fallback: Triple): Triple => {
    const text = metadata[key];
    if (text === undefined) return fallback;
    const found = numbers(text);
    if (found?.length !== 3) {
      throw unusable(
        path,
        `its metadata have ${key} = ${text}; it must be three numbers, as [0.485, 0.456, 0.406]`,
      );
    }
    return found.map((value) => value / high) as Triple;
  };
  const deviation = metadata.std === undefined ? "deviation" : "std";
  return {
    mean: values("mean", MEAN),
    deviation: values(deviation, DEVIATION),
  };
}

/** The numbers of a JSON list; undefined if it is none. */
function numbers(text: string): number[] | undefined {
  try {
    const value: unknown = JSON.parse(text);
    const isList = Array.isArray(value) &&
      value.every((one) => typeof one === "number");
    return isList ? value : undefined;
  } catch {
    return undefined;
  }
}

async function bytesOf(paths: readonly string[]): Promise<number> {
  const sizes = await Promise.all(
    paths.map(async (path) => (await Deno.stat(path)).size),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}

/** Median of the runs on one input, ms. */
async function timed(
  { session, input, side, settings }: Opened,
  signal?: AbortSignal,
): Promise<number> {
  const batch = input.batch ?? 1;
  const data = new Float32Array(batch * 3 * side * side)
    .map((_, i) => Math.sin(i));
  const feed = { name: input.name, data, dims: [batch, 3, side, side] };
  const names = settings.outputs.map(({ name }) => name);
  const times: number[] = [];
  for (let run = 0; run < RUNS; run++) {
    signal?.throwIfAborted();
    const started = performance.now();
    await session.run(feed, names);
    times.push((performance.now() - started) / batch);
  }
  return times.sort((a, b) => a - b)[(RUNS - 1) / 2]!;
}
