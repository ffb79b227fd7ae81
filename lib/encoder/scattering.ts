/**
 * Scattering: features of fixed filters, with nothing to download or to learn.
 *
 * The picture's colour channels pass complex band filters at eight angles and
 * four scales; the modulus of each is pooled about a place. The moduli of the
 * first channel pass four of the filters again (order 2), which tells textures
 * apart that order 1 does not.
 *
 * Sources: Bruna & Mallat, "Invariant Scattering Convolution Networks", PAMI
 * 35(8), 2013. Stains: Ruifrok & Johnston, 2001. Opponent colours: van de Sande
 * et al., "Evaluating Color Descriptors", PAMI 32(9), 2010.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { conv2d } from "../../kernels/conv/conv.ts";
import { EncoderError } from "../errors.ts";
import type { Point } from "../image/geometry.ts";
import { inverse, type Vector } from "../image/stains/stains.ts";
import type { Encoder, Pictures } from "./encoder.ts";
import {
  doubled,
  emptyMaps,
  type FeatureRows,
  halved,
  type Maps,
  poolAbout,
  reflected,
  separated,
  someMaps,
} from "./maps.ts";
import { checkFinite, pictureGroups } from "./pictures.ts";

/**
 * Channels that are filtered: amounts of haematoxylin and eosin, or van de
 * Sande's opponent colours.
 */
export type Colours = "stains" | "opponent";

// Filters: px, radians. A Gabor filter that spans two periods.
const KERNEL = 9, RADIUS = 4;
const ANGLES = 8, ANGLES_2 = 4;
const DEVIATION = 2, SLENDER = 0.6, FREQUENCY = 1.1;
// Scales of order 1; the finer ones have an order 2.
const SCALES = 4, SCALES_2 = 2;
// The coarsest scale has too few values in a window for a maximum, and two of
// them cover a window of less than their size: it is pooled as if it were finer.
const COARSEST = 8; // px
// Side of the window about a place, px: a nucleus of colon tissue at 20x.
const WINDOW = 27;
// Window, 16 px to either side at most, one value and one radius of the coarsest
// scale: rounded up to a multiple of its value.
const MARGIN = 16 + COARSEST + RADIUS * COARSEST;
// Px of the planes that are filtered at a time, which bounds memory: 42 MB.
const MOST_PX = 512 * 512;
// Planes, moduli, and the filtered px of a group; counted.
const BYTES_PER_PIXEL = 350;

/**
 * An encoder of 178 features for `stains`, of 235 for `opponent`.
 *
 * A block that begins at a multiple of `step` has the features of the whole,
 * `margin` px from its border; elsewhere its 2 x 2 means are others.
 */
export function scatteringEncoder(
  { colours }: { colours: Colours },
): Encoder {
  const channels = scatteringChannels(colours);
  return {
    key: `scattering/1/${colours}`,
    channels,
    margin: MARGIN,
    placesAtOnce: Infinity, // the maps are made once for all
    step: COARSEST,
    bytesPerPixel: BYTES_PER_PIXEL,
    async features(pictures, places, signal) {
      checkSize(pictures);
      const count = places.reduce((sum, { length }) => sum + length, 0);
      const data = new Float32Array(count * channels);
      let row = 0;
      for (const group of pictureGroups(pictures, MOST_PX)) {
        signal?.throwIfAborted();
        const some = places.slice(group.first, group.first + group.count);
        await scatter(colourPlanes(group, colours), some, {
          data,
          channels,
          row,
        });
        row += some.reduce((sum, { length }) => sum + length, 0);
      }
      return checkFinite(signedRoots(data), "scattering");
    },
    dispose() {},
  };
}

/** K: features of a place. */
export function scatteringChannels(colours: Colours): number {
  const depth = DEPTH[colours];
  const order1 = depth * ANGLES * (2 * SCALES - 1);
  return depth + order1 + SCALES_2 * ANGLES * ANGLES_2;
}

const DEPTH: Record<Colours, number> = { stains: 2, opponent: 3 };

function checkSize({ width, height }: Pictures): void {
  if (Math.min(width, height) >= COARSEST) return;
  throw new EncoderError(
    `Cannot use ${width}x${height} px as a picture for scattering: it needs at least ${COARSEST} px a side`,
  );
}

/** Writes the features of pictures whose planes, one after the other, are given. */
async function scatter(
  planes: Maps,
  places: readonly (readonly Point[])[],
  rows: FeatureRows,
): Promise<void> {
  const depth = planes.count / places.length;
  const about = (cell: number) => ({ places, window: { cell, side: WINDOW } });
  let at = poolAbout(planes, { ...about(1), max: false }, rows, 0);
  let level = planes;
  for (let scale = 0; scale < SCALES; scale++) {
    if (scale > 0) level = halved(level);
    const cell = 2 ** scale;
    const maps = await moduli(level, ANGLES);
    at = cell < COARSEST
      ? poolAbout(maps, { ...about(cell), max: true }, rows, at)
      : poolAbout(doubled(maps), { ...about(cell / 2), max: false }, rows, at);
    if (scale >= SCALES_2) continue;
    const again = await moduli(firstPlanes(maps, depth), ANGLES_2);
    at = poolAbout(again, { ...about(2 * cell), max: false }, rows, at);
  }
}

/** Moduli of the first plane of each picture, halved, as planes. */
function firstPlanes(maps: Maps, depth: number): Maps {
  const firsts = Array.from(
    { length: maps.count / depth },
    (_, picture) => separated(halved(someMaps(maps, picture * depth, 1))),
  );
  const planes = emptyMaps({
    ...firsts[0]!,
    count: firsts.length * maps.channels,
  });
  firsts.forEach(({ data }, i) => planes.data.set(data, i * data.length));
  return planes;
}

/** Moduli of the filters at `angles` angles: as many channels a plane. */
async function moduli(planes: Maps, angles: number): Promise<Maps> {
  const { count, height, width } = planes;
  const maps = emptyMaps({ count, height, width, channels: angles });
  const most = Math.max(1, Math.floor(MOST_PX / (height * width)));
  for (let from = 0; from < count; from += most) {
    const some = someMaps(planes, from, Math.min(most, count - from));
    const filtered = modulus(reflected(some, EDGE), filters(angles));
    const data = await filtered.data() as Float32Array;
    filtered.dispose();
    maps.data.set(data, from * height * width * angles);
  }
  return maps;
}

const EDGE = { before: RADIUS, after: RADIUS };

/** The modulus of a complex convolution without padding. */
function modulus(
  { data, count, height, width }: Maps,
  bank: Float32Array,
): tf.Tensor {
  const parts = bank.length / KERNEL ** 2;
  return tf.tidy(() => {
    const filtered = conv2d(tf.tensor4d(data, [count, height, width, 1]), {
      filter: tf.tensor4d(bank, [KERNEL, KERNEL, 1, parts]),
      bias: tf.zeros([parts]),
      stride: 1,
      padding: 0,
      relu: false,
    });
    return tf.sqrt(tf.sum(tf.square(tf.reshape(filtered, [-1, 2])), 1));
  });
}

/**
 * Real and imaginary part of the filter at each angle, one after the other:
 * `[KERNEL, KERNEL, 1, 2 * angles]`. The real part has no mean.
 */
function filters(angles: number): Float32Array {
  const bank = new Float32Array(KERNEL ** 2 * 2 * angles);
  for (let angle = 0; angle < angles; angle++) {
    const taps = gabor(Math.PI * angle / angles);
    const sum = (part: "envelope" | "wave") =>
      taps.reduce((sum, tap) => sum + tap[part], 0);
    const total = sum("envelope"), mean = sum("wave") / total;
    for (const [i, { envelope, wave, quadrature }] of taps.entries()) {
      const at = (i * angles + angle) * 2;
      bank[at] = (wave - envelope * mean) / total;
      bank[at + 1] = quadrature / total;
    }
  }
  return bank;
}

/** A Gabor filter along `direction`, radians, row by row. */
function gabor(direction: number) {
  const cos = Math.cos(direction), sin = Math.sin(direction);
  return Array.from({ length: KERNEL ** 2 }, (_, i) => {
    const x = i % KERNEL - RADIUS, y = Math.floor(i / KERNEL) - RADIUS;
    const along = x * cos + y * sin, across = y * cos - x * sin;
    const envelope = Math.exp(
      -(along ** 2 + (SLENDER * across) ** 2) / (2 * DEVIATION ** 2),
    );
    return {
      envelope,
      wave: envelope * Math.cos(FREQUENCY * along),
      quadrature: envelope * Math.sin(FREQUENCY * along),
    };
  });
}

/** The channels of each picture that are filtered, as planes. */
function colourPlanes(pictures: Pictures, colours: Colours): Maps {
  const { data, count, height, width } = pictures;
  const depth = DEPTH[colours], size = height * width;
  const planes = emptyMaps({
    count: count * depth,
    height,
    width,
    channels: 1,
  });
  const values = colours === "stains" ? densities(data) : data;
  const matrix = MATRICES[colours];
  for (let plane = 0; plane < planes.count; plane++) {
    const column = plane % depth;
    const [r, g, b] = [0, 1, 2].map((row) => matrix[3 * row + column]!) as [
      number,
      number,
      number,
    ];
    let from = Math.floor(plane / depth) * size * 3;
    const to = plane * size;
    for (let at = to; at < to + size; at++, from += 3) {
      planes.data[at] = r * values[from]! + g * values[from + 1]! +
        b * values[from + 2]!;
    }
  }
  return planes;
}

/** Optical densities; one 8-bit step more than none, so that black has one. */
function densities(data: Float32Array): Float32Array {
  return data.map((value) => -Math.log((Math.max(0, value) * 255 + 1) / 256));
}

// Haematoxylin, eosin and DAB, as in most programs (skimage, ImageJ).
const RUIFROK: readonly [Vector, Vector, Vector] = [
  [0.65, 0.70, 0.29],
  [0.07, 0.99, 0.11],
  [0.27, 0.57, 0.78],
];

// Colour as a row, times it: the channels. Intensity first: it has an order 2.
const MATRICES: Record<Colours, readonly number[]> = {
  stains: inverse(RUIFROK),
  opponent: [
    [1 / Math.sqrt(3), 1 / Math.sqrt(2), 1 / Math.sqrt(6)],
    [1 / Math.sqrt(3), -1 / Math.sqrt(2), 1 / Math.sqrt(6)],
    [1 / Math.sqrt(3), 0, -2 / Math.sqrt(6)],
  ].flat(),
};

/** sign(x) sqrt(|x|): moduli have long tails, mean densities may be negative. */
function signedRoots(values: Float32Array): Float32Array {
  return values.map((value) => Math.sign(value) * Math.sqrt(Math.abs(value)));
}
