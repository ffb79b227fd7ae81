/**
 * A dictionary: features that are learned from patches of the training images,
 * without labels.
 *
 * Patches are normalised in contrast and whitened; k-means finds K typical ones.
 * A place is described by how much closer than average the patches about it are
 * to each of them, as mean and maximum over a window, at three scales. For tiny
 * objects it is better than scattering, because nothing is averaged before the
 * nonlinearity.
 *
 * A patch is compared with each typical one in all its turns, and the nearest
 * counts: objects lie in any direction, and few images show each of them. On
 * needles of 8 px that no study uses, 240 images: 0.96 in the place of 0.92.
 *
 * Whitened patches are a convolution of the picture (their mean is a part of the
 * filter, their deviation a factor after it), and products with the K patches
 * are another, of 1 x 1 px: no patch is ever copied.
 *
 * Source: Coates & Ng, "The Importance of Encoding Versus Training with Sparse
 * Coding and Vector Quantization", ICML 2011; the code is their "triangle".
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { conv2d } from "../../kernels/conv/conv.ts";
import { EncoderError } from "../errors.ts";
import type { Encoder } from "./encoder.ts";
import {
  emptyMaps,
  type FeatureRows,
  halved,
  type Maps,
  poolAbout,
  reflected,
} from "./maps.ts";
import { checkFinite, pictureGroups } from "./pictures.ts";
import { TURNS } from "./turns.ts";

/** A tensor outside any engine. */
export interface PlainTensor {
  /** Its dimensions. */
  shape: number[];
  /** Its values, row-major. */
  data: Float32Array;
}

/** What was learned, by the names of {@linkcode dictionaryTensors}. */
export type Dictionary = ReadonlyMap<string, PlainTensor>;

/** One scale of a dictionary. */
export interface DictionaryScale {
  name: "fine" | "middle" | "coarse";
  /** Side of a patch, px of the scale. */
  patch: number;
  /** Px of the picture in one of the scale, a side. */
  shrink: 1 | 2;
  /** Px of the scale between two codes. */
  stride: number;
}

/**
 * Patches of 6 and 8 px, and of 16 px at half resolution: parts of an object of 8
 * px, the object, and what is around it. Codes lie 2 px of the picture apart.
 *
 * On needles of 8 px that no study uses, 240 images, two seeds, test accuracy:
 * 0.89 with all three, 0.88 without the middle; with a window of 8 px 0.91 and
 * 0.84, of 16 px 0.90 and 0.81.
 */
export const SCALES: readonly DictionaryScale[] = [
  { name: "fine", patch: 6, shrink: 1, stride: 2 },
  { name: "middle", patch: 8, shrink: 1, stride: 2 },
  { name: "coarse", patch: 8, shrink: 2, stride: 1 },
];
const CODE = 2; // px of the picture between two codes

/** K: typical patches of a scale. */
export const CENTROIDS = 64;
/** Features of a place: mean and maximum of each code of all scales. */
export const DICTIONARY_CHANNELS: number = SCALES.length * 2 * CENTROIDS;
/** Directions of the whitened patches; the others hold noise. */
export const DIRECTIONS = 48;
/** Added to the variance of a patch, as if it had noise of 3 of 255 levels. */
export const PATCH_NOISE = 1.5e-4;

/**
 * Side of the window about a place, px, unless another is asked for: an object of
 * 8 px that is up to 4 px off the place is in it by half at least. In the trials
 * above the place of most evidence was always a needle (8 px: 0.96, 16 px: 0.96).
 */
export const DICTIONARY_WINDOW = 12;

// Px that are encoded at a time, which bounds memory: about 80 MB.
const MOST_PX = 512 * 512;
// The picture, whitened patches, distances, codes; counted.
const BYTES_PER_PIXEL = 700;
const LEAST_DISTANCE = 1e-3;

/** Names and shapes of what a dictionary consists of. */
export const dictionaryTensors: readonly { name: string; shape: number[] }[] =
  SCALES.flatMap(({ name, patch }) => [
    { name: `${name}/projection`, shape: [patch, patch, 3, DIRECTIONS] },
    { name: `${name}/offset`, shape: [DIRECTIONS] },
    { name: `${name}/centroids`, shape: [TURNS, CENTROIDS, DIRECTIONS] },
  ]);

/**
 * An encoder of 6 K features: the means, then the maxima, of the codes of each
 * scale, the finest first. A block that begins at a multiple of `step` has the
 * features of the whole, `margin` px from its border.
 *
 * @param dictionary from `learnDictionary`; it may have other numbers of
 *   directions and centroids than {@linkcode dictionaryTensors}.
 * @param options.key what changes whenever the dictionary does.
 * @throws {EncoderError} If a tensor is missing or has another shape.
 */
export function dictionaryEncoder(
  dictionary: Dictionary,
  { key, window = DICTIONARY_WINDOW }: { key: string; window?: number },
): Encoder {
  const scales = SCALES.map((scale) => scaleOf(dictionary, scale));
  const channels = scales.reduce((sum, { count }) => sum + 2 * count, 0);
  const about = { cell: CODE, side: window };
  return {
    key: `dictionary/2/${window}/${key}`,
    channels,
    margin: marginOf(window),
    placesAtOnce: Infinity, // the maps are made once for all
    step: CODE,
    bytesPerPixel: BYTES_PER_PIXEL,
    async features(pictures, places, signal) {
      checkSize(pictures);
      const count = places.reduce((sum, { length }) => sum + length, 0);
      const data = new Float32Array(count * channels);
      let row = 0;
      for (const group of pictureGroups(pictures, MOST_PX)) {
        signal?.throwIfAborted();
        const some = places.slice(group.first, group.first + group.count);
        const rows: FeatureRows = { data, channels, row };
        let at = 0;
        for (const scale of scales) {
          const codes = await triangleCodes({ ...group, channels: 3 }, scale);
          const pooling = { places: some, window: about, max: true };
          at = poolAbout(codes, pooling, rows, at);
        }
        row += some.reduce((sum, { length }) => sum + length, 0);
      }
      return checkFinite(data, "the dictionary");
    },
    dispose() {},
  };
}

/** Half a window, one code, and half a patch. */
function marginOf(window: number): number {
  const patch = Math.max(...SCALES.map(({ patch, shrink }) => patch * shrink));
  const half = Math.max(1, Math.round(window / CODE)) * CODE / 2;
  return CODE * Math.ceil((half + CODE + patch / 2) / CODE);
}

function checkSize({ width, height }: { width: number; height: number }): void {
  if (Math.min(width, height) >= 2) return;
  throw new EncoderError(
    `Cannot use ${width}x${height} px as a picture for the dictionary: it needs at least 2 px a side`,
  );
}

/** A scale, and what was learned for it. */
interface LearnedScale extends DictionaryScale {
  /** d: directions of the whitened patches. */
  directions: number;
  /** K. */
  count: number;
  /** `[patch, patch, 3, d]`. */
  projection: Float32Array;
  /** `[d]`: subtracted from what is projected. */
  offset: Float32Array;
  /** The centroids, turn by turn. */
  turns: readonly TurnedCentroids[];
}

/** Centroids in one of their turns. */
interface TurnedCentroids {
  /** `[1, 1, d, K]`: -2 times the centroids. */
  products: Float32Array;
  /** `[K]`: their squared lengths. */
  squares: Float32Array;
}

function scaleOf(dictionary: Dictionary, scale: DictionaryScale): LearnedScale {
  const { name, patch } = scale;
  const take = (part: string, fits: (shape: number[]) => boolean) => {
    const tensor = dictionary.get(`${name}/${part}`);
    if (tensor && fits(tensor.shape)) return tensor;
    throw new EncoderError(
      `Cannot use the dictionary because ${name}/${part} ${
        tensor ? `has the shape [${tensor.shape}]` : "is missing"
      }: learn it anew`,
    );
  };
  const centroids = take("centroids", ({ length }) => length === 3);
  const [turns, count, directions] = centroids.shape as [
    number,
    number,
    number,
  ];
  const shape = [patch, patch, 3, directions].join();
  const size = count * directions;
  return {
    ...scale,
    directions,
    count,
    projection: take("projection", (own) => own.join() === shape).data,
    offset: take("offset", (own) => own.join() === `${directions}`).data,
    turns: Array.from(
      { length: turns },
      (_, turn) =>
        turnOf(
          centroids.data.subarray(turn * size, (turn + 1) * size),
          directions,
        ),
    ),
  };
}

function turnOf(values: Float32Array, directions: number): TurnedCentroids {
  const count = values.length / directions;
  const products = new Float32Array(values.length);
  const squares = new Float32Array(count);
  values.forEach((value, at) => {
    const k = Math.floor(at / directions);
    products[(at % directions) * count + k] = -2 * value;
    squares[k]! += value ** 2;
  });
  return { products, squares };
}

/** The triangle codes of pictures `[count, height, width, 3]`: K channels. */
async function triangleCodes(
  pictures: Maps,
  scale: LearnedScale,
): Promise<Maps> {
  const { patch, stride, shrink } = scale;
  const shrunk = shrink === 2 ? halved(pictures) : pictures;
  const before = patch >> 1;
  const framed = reflected(shrunk, { before, after: patch - 1 - before });
  const factors = contrastFactors(framed, { patch, stride });
  const codes = tf.tidy(() => encode(framed, factors, scale));
  const { count, height, width } = factors;
  const data = await codes.data() as Float32Array;
  codes.dispose();
  return { data, count, height, width, channels: scale.count };
}

/** See the module. */
function encode(
  { data, count, height, width }: Maps,
  factors: Maps,
  { patch, stride, projection, offset, turns, ...scale }: LearnedScale,
): tf.Tensor {
  const { directions: d, count: k } = scale;
  const plain = { padding: 0, relu: false };
  const projected = conv2d(tf.tensor4d(data, [count, height, width, 3]), {
    filter: tf.tensor4d(projection, [patch, patch, 3, d]),
    bias: tf.zeros([d]),
    stride,
    ...plain,
  });
  const contrast = tf.tensor4d(
    factors.data,
    [count, factors.height, factors.width, 1],
  );
  const whitened = tf.sub(
    tf.mul<tf.Tensor4D>(projected, contrast),
    tf.tensor1d(offset),
  ) as tf.Tensor4D;
  // |x - c|^2 = |x|^2 + (|c|^2 - 2 x c), in the turn of c that is nearest
  const others = turns.map(({ products, squares }): tf.Tensor =>
    conv2d(whitened, {
      filter: tf.tensor4d(products, [1, 1, d, k]),
      bias: tf.tensor1d(squares),
      stride: 1,
      ...plain,
    })
  ).reduce((nearest, turn) => tf.minimum(nearest, turn));
  const lengths = tf.sum(tf.square(whitened), 3, true);
  const distances = tf.sqrt(
    tf.maximum(tf.add(others, lengths), LEAST_DISTANCE ** 2),
  );
  return tf.relu(tf.sub(tf.mean(distances, 3, true), distances));
}

/** 1 / deviation of the patch under each code: `[count, rows, columns, 1]`. */
export function contrastFactors(
  framed: Maps,
  { patch, stride }: { patch: number; stride: number },
): Maps {
  const { count, height, width } = framed;
  const factors = emptyMaps({
    count,
    height: Math.floor((height - patch) / stride) + 1,
    width: Math.floor((width - patch) / stride) + 1,
    channels: 1,
  });
  const terms = 3 * patch ** 2;
  let to = 0;
  for (let n = 0; n < count; n++) {
    const [sums, squares] = areaSums(framed, n);
    const over = (table: Float64Array, y: number, x: number) => {
      const at = y * (width + 1) + x, below = at + patch * (width + 1);
      return table[below + patch]! - table[below]! - table[at + patch]! +
        table[at]!;
    };
    for (let y = 0; y < factors.height; y++) {
      for (let x = 0; x < factors.width; x++) {
        const mean = over(sums, y * stride, x * stride) / terms;
        const square = over(squares, y * stride, x * stride) / terms;
        const variance = Math.max(0, square - mean ** 2);
        factors.data[to++] = 1 / Math.sqrt(variance + PATCH_NOISE);
      }
    }
  }
  return factors;
}

/**
 * Sums of the values, and of their squares, over all channels of all px above and
 * left of each: `[height + 1, width + 1]`.
 */
function areaSums(
  { data, height, width }: Maps,
  index: number,
): [sums: Float64Array, squares: Float64Array] {
  const row = width + 1;
  const sums = new Float64Array((height + 1) * row);
  const squares = new Float64Array((height + 1) * row);
  let from = index * height * width * 3;
  for (let y = 1; y <= height; y++) {
    let sum = 0, square = 0;
    for (let x = 1; x <= width; x++, from += 3) {
      const r = data[from]!, g = data[from + 1]!, b = data[from + 2]!;
      sum += r + g + b;
      square += r * r + g * g + b * b;
      const at = y * row + x;
      sums[at] = sums[at - row]! + sum;
      squares[at] = squares[at - row]! + square;
    }
  }
  return [sums, squares];
}
