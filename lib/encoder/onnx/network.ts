/**
 * A network as its file is used: the one input, the outputs with their channels
 * and cells, learnt from a trial run.
 *
 * @module
 */
import { EncoderError } from "../../errors.ts";
import type { Size } from "../../image/geometry.ts";
import type { Declared, Session, Values } from "./runtime.ts";

/** The pixels that a network takes. */
export interface NetworkInput {
  name: string;
  /** Pictures of a run; undefined: any number. */
  batch: number | undefined;
  /** Size of the pixels; undefined: any. */
  height: number | undefined;
  width: number | undefined;
}

/** What an output is, and its extent. */
export interface NetworkOutput {
  name: string;
  /** `[n, C, h, w]`, `[n, C]`, or `[n, T, C]` whose first token counts. */
  kind: "maps" | "vector" | "tokens";
  channels: number;
  /** Extent of a cell of maps, px of the input. */
  cell: { x: number; y: number };
  /** Its shape in the trial run. */
  dims: readonly number[];
}

/** A run to try a network out. */
export interface Trial {
  input: NetworkInput;
  /** Size of the pixels. */
  size: Size;
  /** Outputs. */
  names: readonly string[];
  path: string;
}

const KINDS = new Map<number, NetworkOutput["kind"]>([
  [2, "vector"],
  [3, "tokens"],
  [4, "maps"],
]);

/** Side of the input of a trial run of a network of any size. */
export const TRIAL_SIZE = 224;

/**
 * The only input of a network.
 *
 * @throws {EncoderError} If it takes no pixels.
 */
export function networkInput(
  { inputs }: Pick<Session, "inputs">,
  path: string,
): NetworkInput {
  const [input, ...others] = inputs;
  if (!input || others.length > 0) {
    const names = inputs.map(({ name }) => `"${name}"`).join(", ");
    throw unusable(
      path,
      `it has ${inputs.length} inputs${
        names && ` (${names})`
      }; export it with the pixels as the only one`,
    );
  }
  const fault = inputFault(input);
  if (fault) throw unusable(path, `its input "${input.name}" ${fault}`);
  const [batch, , height, width] = input.shape.map(fixed);
  return { name: input.name, batch, height, width };
}

function inputFault({ type, shape }: Declared): string | undefined {
  if (type !== "float32") {
    return `is ${type ?? "no tensor"}; export it with pixels of float32`;
  }
  const [, channels, , last] = shape;
  const isLast = channels !== 3 && last === 3;
  const has = shape.length === 4 && (fixed(channels) ?? 3) === 3 && !isLast;
  if (has) return undefined;
  const hint = isLast ? ": channels before rows and columns" : "";
  return `has the shape [${
    shape.join(", ")
  }]; it must be [n, 3, height, width]${hint}`;
}

function fixed(dimension: number | string | undefined): number | undefined {
  return typeof dimension === "number" && dimension > 0 ? dimension : undefined;
}

/**
 * Runs the network on black pixels of `size`, and tells what `names` give.
 *
 * @throws {EncoderError} If an output is missing, or of no use.
 */
export async function triedOutputs(
  session: Session,
  { input, size, names, path }: Trial,
): Promise<NetworkOutput[]> {
  const known = session.outputs.map(({ name }) => name);
  const missing = names.find((name) => !known.includes(name));
  if (missing !== undefined) {
    throw unusable(
      path,
      `it has no output "${missing}"; it has ${known.join(", ")}`,
    );
  }
  const batch = input.batch ?? 1;
  const dims = [batch, 3, size.height, size.width];
  const data = new Float32Array(batch * 3 * size.height * size.width);
  const results = await session.run({ name: input.name, data, dims }, names);
  return names.map((name) =>
    outputOf(name, results.get(name)!, { batch, size, path })
  );
}

function outputOf(
  name: string,
  { dims, data }: Values,
  { batch, size, path }: { batch: number; size: Size; path: string },
): NetworkOutput {
  const kind = KINDS.get(dims.length);
  const what = `its output "${name}" has the shape [${dims.join(", ")}]`;
  if (!kind || data.length === 0) {
    throw unusable(
      path,
      `${what}; it must be [n, C, h, w], [n, C] or [n, tokens, C]`,
    );
  }
  if (dims[0] !== batch) {
    throw unusable(path, `${what} for a batch of ${batch}: it mixes pictures`);
  }
  if (!data.every(Number.isFinite)) {
    throw unusable(
      path,
      `its output "${name}" is NaN or infinite on black pixels; export it in float32`,
    );
  }
  const [height = 1, width = 1] = kind === "maps" ? dims.slice(2) : [];
  return {
    name,
    kind,
    channels: dims[kind === "tokens" ? 2 : 1]!,
    cell: { x: size.width / width, y: size.height / height },
    dims,
  };
}

/** An error that names the file. */
export function unusable(path: string, why: string): EncoderError {
  return new EncoderError(`Cannot use ${path} as an encoder: ${why}`);
}

// Of the largest value of an output. Errors of rounding are 1e-5; what is wrong
// is off by as much as the values are.
const GPU_TOLERANCE = 0.01;

/**
 * Checks that the GPU computes what the CPU does. onnxruntime-web 1.30 does not
 * on every network: its convolutions of 3 x 3 from 6, 9 or 15 channels to a
 * multiple of 4 were wrong on Mesa's software adapter, without any error.
 *
 * @throws {EncoderError} If it does not.
 */
export async function checkGpu(
  gpu: Session,
  reference: Session,
  { input, size, names, path }: Trial,
): Promise<void> {
  const batch = input.batch ?? 1;
  const dims = [batch, 3, size.height, size.width];
  const count = batch * 3 * size.height * size.width;
  const data = new Float32Array(count).map((_, i) => Math.sin(i * i));
  const feed = { name: input.name, data, dims };
  const found = await gpu.run(feed, names);
  const expected = await reference.run(feed, names);
  for (const name of names) {
    const fault = difference(found.get(name)!.data, expected.get(name)!.data);
    if (fault <= GPU_TOLERANCE) continue;
    throw unusable(
      path,
      `onnxruntime-web computes its output "${name}" wrongly on this GPU (off by ${
        Math.round(100 * fault)
      } %); run it on the CPU with --backend wasm`,
    );
  }
}

/** Largest difference, as a share of the largest value; Infinity for NaN. */
function difference(found: Float32Array, expected: Float32Array): number {
  let most = 0, fault = 0;
  for (const [i, value] of expected.entries()) {
    const off = Math.abs(value - found[i]!);
    if (Number.isNaN(off)) return Infinity;
    fault = Math.max(fault, off);
    most = Math.max(most, Math.abs(value));
  }
  return fault === 0 ? 0 : fault / most;
}
