/**
 * Elementwise SIMD routines. All pointers and strides are in bytes; a vector is
 * 4 values.
 *
 * @module
 */
import { FunctionBuilder } from "./assembler.ts";

const VECTOR_BYTES = 16;

/** out = a where b > 0, else 0. Parameters: a, b, out, vectors. */
export function maskPositive(name: string): FunctionBuilder {
  const f = new FunctionBuilder(name, 4);
  const [a, b, out, vectors] = [0, 1, 2, 3] as const;
  const value = f.local("v128"), zero = f.local("v128");
  const mask = f.local("v128");
  f.repeat(vectors, () => {
    f.load(b).set(value).greater(value, zero).set(mask);
    f.load(a).set(value).and(value, mask).set(value);
    f.store(out, value);
    for (const at of [a, b, out]) f.advanceBy(at, VECTOR_BYTES);
  });
  return f;
}

/** out = a + b. Parameters: a, b, out, vectors. */
export function addVectors(name: string): FunctionBuilder {
  const f = new FunctionBuilder(name, 4);
  const [a, b, out, vectors] = [0, 1, 2, 3] as const;
  const left = f.local("v128"), right = f.local("v128");
  return f.repeat(vectors, () => {
    f.load(a).set(left).load(b).set(right).add(left, right).set(left);
    f.store(out, left);
    for (const at of [a, b, out]) f.advanceBy(at, VECTOR_BYTES);
  });
}

/**
 * The gradient of a row of 2x2 max pools: each window's dy goes to the first of
 * its largest pixels. Parameters: the upper and the lower row of x, dy, the
 * upper and the lower row of dx, windows, vectors of a pixel, bytes of a pixel.
 */
export function maxPoolGradientRow(name: string): FunctionBuilder {
  const f = new FunctionBuilder(name, 8);
  const [upper, lower, dy, dxUpper, dxLower] = [0, 1, 2, 3, 4] as const;
  const [windows, vectors, pixelBytes] = [5, 6, 7] as const;
  const values = [0, 1, 2, 3].map(() => f.local("v128"));
  const largest = f.local("v128"), left = f.local("v128");
  const mask = f.local("v128"), share = f.local("v128");
  const right = [upper, lower, dxUpper, dxLower].map(() => f.local("i32"));
  const pointers = [upper, lower, dxUpper, dxLower] as const;
  f.repeat(windows, () => {
    pointers.forEach((pointer, i) =>
      f.get(pointer).set(right[i]!).advance(right[i]!, pixelBytes)
    );
    const places = [
      { from: upper, to: dxUpper },
      { from: right[0]!, to: right[2]! },
      { from: lower, to: dxLower },
      { from: right[1]!, to: right[3]! },
    ];
    f.repeat(vectors, () => {
      places.forEach(({ from }, i) => f.load(from).set(values[i]!));
      f.maximum(values[0]!, values[1]!).set(largest);
      f.maximum(largest, values[2]!).set(largest);
      f.maximum(largest, values[3]!).set(largest);
      f.load(dy).set(left);
      places.forEach(({ to }, i) => {
        f.equal(values[i]!, largest).set(mask);
        f.and(left, mask).set(share).store(to, share);
        f.andNot(left, mask).set(left);
      });
      for (const at of [...pointers, ...right, dy]) {
        f.advanceBy(at, VECTOR_BYTES);
      }
    });
    for (const at of pointers) f.advance(at, pixelBytes);
  });
  return f;
}
