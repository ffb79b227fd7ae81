/**
 * The SIMD routines behind the convolutions of the WASM engine, generated for
 * the block they work on. All pointers and strides are in bytes.
 *
 * @module
 */
import { FunctionBuilder } from "../../wasm/assembler.ts";
import { LANES } from "./register_blocks.ts";

const FLOAT_BYTES = 4;
const VECTOR_BYTES = 16;

/**
 * out[i, j] += sum over rows and pixels of a[i] b[j], for blocks of `height` values
 * of a and of `vectors` x 4 values of b. The sums of a block stay in registers while
 * the pixels stream by. Parameters: a, b, out, rows, pixels, then the strides of a
 * row of a and b, of a pixel of a and b, and of a row of out; blocks of a and of b.
 *
 * Values of a are read four at a time, and so up to two beyond a block: the heap does
 * not end with a tensor, and tfjs's own kernels read 16 bytes beyond.
 */
export function outerProducts(
  name: string,
  { height, vectors, relaxed }: {
    height: number;
    vectors: number;
    relaxed: boolean;
  },
): FunctionBuilder {
  const f = new FunctionBuilder(name, 12);
  const [a, b, out, rows, pixels, aRow, bRow, aPixel, bPixel, outRow] =
    PARAMETERS;
  const [aBlocks, bBlocks] = [10, 11] as const;
  const bBlock = f.local("i32"), outBlock = f.local("i32");
  const aStart = f.local("i32"), bStart = f.local("i32");
  const aAt = f.local("i32"), bAt = f.local("i32"), outAt = f.local("i32");
  const splat = f.local("v128");
  const four = f.local("v128");
  const bValues = locals(f, vectors);
  const sums = Array.from({ length: height }, () => locals(f, vectors));
  const eachSum = (visit: (sum: number, offset: number) => void) => {
    f.get(outBlock).set(outAt);
    for (const row of sums) {
      row.forEach((sum, v) => visit(sum, v * VECTOR_BYTES));
      f.advance(outAt, outRow);
    }
  };
  f.repeat(aBlocks, () => {
    f.get(b).set(bBlock).get(out).set(outBlock);
    f.repeat(bBlocks, () => {
      eachSum((sum, offset) => f.load(outAt, offset).set(sum));
      f.get(a).set(aStart).get(bBlock).set(bStart);
      f.repeat(rows, () => {
        f.get(aStart).set(aAt).get(bStart).set(bAt);
        f.repeat(pixels, () => {
          bValues.forEach((value, v) =>
            f.load(bAt, v * VECTOR_BYTES).set(value)
          );
          sums.forEach((row, i) => {
            if (i % LANES === 0 && i === height - 1) {
              f.loadSplat(aAt, i * FLOAT_BYTES).set(splat);
            } else {
              if (i % LANES === 0) f.load(aAt, i * FLOAT_BYTES).set(four);
              f.splatLane(four, i % LANES).set(splat);
            }
            row.forEach((sum, v) =>
              f.multiplyAdd(splat, bValues[v]!, sum, relaxed).set(sum)
            );
          });
          f.advance(aAt, aPixel).advance(bAt, bPixel);
        });
        f.advance(aStart, aRow).advance(bStart, bRow);
      });
      eachSum((sum, offset) => f.store(outAt, sum, offset));
      for (const at of [bBlock, outBlock]) {
        f.advanceBy(at, vectors * VECTOR_BYTES);
      }
    });
    f.advanceBy(a, height * FLOAT_BYTES);
    sums.forEach(() => f.advance(out, outRow));
  });
  return f;
}

/**
 * One row of a convolution of a padded input: `tiles` times `pixels` output
 * pixels of blocks of `vectors` x 4 channels. For each kernel row the inputs of a pixel
 * are one contiguous run of kernel width x channels values, `unroll` at a time. If
 * `fours` is set, four of them are one load: V8 tests the bounds of each.
 * Parameters: x, filter, bias, out, tiles, kernel rows, rounds of a run, then the
 * strides of a row of x, of a step of the filter and of a pixel of out; blocks of
 * channels.
 *
 * @param pixelBytes bytes from one output pixel's input to the next one's.
 */
export function convolveRow(
  name: string,
  { pixels, vectors, fours: isInFours, unroll, pixelBytes, relu, relaxed }: {
    pixels: number;
    vectors: number;
    fours: boolean;
    unroll: number;
    pixelBytes: number;
    relu: boolean;
    relaxed: boolean;
  },
): FunctionBuilder {
  const f = new FunctionBuilder(name, 11);
  const blocks = 10;
  const [
    x,
    filter,
    bias,
    out,
    tiles,
    kernelRows,
    rounds,
    xRow,
    step,
    outPixel,
  ] = PARAMETERS;
  const tileAt = f.local("i32"), outTile = f.local("i32");
  const rowAt = f.local("i32"), xAt = f.local("i32"), wAt = f.local("i32");
  const outAt = f.local("i32"), tileBytes = f.local("i32");
  const splat = f.local("v128"), zero = f.local("v128");
  const weights = locals(f, pixels > 1 ? vectors : 1);
  const fours = locals(f, isInFours ? pixels : 0);
  const lastFour = isInFours ? unroll - unroll % LANES : 0;
  const sums = Array.from({ length: pixels }, () => locals(f, vectors));
  const loadWeight = (v: number) =>
    f.load(wAt, v * VECTOR_BYTES).set(weights[v % weights.length]!);
  const pushSplat = (p: number, u: number) =>
    u < lastFour
      ? f.splatLane(fours[p]!, u % LANES)
      : f.loadSplat(xAt, p * pixelBytes + u * FLOAT_BYTES);
  f.constant(pixels * pixelBytes).set(tileBytes);
  const convolveTiles = () =>
    f.repeat(tiles, () => {
      for (const row of sums) {
        row.forEach((sum, v) => f.load(bias, v * VECTOR_BYTES).set(sum));
      }
      f.get(tileAt).set(rowAt).get(filter).set(wAt);
      f.repeat(kernelRows, () => {
        f.get(rowAt).set(xAt);
        f.repeat(rounds, () => {
          for (let u = 0; u < unroll; u++) {
            if (u % LANES === 0 && u < lastFour) {
              fours.forEach((four, p) =>
                f.load(xAt, p * pixelBytes + u * FLOAT_BYTES).set(four)
              );
            }
            if (pixels > 1) weights.forEach((_, v) => loadWeight(v));
            sums.forEach((row, p) => {
              pushSplat(p, u).set(splat);
              row.forEach((sum, v) => {
                if (pixels === 1) loadWeight(v);
                const weight = weights[v % weights.length]!;
                f.multiplyAdd(splat, weight, sum, relaxed).set(sum);
              });
            });
            f.advance(wAt, step);
          }
          f.advanceBy(xAt, unroll * FLOAT_BYTES);
        });
        f.advance(rowAt, xRow);
      });
      f.get(outTile).set(outAt);
      for (const row of sums) {
        row.forEach((sum, v) => {
          if (relu) f.maximum(sum, zero).set(sum);
          f.store(outAt, sum, v * VECTOR_BYTES);
        });
        f.advance(outAt, outPixel);
      }
      f.get(outAt).set(outTile).advance(tileAt, tileBytes);
    });
  return f.repeat(blocks, () => {
    f.get(x).set(tileAt).get(out).set(outTile);
    convolveTiles();
    for (const at of [filter, bias, out]) {
      f.advanceBy(at, vectors * VECTOR_BYTES);
    }
  });
}

/**
 * One row of a convolution to a single channel: as {@linkcode convolveRow}, but
 * vectors run along the inputs; the length of a run is in vectors of 4 values.
 */
export function convolveRowToOne(
  name: string,
  { pixels, unroll, pixelBytes, relaxed }: {
    pixels: number;
    unroll: number;
    pixelBytes: number;
    relaxed: boolean;
  },
): FunctionBuilder {
  const f = new FunctionBuilder(name, 10);
  const [x, filter, bias, out, tiles, kernelRows, rounds, xRow] = PARAMETERS;
  const rowAt = f.local("i32"), xAt = f.local("i32"), wAt = f.local("i32");
  const tileBytes = f.local("i32"), total = f.local("f32");
  const weight = f.local("v128"), value = f.local("v128");
  const sums = locals(f, pixels);
  f.constant(pixels * pixelBytes).set(tileBytes);
  f.repeat(tiles, () => {
    sums.forEach((sum) => f.zero().set(sum));
    f.get(x).set(rowAt).get(filter).set(wAt);
    f.repeat(kernelRows, () => {
      f.get(rowAt).set(xAt);
      f.repeat(rounds, () => {
        for (let u = 0; u < unroll; u++) {
          const offset = u * VECTOR_BYTES;
          f.load(wAt, offset).set(weight);
          sums.forEach((sum, p) => {
            f.load(xAt, p * pixelBytes + offset).set(value);
            f.multiplyAdd(value, weight, sum, relaxed).set(sum);
          });
        }
        const bytes = unroll * VECTOR_BYTES;
        f.advanceBy(xAt, bytes).advanceBy(wAt, bytes);
      });
      f.advance(rowAt, xRow);
    });
    sums.forEach((sum, p) => {
      f.loadScalar(bias).addLanes(sum).set(total);
      f.storeScalar(out, total, p * FLOAT_BYTES);
    });
    f.advanceBy(out, pixels * FLOAT_BYTES).advance(x, tileBytes);
  });
  return f;
}

const PARAMETERS = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9] as const;

function locals(f: FunctionBuilder, count: number): number[] {
  return Array.from({ length: count }, () => f.local("v128"));
}
