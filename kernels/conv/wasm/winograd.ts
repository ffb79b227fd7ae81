/**
 * Convolutions of 5 x 5 px by 36 products in the place of 100: Winograd's
 * F(2 x 2, 5 x 5). Tiles of 6 x 6 inputs overlap by four and yield 2 x 2
 * outputs; in the transformed domain a convolution is a matrix product for each
 * of 36 places, and so is the filter gradient, F(5 x 5, 2 x 2) of the same
 * tiles:
 *
 *     Y  = A^T [sum over inputs of (G W G^T) * (B^T X B)] A
 *     dW = A^T [sum over tiles of (G dY G^T) * (B^T X B)] A
 *
 * with A and G of either size. Source: Lavin & Gray, Fast algorithms for
 * convolutional neural networks, CVPR 2016; matrices from points as in
 * Barabasz et al., Error analysis and improving the accuracy of Winograd
 * convolution for deep neural networks, TOMS 2020.
 *
 * @module
 */
import type * as tf from "@tensorflow/tfjs-core";
import type { ConvShape } from "../conv.ts";
import { multiplier, type PaddedConvolution } from "./forward.ts";
import { productAdder } from "./outer_products.ts";
import { spread } from "./padding.ts";
import { LANES } from "./register_blocks.ts";
import {
  type Matrix,
  type TileTransform,
  transformTiles,
} from "./tile_transform.ts";
import { offsetOf, routine, type WasmBackend } from "../../wasm/routine.ts";

const FLOAT_BYTES = 4;
const KERNEL = 5, OUT = 2; // px of the filter, and of a tile's outputs
const TILE = KERNEL + OUT - 1;
const PLACES = TILE * TILE;
// With fewer channels, transforms cost what they save.
const MIN_CHANNELS = 16;
// Transformed tiles that stay in the second-level cache.
const CHUNK_BYTES = 640 * 1024;

// With infinity, these lose least of all points tried: errors are 1.3 times
// those of the plain sum, twice in a filter gradient.
const POINTS = [0, 0.75, -0.75, 1.5, -1.5];

/** B^T. */
const INPUTS: Matrix = [...POINTS.map((_, j) => productsOf(j)), productsOf()];

/** Some of the tiles of an image: whole rows of them. */
interface Chunk {
  image: number;
  /** First row of tiles, and rows. */
  first: number;
  rows: number;
  /** Tiles in all. */
  tiles: number;
}

/** Convolutions that take less time in tiles. */
export function suitsTiles(
  { kernel, stride, inputs, outputs, outHeight, outWidth }: ConvShape,
): boolean {
  return kernel === KERNEL && stride === 1 &&
    [inputs, outputs].every((n) => n >= MIN_CHANNELS && n % LANES === 0) &&
    Math.min(outHeight, outWidth) >= OUT;
}

/** The valid convolution of a `frame` that already holds its padding. */
export function convolveInTiles(
  backend: WasmBackend,
  frame: tf.TensorInfo,
  { filter, bias, shape, relu }: PaddedConvolution,
): tf.TensorInfo {
  const { batch, outHeight, outWidth, inputs, outputs } = shape;
  const out = backend.makeOutput(
    [batch, outHeight, outWidth, outputs],
    "float32",
  );
  const weights = backend.makeOutput([PLACES, inputs, outputs], "float32");
  transformFilter(backend, weightsMatrix(KERNEL), filter, weights);
  const zeros = zerosOf(backend, [outputs]);
  const most = tilesTogether(shape);
  const values = backend.makeOutput([PLACES, most, inputs], "float32");
  const sums = backend.makeOutput([PLACES, most, outputs], "float32");
  const [valuesAt, weightsAt, zerosAt, sumsAt] = [values, weights, zeros, sums]
    .map((info) => offsetOf(backend, info)) as [number, number, number, number];
  const transformIn = imageTransform(backend, {
    matrix: INPUTS,
    image: frame,
    tiles: values,
    way: "in",
    shape,
  });
  const transformOut = imageTransform(backend, {
    matrix: outputsMatrix(OUT),
    image: out,
    tiles: sums,
    way: "out",
    shape,
    bias,
    relu,
  });
  const multiplierOf = madeOnce((rows) =>
    multiplier(backend, { rows, inputs, outputs })
  );
  for (const chunk of chunksOf(shape)) {
    const { tiles } = chunk;
    transformIn(chunk);
    const multiply = multiplierOf(tiles);
    for (let place = 0; place < PLACES; place++) {
      multiply({
        x: valuesAt + place * tiles * inputs * FLOAT_BYTES,
        matrix: weightsAt + place * inputs * outputs * FLOAT_BYTES,
        bias: zerosAt,
        out: sumsAt + place * tiles * outputs * FLOAT_BYTES,
      });
    }
    transformOut(chunk);
  }
  for (const { dataId } of [weights, zeros, values, sums]) {
    backend.disposeData(dataId);
  }
  return out;
}

/** The gradient of the filter, of the shape of `dFilter`, which it fills. */
export function filterGradientInTiles(backend: WasmBackend, {
  x,
  dy,
  dFilter,
  shape,
}: {
  x: tf.TensorInfo;
  dy: tf.TensorInfo;
  dFilter: tf.TensorInfo;
  shape: ConvShape;
}): void {
  const { inputs, outputs, padding } = shape;
  // Whole tiles: what is beyond the last row and column is zero.
  const outHeight = OUT * Math.ceil(shape.outHeight / OUT);
  const outWidth = OUT * Math.ceil(shape.outWidth / OUT);
  const whole = { ...shape, outHeight, outWidth };
  const frame = spread(backend, x, {
    height: Math.max(outHeight + TILE - OUT, shape.height + padding),
    width: Math.max(outWidth + TILE - OUT, shape.width + padding),
    offset: padding,
    stride: 1,
  });
  const upstream = spread(backend, dy, {
    height: outHeight,
    width: outWidth,
    offset: 0,
    stride: 1,
  });
  const most = tilesTogether(whole);
  const values = backend.makeOutput([PLACES, most, inputs], "float32");
  const gradients = backend.makeOutput([PLACES, most, outputs], "float32");
  const sums = zerosOf(backend, [PLACES, inputs, outputs]);
  const [valuesAt, gradientsAt, sumsAt] = [values, gradients, sums]
    .map((info) => offsetOf(backend, info)) as [number, number, number];
  const common = { way: "in", shape: whole } as const;
  const transformInputs = imageTransform(backend, {
    matrix: INPUTS,
    image: frame,
    tiles: values,
    ...common,
  });
  const transformGradients = imageTransform(backend, {
    matrix: weightsMatrix(OUT),
    image: upstream,
    tiles: gradients,
    ...common,
  });
  const adderOf = madeOnce((rows) =>
    productAdder(backend, { rows, height: inputs, width: outputs })
  );
  for (const chunk of chunksOf(whole)) {
    transformInputs(chunk);
    transformGradients(chunk);
    const add = adderOf(chunk.tiles);
    for (let place = 0; place < PLACES; place++) {
      add(
        valuesAt + place * chunk.tiles * inputs * FLOAT_BYTES,
        gradientsAt + place * chunk.tiles * outputs * FLOAT_BYTES,
        sumsAt + place * inputs * outputs * FLOAT_BYTES,
      );
    }
  }
  transformFilter(backend, outputsMatrix(KERNEL), sums, dFilter);
  for (const { dataId } of [frame, upstream, values, gradients, sums]) {
    backend.disposeData(dataId);
  }
}

/** The tiles of a batch, as many together as the cache holds. */
function* chunksOf(shape: ConvShape): Generator<Chunk> {
  const rows = Math.ceil(shape.outHeight / OUT);
  const columns = Math.ceil(shape.outWidth / OUT);
  const together = tilesTogether(shape) / columns;
  for (let image = 0; image < shape.batch; image++) {
    for (let first = 0; first < rows; first += together) {
      const count = Math.min(together, rows - first);
      yield { image, first, rows: count, tiles: count * columns };
    }
  }
}

/** Tiles of the largest chunk. */
function tilesTogether(
  { outHeight, outWidth, inputs, outputs }: ConvShape,
): number {
  const rows = Math.ceil(outHeight / OUT), columns = Math.ceil(outWidth / OUT);
  const rowBytes = PLACES * columns * (inputs + outputs) * FLOAT_BYTES;
  const together = Math.max(1, Math.floor(CHUNK_BYTES / rowBytes));
  return columns * Math.min(rows, together);
}

/** Makes a thing for each number of tiles: there are one or two of them. */
function madeOnce<T>(make: (tiles: number) => T): (tiles: number) => T {
  const made = new Map<number, T>();
  return (tiles) => {
    let found = made.get(tiles);
    if (found === undefined) made.set(tiles, found = make(tiles));
    return found;
  };
}

/**
 * Transforms pixels to tiles `[36, tiles, channels]`, or back, chunk by chunk. The
 * last tiles of an odd size are moved inside, where they overlap the ones before.
 */
function imageTransform(backend: WasmBackend, {
  matrix,
  image,
  tiles,
  way,
  shape: { outHeight, outWidth },
  bias,
  relu = false,
}: {
  matrix: Matrix;
  image: tf.TensorInfo;
  tiles: tf.TensorInfo;
  way: "in" | "out";
  shape: ConvShape;
  bias?: tf.TensorInfo;
  relu?: boolean;
}): (chunk: Chunk) => void {
  const [, height = 0, width = 0, channels = 0] = image.shape;
  const pixel = channels * FLOAT_BYTES;
  const pixels = { row: width * pixel, column: pixel };
  const routineOf = madeOnce((count) => {
    const places = { row: TILE * count * pixel, column: count * pixel };
    const [from, to] = way === "in" ? [pixels, places] : [places, pixels];
    return tileRoutine(backend, { matrix, from, to, biased: !!bias, relu });
  });
  const imageAt = offsetOf(backend, image), tilesAt = offsetOf(backend, tiles);
  const biasAt = bias ? offsetOf(backend, bias) : 0;
  const vectors = channels / LANES;
  const whole = Math.floor(outWidth / OUT);
  return (chunk) => {
    const run = routineOf(chunk.tiles);
    const transform = (y: number, x: number, tile: number, count: number) => {
      const inImage = imageAt +
        ((chunk.image * height + y) * width + x) * pixel;
      const inTiles = tilesAt + tile * pixel;
      if (way === "in") {
        run(inImage, inTiles, count, vectors, OUT * pixel, pixel, biasAt);
      } else run(inTiles, inImage, count, vectors, pixel, OUT * pixel, biasAt);
    };
    const columns = chunk.tiles / chunk.rows;
    for (let row = 0; row < chunk.rows; row++) {
      const y = Math.min((chunk.first + row) * OUT, outHeight - OUT);
      transform(y, 0, row * columns, whole);
      if (columns > whole) {
        transform(y, outWidth - OUT, row * columns + whole, 1);
      }
    }
  };
}

/** L W L^T of a filter `[k, k, I, O]`, or of one that was transformed. */
function transformFilter(
  backend: WasmBackend,
  matrix: Matrix,
  filter: tf.TensorInfo,
  out: tf.TensorInfo,
): void {
  const [inputs = 0, outputs = 0] = filter.shape.slice(-2);
  const column = inputs * outputs * FLOAT_BYTES;
  const strides = (side: number) => ({ row: side * column, column });
  const run = tileRoutine(backend, {
    matrix,
    from: strides(matrix[0]!.length),
    to: strides(matrix.length),
    biased: false,
    relu: false,
  });
  const [from, to] = [filter, out].map((info) => offsetOf(backend, info));
  run(from!, to!, 1, inputs * outputs / LANES, 0, 0, 0);
}

function tileRoutine(backend: WasmBackend, transform: TileTransform) {
  const { matrix, from, to, biased, relu } = transform;
  // The corner tells matrices of the same size apart.
  const name = [
    matrix.length,
    matrix[0]!.length,
    matrix[0]![0],
    from.row,
    from.column,
    to.row,
    to.column,
    biased,
    relu,
  ];
  return routine(
    backend,
    `transform_${name.join("_")}`,
    (name, relaxed) => transformTiles(name, { ...transform, relaxed }),
  );
}

function zerosOf(backend: WasmBackend, shape: number[]): tf.TensorInfo {
  const zeros = backend.makeOutput(shape, "float32");
  backend.typedArrayFromHeap(zeros).fill(0);
  return zeros;
}

/** A^T for so many outputs: powers of the points; of infinity the highest. */
function outputsMatrix(count: number): Matrix {
  return Array.from({ length: count }, (_, power) => [
    ...POINTS.map((point) => point ** power),
    Number(power === count - 1),
  ]);
}

/** G for so many weights: powers of each point over its distances. */
function weightsMatrix(count: number): Matrix {
  const powers = Array.from({ length: count }, (_, i) => i);
  return [
    ...POINTS.map((point) => {
      const distances = POINTS.filter((other) => other !== point)
        .reduce((product, other) => product * (point - other), 1);
      return powers.map((power) => point ** power / distances);
    }),
    powers.map((power) => Number(power === count - 1)),
  ];
}

/** Coefficients of the product of (x - p) over the points, `without` one. */
function productsOf(without?: number): number[] {
  let coefficients = [1];
  for (const point of POINTS.filter((_, j) => j !== without)) {
    const raised = [0, ...coefficients];
    coefficients.forEach((value, i) => raised[i]! -= point * value);
    coefficients = raised;
  }
  return Array.from({ length: TILE }, (_, i) => coefficients[i] ?? 0);
}
