/**
 * The SIMD routines behind the input colours of the WASM engine: four pixels at a
 * time, a vector for each channel. All pointers and steps are in bytes.
 *
 * @module
 */
import { FunctionBuilder } from "../wasm/assembler.ts";
import { constantOf, exponential, logarithm } from "../wasm/elementary.ts";

/** Pixels at a time: the least that a row must have. */
export const GROUP_PIXELS = 4;
const VECTOR_BYTES = 16;
const FLOAT_BYTES = 4;

/** Where the numbers of a view lie among its options, in f32. */
export const OPTION = {
  gain: 0,
  darkest: 1,
  scales: 2, // 1 / deviation
  shifts: 5, // -mean / deviation
  densities: 8, // M, by rows
  count: 17,
} as const;

/** What differs between the routines. */
export interface ColourRoutine {
  /** Optical densities are changed. */
  stained: boolean;
  /** Some pixels lie outside the image; else their shares are all 1. */
  shared: boolean;
}

type Channels = readonly [red: number, green: number, blue: number];

/**
 * The input colours of rows of at least {@linkcode GROUP_PIXELS}. In a row that is
 * no multiple of them, the second group overlaps the first. Parameters: from, to,
 * rows, groups of a row, step from the first group to the second, options; shares
 * of rows, shares of columns, their step from the first group to the second.
 */
export function inputColourRows(
  { stained, shared }: ColourRoutine,
): (name: string, relaxed: boolean) => FunctionBuilder {
  return (name, relaxed) => {
    const f = new FunctionBuilder(name, 9);
    const [from, to, rows, groups, firstStep] = [0, 1, 2, 3, 4] as const;
    const [options, rowShares, columnShares, firstShares] = [5, 6, 7, 8];
    const rgb = channels(f);
    const ofRow = f.local("v128");
    const share = shared ? f.local("v128") : constantOf(f)(1);
    const brighten = brightening(f, options);
    const restain = stained
      ? restaining(f, options, { shared, relaxed })
      : undefined;
    const normalise = normalisation(f, options, { shared, relaxed });
    const step = f.local("i32"), shares = f.local("i32");
    const sharesStep = f.local("i32");
    return f.repeat(rows, () => {
      f.get(firstStep).set(step);
      if (shared) {
        f.loadSplat(rowShares).set(ofRow).advanceBy(rowShares, FLOAT_BYTES);
        f.get(columnShares).set(shares).get(firstShares).set(sharesStep);
      }
      f.repeat(groups, () => {
        loadChannels(f, from, rgb);
        if (shared) f.load(shares).set(share).multiply(share, ofRow).set(share);
        brighten(rgb, share);
        restain?.(rgb, share);
        normalise(rgb, share);
        storeChannels(f, to, rgb);
        for (const at of [from, to]) f.advance(at, step);
        f.constant(3 * VECTOR_BYTES).set(step);
        if (shared) {
          f.advance(shares, sharesStep).constant(VECTOR_BYTES).set(sharesStep);
        }
      });
    });
  };
}

/** Changes the channels of four pixels, of which `share` is inside the image. */
type Change = (rgb: Channels, share: number) => void;

function brightening(f: FunctionBuilder, options: number): Change {
  const gain = optionOf(f, options, OPTION.gain);
  return (rgb, share) => {
    for (const value of rgb) {
      f.multiply(value, gain).set(value).minimum(value, share).set(value);
    }
  };
}

function restaining(
  f: FunctionBuilder,
  options: number,
  { shared, relaxed }: { shared: boolean; relaxed: boolean },
): Change {
  const darkest = optionOf(f, options, OPTION.darkest);
  const densities = [0, 1, 2].map((from) =>
    threeOptions(f, options, OPTION.densities + 3 * from)
  ) as [Channels, Channels, Channels];
  const one = constantOf(f)(1), zero = constantOf(f)(0);
  const logarithmOf = logarithm(f, relaxed);
  const exponentialOf = exponential(f, relaxed);
  const logs = channels(f);
  const perLight = f.local("v128"), sum = f.local("v128");
  return (rgb, share) => {
    if (shared) {
      f.maximum(share, darkest).set(perLight);
      f.divide(one, perLight).set(perLight);
    }
    rgb.forEach((value, c) => {
      if (shared) f.multiply(value, perLight).set(value);
      f.maximum(value, darkest).set(value);
      logarithmOf(value, logs[c]!);
    });
    rgb.forEach((value, to) => {
      f.multiply(logs[0], densities[0][to]!).set(sum);
      f.multiplyAdd(logs[1], densities[1][to]!, sum, relaxed).set(sum);
      f.multiplyAdd(logs[2], densities[2][to]!, sum, relaxed).set(sum);
      f.minimum(sum, zero).set(sum);
      exponentialOf(sum, value);
      if (shared) f.multiply(value, share).set(value);
    });
  };
}

function normalisation(
  f: FunctionBuilder,
  options: number,
  { shared, relaxed }: { shared: boolean; relaxed: boolean },
): Change {
  const scales = threeOptions(f, options, OPTION.scales);
  const shifts = threeOptions(f, options, OPTION.shifts);
  const shift = f.local("v128");
  return (rgb, share) => {
    rgb.forEach((value, c) => {
      if (shared) f.multiply(shifts[c]!, share).set(shift);
      f.multiplyAdd(value, scales[c]!, shared ? shift : shifts[c]!, relaxed)
        .set(value);
    });
  };
}

// Lanes of each channel in a group: of its first two vectors, then of those
// and the third.
const PARTS = [
  [[0, 3, 6, 6], [0, 1, 2, 5]],
  [[1, 4, 7, 7], [0, 1, 2, 6]],
  [[2, 5, 5, 5], [0, 1, 4, 7]],
] as const;

/** Reads four pixels, channel by channel. */
function loadChannels(f: FunctionBuilder, from: number, rgb: Channels): void {
  const parts = channels(f);
  parts.forEach((part, v) => f.load(from, v * VECTOR_BYTES).set(part));
  rgb.forEach((value, c) => {
    const [ofTwo, withThird] = PARTS[c]!;
    f.shuffle(parts[0], parts[1], ofTwo).set(value);
    f.shuffle(value, parts[2], withThird).set(value);
  });
}

/** Writes four pixels, channel beside channel. */
function storeChannels(f: FunctionBuilder, to: number, rgb: Channels): void {
  const [red, green, blue] = rgb;
  const [low, high, out] = channels(f);
  f.shuffle(red, green, [0, 4, 1, 5]).set(low); // r0 g0 r1 g1
  f.shuffle(red, green, [2, 6, 3, 7]).set(high); // r2 g2 r3 g3
  f.shuffle(low, blue, [0, 1, 4, 2]).set(out).store(to, out);
  f.shuffle(low, blue, [3, 5, 5, 5]).set(out); // g1 b1
  f.shuffle(out, high, [0, 1, 4, 5]).set(out).store(to, out, VECTOR_BYTES);
  f.shuffle(high, blue, [6, 2, 3, 7]).set(out);
  f.store(to, out, 2 * VECTOR_BYTES);
}

function channels(f: FunctionBuilder): Channels {
  return [f.local("v128"), f.local("v128"), f.local("v128")];
}

function optionOf(f: FunctionBuilder, options: number, place: number): number {
  const local = f.local("v128");
  f.loadSplat(options, FLOAT_BYTES * place).set(local);
  return local;
}

function threeOptions(
  f: FunctionBuilder,
  options: number,
  first: number,
): Channels {
  return [0, 1, 2].map((c) => optionOf(f, options, first + c)) as [
    number,
    number,
    number,
  ];
}
