/**
 * The pixels of needle images: background and objects.
 *
 * All kinds paint half of the disc of radius R with ink of the same colours:
 *
 *     needle      two rings, from R cos 72 to R cos 54 and R cos 36 to R cos 18
 *     look-alike  a wheel of four blades, 45 degrees each
 *     bowtie      a wheel of two blades, 90 degrees each; in sets of two kinds alone
 *
 * With these radii the ink has the same mean 2nd, 4th and 6th power of the
 * distance from the centre as the wheel's, and a wheel of four blades has no
 * angular moment below the 4th: an object 2 px wide is the same blob in both
 * cases. (A ring around a dot, which matches the 2nd power only, is told apart
 * there by its dark centre.) Neither flips nor turns make one of the other.
 *
 * @module
 */
import type { RandomStream } from "../../../kernels/random.ts";
import type { Size } from "../../image/geometry.ts";

/** Kind of an object. */
export type Kind = "needle" | "lookalike" | "bowtie";

/** An object to be drawn. */
export interface NeedleObject {
  left: number; // px
  top: number; // px
  diameter: number; // px
  turn: number; // radians
  kind: Kind;
}

// Background: a mix of two stains of H&E (RGB), each image's own tone and
// brightness, waves of two lengths (px) and grain, as shares of brightness.
const STAINS = [[236, 205, 220], [206, 178, 214]] as const;
const TONE_SPREAD = 10; // RGB
const BRIGHTNESS = { lowest: 0.86, highest: 1.02 };
const WAVES = [{ length: 96, depth: 0.08 }, { length: 20, depth: 0.06 }];
const GRAIN = 0.05;

// Ink of the objects (RGB), the range of its brightness, and its opacity.
const INK = [104, 62, 140] as const;
const INK_BRIGHTNESS = { lowest: 0.8, highest: 1.2 };
const OPACITY = 0.9;

// Sub-pixels per side, to smooth edges.
const SUPERSAMPLING = 4;

/** Draws the tissue of a square of `size` px. */
export function drawBackground(
  size: number,
  random: RandomStream,
): Uint8ClampedArray {
  const shade = within(random, BRIGHTNESS.lowest, BRIGHTNESS.highest);
  const tones = STAINS.map((stain) =>
    stain.map((value) => value + within(random, -TONE_SPREAD, TONE_SPREAD))
  );
  const stains = smoothNoise(size, WAVES[0]!.length, random);
  const waves = WAVES.map(({ length, depth }) => ({
    depth,
    noise: smoothNoise(size, length, random),
  }));
  const data = new Uint8ClampedArray(size * size * 3); // rounds, and clamps
  for (let i = 0, o = 0; i < size * size; i++) {
    let brightness = shade + GRAIN * (2 * random.uniform() - 1);
    for (const { depth, noise } of waves) {
      brightness += depth * (2 * noise[i]! - 1);
    }
    for (let c = 0; c < 3; c++) {
      const a = tones[0]![c]!, b = tones[1]![c]!;
      data[o++] = (a + (b - a) * stains[i]!) * brightness;
    }
  }
  return data;
}

/** Noise in [0, 1] that varies over `length` px: a lattice, interpolated. */
function smoothNoise(
  size: number,
  length: number,
  random: RandomStream,
): Float32Array {
  const nodes = Math.ceil(size / length) + 1;
  const lattice = Float32Array.from(
    { length: nodes * nodes },
    () => random.uniform(),
  );
  const cells = Int32Array.from({ length: size }, (_, i) => i / length);
  const weights = Float32Array.from(
    { length: size },
    (_, i) => ease(i / length % 1),
  );
  const noise = new Float32Array(size * size);
  for (let y = 0, o = 0; y < size; y++) {
    const v = weights[y]!;
    for (let x = 0; x < size; x++) {
      const u = weights[x]!;
      const at = cells[y]! * nodes + cells[x]!, below = at + nodes;
      const top = lattice[at]! * (1 - u) + lattice[at + 1]! * u;
      const bottom = lattice[below]! * (1 - u) + lattice[below + 1]! * u;
      noise[o++] = top * (1 - v) + bottom * v;
    }
  }
  return noise;
}

/** Draws the part of `object` that lies inside the image. */
export function drawObject(
  { data, width, height }: Size & { data: Uint8ClampedArray },
  object: NeedleObject,
  random: RandomStream,
): void {
  const { left, top, diameter } = object;
  const brightness = within(
    random,
    INK_BRIGHTNESS.lowest,
    INK_BRIGHTNESS.highest,
  );
  const coverage = objectCoverage(object);
  for (let i = 0; i < coverage.length; i++) {
    const opacity = coverage[i]! * OPACITY;
    const x = left + i % diameter, y = top + Math.floor(i / diameter);
    if (x < 0 || y < 0 || x >= width || y >= height) continue;
    for (let c = 0, o = (y * width + x) * 3; c < 3; c++, o++) {
      data[o] = data[o]! * (1 - opacity) + INK[c]! * brightness * opacity;
    }
  }
}

/** Shares of ink of an object's pixels, row-major `[diameter, diameter]`. */
export function objectCoverage(
  { diameter, turn, kind }: Pick<NeedleObject, "diameter" | "turn" | "kind">,
): Float32Array {
  const coverage = new Float32Array(diameter * diameter);
  const radius = diameter / 2;
  const step = 1 / SUPERSAMPLING;
  for (let y = step / 2; y < diameter; y += step) {
    for (let x = step / 2; x < diameter; x += step) {
      const u = (x - radius) / radius, v = (y - radius) / radius;
      if (isInk(u, v, { turn, kind })) {
        coverage[Math.floor(y) * diameter + Math.floor(x)]! += step * step;
      }
    }
  }
  return coverage;
}

// Squared radii of the rings of a needle, in R: see the head of this file.
const RINGS = [[72, 54], [36, 18]].map((degrees) =>
  degrees.map((degree) => Math.cos(degree * Math.PI / 180) ** 2)
) as [number, number][];

/** The point (u, v) of the unit disc is painted. */
function isInk(
  u: number,
  v: number,
  { turn, kind }: Pick<NeedleObject, "turn" | "kind">,
): boolean {
  const r2 = u * u + v * v;
  if (r2 > 1) return false;
  if (kind === "needle") {
    return RINGS.some(([inner, outer]) => r2 >= inner && r2 <= outer);
  }
  const blades = kind === "bowtie" ? 2 : 4;
  return Math.sin(blades * (Math.atan2(v, u) + turn)) > 0; // half of each part
}

/** A number in [lowest, highest). */
export function within(
  random: RandomStream,
  lowest: number,
  highest: number,
): number {
  return lowest + (highest - lowest) * random.uniform();
}

function ease(t: number): number {
  return t * t * (3 - 2 * t);
}
