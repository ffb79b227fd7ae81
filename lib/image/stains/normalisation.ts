/**
 * Normalises the stains of sections from different laboratories: estimates each
 * image's two stains from its colours, and replaces them by a reference pair.
 *
 * Macenko et al., "A method for normalizing histology slides for quantitative
 * analysis", ISBI 2009, whose constants these are.
 *
 * @module
 */
import { readOverview } from "../overview.ts";
import type { Pyramid } from "../pyramid.ts";
import type { Rgb } from "../pyramids/rgb.ts";
import {
  densitiesOf,
  type DensityMatrix,
  dot,
  type PerStain,
  restaining,
  times,
  unmixing,
  type Vector,
} from "./stains.ts";

/** The stains of a section. */
export interface Stains {
  /** Optical densities in red, green and blue, of unit length. */
  colours: PerStain<Vector>;
  /** Strength of each stain, near its maximum. */
  strengths: PerStain<number>;
}

const REFERENCE: Stains = {
  colours: {
    haematoxylin: [0.5626, 0.7201, 0.4062],
    eosin: [0.2159, 0.8012, 0.5581],
  },
  strengths: { haematoxylin: 1.9705, eosin: 1.0308 },
};

// Longest side of the measured overview, px, and maximum number of its pixels.
const OVERVIEW_SIDE = 256, PIXELS = 4000;
// Paler pixels are glass, by the mean of their channels: eosin alone hardly
// absorbs red light.
const MIN_DENSITY = 0.15;
// Fewer pixels of tissue cannot separate two stains.
const MIN_PIXELS = 100;
// Share of the pixels beyond either stain's colour, or beyond its strength.
const OUTLIERS = 0.01;
// Minimum angle between two stains, rad: closer ones are one stain.
const MIN_ANGLE = 0.1;
// Bounds the amplification of a stain that is hardly present.
const MAX_CHANGE = 3;

/**
 * The transform of optical densities that normalises a section; null if its
 * stains cannot be separated.
 *
 * @throws {ImageError} If the image cannot be read.
 */
export async function stainNormalisation(
  pyramid: Pyramid,
  signal?: AbortSignal,
): Promise<DensityMatrix | null> {
  const stains = measureStains(
    await readOverview(pyramid, OVERVIEW_SIDE, signal),
  );
  if (!stains) return null;
  const factor = (stain: keyof PerStain<number>) =>
    Math.min(
      MAX_CHANGE,
      Math.max(
        1 / MAX_CHANGE,
        REFERENCE.strengths[stain] / stains.strengths[stain],
      ),
    );
  return restaining(
    { haematoxylin: factor("haematoxylin"), eosin: factor("eosin") },
    stains.colours,
    REFERENCE.colours,
  );
}

/**
 * The stains of an image; null if there is too little tissue, or only one
 * stain.
 */
export function measureStains(picture: Rgb): Stains | null {
  const densities = tissueDensities(picture);
  if (densities.length < MIN_PIXELS) return null;
  const colours = stainColours(densities);
  if (!colours) return null;
  const matrix = unmixing(colours);
  const amounts = densities.map((pixel) => times(pixel, matrix));
  const most = (stain: 0 | 1) =>
    quantile(amounts.map((amount) => amount[stain]), 1 - OUTLIERS);
  return { colours, strengths: { haematoxylin: most(0), eosin: most(1) } };
}

/** Densities of up to PIXELS pixels that are not glass. */
function tissueDensities({ data, width, height }: Rgb): Vector[] {
  const step = Math.max(1, Math.floor(width * height / PIXELS));
  const densities: Vector[] = [];
  for (let at = 0; at < data.length; at += 3 * step) {
    const pixel = densitiesOf(data[at]!, data[at + 1]!, data[at + 2]!);
    const [r, g, b] = pixel;
    if (r + g + b >= 3 * MIN_DENSITY) densities.push(pixel);
  }
  return densities;
}

/**
 * The two extreme directions in the plane of largest variance; null if they
 * coincide.
 */
function stainColours(densities: readonly Vector[]): PerStain<Vector> | null {
  const [first, second] = principalPlane(densities);
  const angles = densities.map((pixel) =>
    Math.atan2(dot(pixel, second), dot(pixel, first))
  );
  const ends = [OUTLIERS, 1 - OUTLIERS].map((at) => quantile(angles, at));
  if (!(ends[1]! - ends[0]! > MIN_ANGLE)) return null;
  const [one, other] = ends.map((angle) => {
    const along = Math.cos(angle), across = Math.sin(angle);
    return first.map((x, c) => along * x + across * second[c]!);
  }) as unknown as [Vector, Vector];
  // Haematoxylin is the bluer one: it absorbs more red light.
  return one[0] > other[0]
    ? { haematoxylin: one, eosin: other }
    : { haematoxylin: other, eosin: one };
}

/** Unit eigenvectors of the two largest eigenvalues of the covariance. */
function principalPlane(densities: readonly Vector[]): [Vector, Vector] {
  const mean = [0, 0, 0], products = new Array<number>(9).fill(0);
  for (const pixel of densities) {
    for (let i = 0; i < 3; i++) {
      mean[i]! += pixel[i]! / densities.length;
      for (let j = 0; j < 3; j++) {
        products[3 * i + j]! += pixel[i]! * pixel[j]! / densities.length;
      }
    }
  }
  const covariance = products.map((product, at) =>
    product - mean[Math.floor(at / 3)]! * mean[at % 3]!
  );
  const first = principalAxis(covariance);
  const variance = dot(first, times(first, covariance));
  const rest = covariance.map((value, at) =>
    value - variance * first[Math.floor(at / 3)]! * first[at % 3]!
  );
  return [first, principalAxis(rest)];
}

// A few thousandths of the second axis's angle suffice.
const ITERATIONS = 50;

/** Unit eigenvector of the largest eigenvalue, by power iteration. */
function principalAxis(matrix: DensityMatrix): Vector {
  const widest = [0, 1, 2].reduce((a, b) =>
    matrix[4 * b]! > matrix[4 * a]! ? b : a
  );
  // Has a component along that axis, towards darker colours.
  let axis = matrix.slice(3 * widest, 3 * widest + 3) as unknown as Vector;
  for (let i = 0; i < ITERATIONS; i++) {
    const next = times(axis, matrix);
    const length = Math.hypot(...next);
    if (length === 0) return axis; // all pixels are alike
    axis = next.map((x) => x / length) as unknown as Vector;
  }
  return axis[0] + axis[1] + axis[2] < 0
    ? axis.map((x) => -x) as unknown as Vector
    : axis;
}

function quantile(values: readonly number[], share: number): number {
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.round(share * (sorted.length - 1))]!;
}
