/**
 * The SIMD routine that transforms tiles for the convolutions of
 * {@linkcode ./winograd.ts}, generated for its matrix and strides.
 *
 * @module
 */
import { FunctionBuilder } from "../../wasm/assembler.ts";

const VECTOR_BYTES = 16;

/** Rows of a matrix. */
export type Matrix = readonly (readonly number[])[];

/** Bytes from a row, and from a column, of a tile to the next. */
export interface TileStrides {
  row: number;
  column: number;
}

/** What is transformed, where it lies, and what is done to the result. */
export interface TileTransform {
  /** L of L X L^T. */
  matrix: Matrix;
  from: TileStrides;
  to: TileStrides;
  /** Adds a bias of each channel to all results of a tile. */
  biased: boolean;
  relu: boolean;
}

/**
 * L X L^T of tiles X that lie side by side, channel by channel. Parameters:
 * from, to, tiles, vectors of four channels, bytes of a tile to the next of
 * either, and the bias.
 */
export function transformTiles(
  name: string,
  { matrix, from, to, biased, relu, relaxed }: TileTransform & {
    relaxed: boolean;
  },
): FunctionBuilder {
  const f = new FunctionBuilder(name, 7);
  const [fromTile, toTile, tiles, vectors, fromNext, toNext, bias] = PARAMETERS;
  const fromAt = f.local("i32"), toAt = f.local("i32"), biasAt = f.local("i32");
  const zero = f.local("v128"), added = f.local("v128");
  const combine = combiner(f, matrix, relaxed);
  const side = matrix[0]!.length;
  const inputs = matrix[0]!.map(() => f.local("v128"));
  const half = matrix.map(() => matrix[0]!.map(() => f.local("v128")));
  f.repeat(tiles, () => {
    f.get(fromTile).set(fromAt).get(toTile).set(toAt).get(bias).set(biasAt);
    f.repeat(vectors, () => {
      for (let column = 0; column < side; column++) {
        inputs.forEach((input, row) =>
          f.load(fromAt, row * from.row + column * from.column).set(input)
        );
        combine(inputs, (i, value) => f.get(value).set(half[i]![column]!));
      }
      if (biased) f.load(biasAt).set(added);
      half.forEach((row, i) =>
        combine(row, (j, value) => {
          if (biased) f.add(value, added).set(value);
          if (relu) f.maximum(value, zero).set(value);
          f.store(toAt, value, i * to.row + j * to.column);
        })
      );
      for (const at of [fromAt, toAt, biasAt]) f.advanceBy(at, VECTOR_BYTES);
    });
    f.advance(fromTile, fromNext).advance(toTile, toNext);
  });
  return f;
}

type Combine = (
  inputs: readonly number[],
  use: (row: number, value: number) => void,
) => void;

/**
 * Multiplies vectors by a matrix. Rows of points p and -p have the same terms
 * of even powers and opposite ones of odd powers: such a pair is computed
 * together.
 */
function combiner(
  f: FunctionBuilder,
  matrix: Matrix,
  relaxed: boolean,
): Combine {
  const factors = new Map<number, number>();
  for (const factor of new Set(matrix.flat())) {
    const local = f.local("v128");
    f.constantVector(factor).set(local);
    factors.set(factor, local);
  }
  const even = f.local("v128"), odd = f.local("v128"), sum = f.local("v128");
  const addUp = (
    row: readonly number[],
    inputs: readonly number[],
    to: number,
  ) => {
    // A factor of one first: its product is the input itself.
    const terms = row.map((factor, i) => ({ factor, input: inputs[i]! }))
      .filter(({ factor }) => factor !== 0)
      .toSorted((a, b) => Number(b.factor === 1) - Number(a.factor === 1));
    terms.forEach(({ factor, input }, i) => {
      const local = factors.get(factor)!;
      if (i === 0) factor === 1 ? f.get(input) : f.multiply(input, local);
      else if (factor === 1) f.add(to, input);
      else f.multiplyAdd(input, local, to, relaxed);
      f.set(to);
    });
  };
  return (inputs, use) => {
    for (let i = 0; i < matrix.length; i++) {
      const row = matrix[i]!;
      if (!areOpposite(row, matrix[i + 1])) {
        addUp(row, inputs, sum);
        use(i, sum);
        continue;
      }
      addUp(row.map((v, k) => k % 2 === 0 ? v : 0), inputs, even);
      addUp(row.map((v, k) => k % 2 === 0 ? 0 : v), inputs, odd);
      f.add(even, odd).set(sum);
      use(i, sum);
      f.subtract(even, odd).set(sum);
      use(++i, sum);
    }
  };
}

function areOpposite(
  row: readonly number[],
  next: readonly number[] | undefined,
): boolean {
  return row.some((value, k) => k % 2 === 1 && value !== 0) &&
    next !== undefined &&
    row.every((value, k) => next[k] === (k % 2 === 0 ? value : -value));
}

const PARAMETERS = [0, 1, 2, 3, 4, 5, 6] as const;
