/**
 * Haematoxylin and eosin, the two stains of a tissue section: how a colour
 * changes when a laboratory stains more or less strongly.
 *
 * Light is absorbed by each stain apart, so optical densities -ln(rgb) are sums
 * over the stains, and a stain's strength is a factor there (Beer-Lambert; the
 * stains' colours: Ruifrok & Johnston 2001).
 *
 * @module
 */

/** Row-major 3 x 3 matrix: densities as a row, times it, are densities again. */
export type DensityMatrix = readonly number[];

// Optical density of each stain in red, green and blue, of unit length.
const HAEMATOXYLIN = [0.65, 0.704, 0.286] as const;
const EOSIN = [0.072, 0.99, 0.105] as const;
// What neither explains lies along their cross product.
const STAINS = [HAEMATOXYLIN, EOSIN, cross(HAEMATOXYLIN, EOSIN)] as const;

type Vector = readonly [number, number, number];

/** The change of densities when each stain is that many times as strong. */
export function restaining(
  { haematoxylin, eosin }: { haematoxylin: number; eosin: number },
): DensityMatrix {
  const strengths = [haematoxylin, eosin, 1];
  const unmixing = inverse(STAINS);
  return [0, 1, 2].flatMap((from) =>
    [0, 1, 2].map((to) =>
      strengths.reduce(
        (sum, strength, stain) =>
          sum + unmixing[from]![stain]! * strength * STAINS[stain]![to]!,
        0,
      )
    )
  );
}

/** Inverse of the matrix with rows a, b, c: its columns are cross products. */
function inverse([a, b, c]: readonly [Vector, Vector, Vector]): number[][] {
  const columns = [cross(b, c), cross(c, a), cross(a, b)];
  const determinant = dot(a, columns[0]!);
  return [0, 1, 2].map((row) =>
    columns.map((column) => column[row]! / determinant)
  );
}

function cross(a: Vector, b: Vector): Vector {
  return [
    a[1] * b[2] - a[2] * b[1],
    a[2] * b[0] - a[0] * b[2],
    a[0] * b[1] - a[1] * b[0],
  ];
}

function dot(a: Vector, b: Vector): number {
  return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}
