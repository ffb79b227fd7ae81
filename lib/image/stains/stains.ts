/**
 * Haematoxylin and eosin, the two stains of a tissue section: the change of a
 * colour when a laboratory stains more or less strongly, or with other hues.
 *
 * Each stain absorbs light independently, so optical densities -ln(rgb) are
 * sums over the stains, and a stain's strength is a factor there
 * (Beer-Lambert).
 *
 * @module
 */

/** Row-major 3 x 3 matrix: densities as a row, times it, are densities again. */
export type DensityMatrix = readonly number[];

/** Red, green and blue. */
export type Vector = readonly [number, number, number];

/** One value per stain. */
export interface PerStain<Value> {
  haematoxylin: Value;
  eosin: Value;
}

/**
 * Optical density of each stain in red, green and blue: Ruifrok & Johnston,
 * Analytical and Quantitative Cytology and Histology 23, 2001.
 */
export const USUAL: PerStain<Vector> = {
  haematoxylin: [0.65, 0.704, 0.286],
  eosin: [0.072, 0.99, 0.105],
};

/** The least nonzero 8-bit value, as a share: black has no optical density. */
export const DARKEST = 1 / 255;

/**
 * The transform of densities when each stain becomes `factors` times as strong,
 * and changes colour.
 *
 * @param from densities of the stains as they are; `to` as they become.
 */
export function restaining(
  { haematoxylin, eosin }: PerStain<number>,
  from: PerStain<Vector> = USUAL,
  to: PerStain<Vector> = from,
): DensityMatrix {
  return composed(
    unmixing(from),
    axesOf(to).flatMap((axis, stain) =>
      axis.map((density) => density * [haematoxylin, eosin, 1][stain]!)
    ),
  );
}

/**
 * Transform from densities to amounts of haematoxylin, eosin and residual: the
 * inverse of the matrix with the stains in its rows.
 */
export function unmixing(stains: PerStain<Vector>): DensityMatrix {
  return inverse(axesOf(stains));
}

/** Inverse of the matrix with these rows. */
export function inverse(
  [a, b, c]: readonly [Vector, Vector, Vector],
): DensityMatrix {
  const columns = [cross(b, c), cross(c, a), cross(a, b)];
  const determinant = dot(a, columns[0]!);
  return [0, 1, 2].flatMap((row) =>
    columns.map((column) => column[row]! / determinant)
  );
}

/** One transform of densities after the other. */
export function composed(
  first: DensityMatrix,
  second: DensityMatrix,
): DensityMatrix {
  return [0, 3, 6].flatMap((row) =>
    times(first.slice(row, row + 3) as unknown as Vector, second)
  );
}

/** Densities after a transform. */
export function times(densities: Vector, matrix: DensityMatrix): Vector {
  const [r, g, b] = densities;
  const at = (c: number) =>
    r * matrix[c]! + g * matrix[3 + c]! + b * matrix[6 + c]!;
  return [at(0), at(1), at(2)];
}

/** Optical densities of a colour of 8 bits a channel. */
export function densitiesOf(r: number, g: number, b: number): Vector {
  return [-Math.log(share(r)), -Math.log(share(g)), -Math.log(share(b))];
}

function share(value: number): number {
  return Math.max(DARKEST, value / 255);
}

export function dot(a: Vector, b: Vector): number {
  return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

/** The two stains, and the residual along their cross product. */
function axesOf(
  { haematoxylin, eosin }: PerStain<Vector>,
): readonly [Vector, Vector, Vector] {
  return [haematoxylin, eosin, cross(haematoxylin, eosin)];
}

function cross(a: Vector, b: Vector): Vector {
  return [
    a[1] * b[2] - a[2] * b[1],
    a[2] * b[0] - a[0] * b[2],
    a[0] * b[1] - a[1] * b[0],
  ];
}
