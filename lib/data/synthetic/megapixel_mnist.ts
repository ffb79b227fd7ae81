/**
 * Megapixel MNIST: a large black image with five digits, three of them alike,
 * and fifty scribbles of the size of a digit. The label is the digit that
 * appears three times.
 *
 * Layout and counts: Katharopoulos & Fleuret, ICML 2019, section 4.2, and the
 * generator published with it. One difference: a scribble that meets a digit
 * is drawn over it and does not blacken it.
 *
 * @module
 */
import { randomKey, RandomStream } from "../../../kernels/random.ts";
import { ConfigError, DataError } from "../../errors.ts";
import type { Point, Size } from "../../image/geometry.ts";
import type { Split } from "../manifest.ts";
import { type Digits, readMnist } from "./mnist.ts";
import type { AnnotatedObject } from "../rois.ts";
import type { Drawing, SyntheticDataset } from "./writer.ts";

/** Size of a set and of its images (px). */
export interface MegapixelMnistOptions extends Size {
  train: number;
  test: number;
  seed: number;
}

/** The published set. */
export const MEGAPIXEL_MNIST_DEFAULTS: MegapixelMnistOptions = {
  train: 5000,
  test: 1000,
  width: 1500,
  height: 1500,
  seed: 0,
};

// Version: raised when the pixels of a seed change.
const VERSION = 1;

const ALIKE = 3;
const OTHERS = 2;
const SCRIBBLES = 50;

// Points per px along a line of a scribble: no gaps.
const POINTS_PER_PX = 2;

// Minimum side of an image, in digits, so that five digits always fit.
const ROOM = 8;

/** The digits of one split, with the indices of each label. */
interface DigitSource {
  digits: Digits;
  byLabel: number[][];
}

/**
 * The data set of `options`, from the IDX files in the folder `mnist`.
 * Training images are made of training digits, test images of test digits.
 *
 * @throws {DataError} If a file of MNIST is missing or malformed.
 */
export async function megapixelMnistDataset(
  mnist: string,
  options: MegapixelMnistOptions,
): Promise<SyntheticDataset> {
  const sources: Partial<Record<Split, DigitSource>> = {
    train: await readDigits(mnist, "train", options),
    test: await readDigits(mnist, "t10k", options),
  };
  const { seed, ...rest } = options;
  return {
    recipe: {
      generator: "megapixel-mnist",
      version: VERSION,
      options: rest,
      seed,
    },
    counts: { train: options.train, test: options.test },
    draw: (split, index) => {
      const random = new RandomStream(
        randomKey(seed, split === "train" ? 0 : 1, index),
      );
      return drawImage(sources[split]!, options, random);
    },
  };
}

function drawImage(
  { digits, byLabel }: DigitSource,
  { width, height }: Size,
  random: RandomStream,
): Drawing {
  const label = random.below(10);
  const chosen = [
    ...Array.from({ length: ALIKE }, () => label),
    ...Array.from({ length: OTHERS }, () => otherLabel(label, random)),
  ].map((digit) => byLabel[digit]![random.below(byLabel[digit]!.length)]!);

  const canvas = { data: new Uint8Array(width * height), width, height };
  const places = placeDigits(chosen.length, canvas, { digits, random });
  for (const [i, place] of places.entries()) {
    stamp(canvas, place, digitAt(digits, chosen[i]!));
  }
  for (let i = 0; i < SCRIBBLES; i++) {
    stamp(
      canvas,
      randomPlace(canvas, digits, random),
      drawScribble(digits, random),
    );
  }
  return {
    ...canvas,
    channels: 1,
    label: String(label),
    objects: places.map((place): AnnotatedObject => ({
      ...place,
      width: digits.width,
      height: digits.height,
      type: "digit",
    })),
  };
}

async function readDigits(
  folder: string,
  part: "train" | "t10k",
  canvas: Size,
): Promise<DigitSource> {
  const digits = await readMnist(folder, part);
  const least = ROOM * Math.max(digits.width, digits.height);
  if (Math.min(canvas.width, canvas.height) < least) {
    throw new ConfigError(
      `Cannot place ${
        ALIKE + OTHERS
      } digits of ${digits.width} x ${digits.height} px side by side: ` +
        `width and height must be >= ${least} px, they are ${canvas.width} and ${canvas.height}`,
    );
  }
  const byLabel: number[][] = Array.from({ length: 10 }, () => []);
  for (const [i, label] of digits.labels.entries()) byLabel[label]!.push(i);
  const absent = byLabel.findIndex((indices) => indices.length === 0);
  if (absent >= 0) {
    throw new DataError(
      `Cannot draw megapixel MNIST from "${folder}": its ${part} files have no digit ${absent}`,
    );
  }
  return { digits, byLabel };
}

function otherLabel(label: number, random: RandomStream): number {
  return (label + 1 + random.below(9)) % 10;
}

/** Places digits so that none overlaps another. */
function placeDigits(
  number: number,
  canvas: Size,
  { digits, random }: { digits: Size; random: RandomStream },
): Point[] {
  const places: Point[] = [];
  while (places.length < number) {
    const { x, y } = randomPlace(canvas, digits, random);
    const overlaps = places.some((place) =>
      Math.abs(place.x - x) < digits.width &&
      Math.abs(place.y - y) < digits.height
    );
    if (!overlaps) places.push({ x, y });
  }
  return places;
}

function randomPlace(canvas: Size, digits: Size, random: RandomStream): Point {
  return {
    x: random.below(canvas.width - digits.width + 1),
    y: random.below(canvas.height - digits.height + 1),
  };
}

/** A picture of the size of a digit. */
interface Stamp extends Size {
  pixels: Uint8Array;
}

function digitAt({ pixels, width, height }: Digits, index: number): Stamp {
  const start = index * width * height;
  return {
    pixels: pixels.subarray(start, start + width * height),
    width,
    height,
  };
}

/** Two straight lines from a corner, mirrored by chance, of uneven grey. */
function drawScribble({ width, height }: Size, random: RandomStream): Stamp {
  const pixels = new Uint8Array(width * height);
  for (let line = 0; line < 2; line++) {
    const angle = random.uniform() * Math.PI / 2;
    // As long as the square permits in this direction.
    const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
    const length = Math.min((width - 1) / cos, (height - 1) / sin);
    const [mirrorX, mirrorY] = [random.below(3) === 0, random.below(3) === 0];
    for (let step = 0; step <= length * POINTS_PER_PX; step++) {
      const x = Math.round(step / POINTS_PER_PX * cos);
      const y = Math.round(step / POINTS_PER_PX * sin);
      const at = (mirrorY ? height - 1 - y : y) * width +
        (mirrorX ? width - 1 - x : x);
      pixels[at] = Math.round(255 * (0.8 + 0.2 * random.uniform()));
    }
  }
  return { pixels, width, height };
}

/** Draws a stamp; overlapping pixels keep the lighter value. */
function stamp(
  canvas: Size & { data: Uint8Array },
  { x, y }: Point,
  { pixels, width, height }: Stamp,
): void {
  for (let row = 0, i = 0; row < height; row++) {
    let o = (y + row) * canvas.width + x;
    for (let column = 0; column < width; column++, i++, o++) {
      canvas.data[o] = Math.max(canvas.data[o]!, pixels[i]!);
    }
  }
}
