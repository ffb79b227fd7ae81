/**
 * Damages bytes and texts as storage, networks and strangers do.
 *
 * @module
 */
import type { RandomStream } from "../../kernels/random.ts";

type Bytes = Uint8Array<ArrayBuffer>;
type Mutation = (bytes: Bytes, random: RandomStream) => Bytes;

// Numbers at which sizes, offsets and counts break.
const NUMBERS = [0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x10000];
const LARGE_NUMBERS = [...NUMBERS, 0x7fffffff, 0x80000000, 0xffffffff];

// Texts that parsers trip over.
const WORDS = [
  ...["", "null", "true", "-1", "0", "1e999", "NaN", "9007199254740993"],
  ...["[]", "{}", '"', "'", ",", "\n", "\r\n", "\0", "\ufeff", "\ud83d\ude00"],
  ...["../../etc/passwd", "__proto__", "constructor", "toString", "%00"],
  ...["0x10", "1,5", "1_000", " ", "\t", ";", "-0", ".5", "Infinity"],
];

const encoder = new TextEncoder(), decoder = new TextDecoder();

const MUTATIONS: readonly Mutation[] = [
  function flipBit(bytes, random) {
    const at = random.below(bytes.length);
    bytes[at]! ^= 1 << random.below(8);
    return bytes;
  },
  function setByte(bytes, random) {
    bytes[random.below(bytes.length)] = random.below(256);
    return bytes;
  },
  function setNumber(bytes, random) {
    const width = [1, 2, 4][random.below(3)]!;
    if (bytes.length < width) return bytes;
    const numbers = width === 4 ? LARGE_NUMBERS : NUMBERS;
    const value = numbers[random.below(numbers.length)]!;
    const isLittle = random.below(2) === 0;
    const at = random.below(bytes.length - width + 1);
    for (let i = 0; i < width; i++) {
      const shift = 8 * (isLittle ? i : width - 1 - i);
      bytes[at + i] = value / 2 ** shift & 255;
    }
    return bytes;
  },
  function cutEnd(bytes, random) {
    return bytes.slice(0, random.below(bytes.length));
  },
  function cutOut(bytes, random) {
    const [from, to] = span(bytes, random);
    return joined(bytes.subarray(0, from), bytes.subarray(to));
  },
  function repeat(bytes, random) {
    const [from, to] = span(bytes, random);
    return joined(bytes.subarray(0, to), bytes.subarray(from));
  },
  function move(bytes, random) {
    const [from, to] = span(bytes, random);
    bytes.copyWithin(random.below(bytes.length), from, to);
    return bytes;
  },
  function fill(bytes, random) {
    return bytes.fill([0, 255][random.below(2)]!, ...span(bytes, random));
  },
  function insertWord(bytes, random) {
    const at = random.below(bytes.length);
    const word = encoder.encode(WORDS[random.below(WORDS.length)]);
    return joined(bytes.subarray(0, at), word, bytes.subarray(at));
  },
];

/** A damaged copy of one of the seeds: up to eight faults, mostly few. */
export function damaged(
  seeds: readonly Uint8Array[],
  random: RandomStream,
): Bytes {
  let bytes = new Uint8Array(seeds[random.below(seeds.length)]!);
  const faults = 1 + random.below(1 + random.below(8));
  for (let i = 0; i < faults && bytes.length > 0; i++) {
    bytes = MUTATIONS[random.below(MUTATIONS.length)]!(bytes, random);
  }
  return bytes;
}

/** A damaged text: words of it are others, or it is damaged as bytes are. */
export function damagedText(
  seeds: readonly string[],
  random: RandomStream,
): Bytes {
  const text = seeds[random.below(seeds.length)]!;
  if (random.below(3) === 0) return damaged([encoder.encode(text)], random);
  const parts = text.split(/([\w.+-]+)/); // every other one is a word
  for (let i = 0; i <= random.below(4); i++) {
    const at = random.below(parts.length);
    parts[at] = WORDS[random.below(WORDS.length)]!;
  }
  return encoder.encode(parts.join(""));
}

export function textOf(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}

/** A part of at most a quarter of the bytes, mostly short. */
function span(bytes: Bytes, random: RandomStream): [number, number] {
  const from = random.below(bytes.length);
  const most = 1 + random.below(1 + (bytes.length >> 2));
  return [from, Math.min(bytes.length, from + 1 + random.below(most))];
}

function joined(...parts: Uint8Array[]): Bytes {
  const size = parts.reduce((sum, part) => sum + part.length, 0);
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
