/**
 * The one random generator: counter-based, integer only, the same bits in
 * TypeScript and in WGSL (random.wgsl).
 *
 * A counter-based generator is a hash: `pcg4d(row, column, key0, key1)` is the
 * noise of one location under one key, on any engine and in any order. A draw
 * therefore does not depend on the engine, on how a map is cut into blocks, or
 * on earlier draws.
 *
 * Source: Jarzynski & Olano, "Hash Functions for GPU Rendering", JCGT 9(3),
 * 2020, https://jcgt.org/published/0009/03/02/ (pcg4d).
 *
 * @module
 */

/** Two 32-bit words that select one stream of random numbers. */
export type Key = readonly [number, number];

const TWO_32 = 2 ** 32;

/** Hashes four 32-bit words into four: each output depends on all inputs. */
export function pcg4d(
  x: number,
  y: number,
  z: number,
  w: number,
): [number, number, number, number] {
  mix(x, y, z, w);
  [x, y, z, w] = [mixed[0]!, mixed[1]!, mixed[2]!, mixed[3]!];
  x = (x + Math.imul(y, w)) | 0;
  y = (y + Math.imul(z, x)) | 0;
  z = (z + Math.imul(x, y)) | 0;
  w = (w + Math.imul(y, z)) | 0;
  return [x >>> 0, y >>> 0, z >>> 0, w >>> 0];
}

/**
 * The first word of `pcg4d` alone: a map has millions of locations, and one
 * array for each would fill the heap.
 */
export function pcg4dFirst(
  x: number,
  y: number,
  z: number,
  w: number,
): number {
  mix(x, y, z, w);
  return (mixed[0]! + Math.imul(mixed[1]!, mixed[3]!)) >>> 0;
}

// Output of `mix`: shared by all calls, because none of them awaits.
const mixed = new Int32Array(4);

/** The generator with which pcg4d begins, word by word: x FACTOR + SUMMAND. */
export const FACTOR = 1664525, SUMMAND = 1013904223;

/** All of pcg4d but its last round. */
function mix(x: number, y: number, z: number, w: number): void {
  x = (Math.imul(x, FACTOR) + SUMMAND) | 0;
  y = (Math.imul(y, FACTOR) + SUMMAND) | 0;
  z = (Math.imul(z, FACTOR) + SUMMAND) | 0;
  w = (Math.imul(w, FACTOR) + SUMMAND) | 0;
  x = (x + Math.imul(y, w)) | 0;
  y = (y + Math.imul(z, x)) | 0;
  z = (z + Math.imul(x, y)) | 0;
  w = (w + Math.imul(y, z)) | 0;
  mixed[0] = x ^ (x >>> 16);
  mixed[1] = y ^ (y >>> 16);
  mixed[2] = z ^ (z >>> 16);
  mixed[3] = w ^ (w >>> 16);
}

/**
 * Chains integers (seed, epoch, image, stage, tile, ...) into a key. The order
 * of the words matters, and so does each of their 53 bits.
 *
 * @example One stream for each epoch under a seed
 * ```ts
 * const [seed, epoch] = [7, 3];
 * const random = new RandomStream(randomKey(seed, epoch));
 * random.shuffle(["a", "b", "c"]);
 * ```
 *
 * @throws {RangeError} If a word is not a safe integer.
 */
export function randomKey(seed: number, ...words: number[]): Key {
  let key: Key = [0, 0];
  for (const word of [seed, ...words]) {
    if (!Number.isSafeInteger(word)) {
      throw new RangeError(
        `Cannot make a random key because its words must be safe integers: current value is ${word}`,
      );
    }
    const high = Math.floor(word / TWO_32);
    const [first, second] = pcg4d(word, high, key[0], key[1]);
    key = [first, second];
  }
  return key;
}

/** Maps 32 random bits to the open interval (0, 1). */
export function uniform01(bits: number): number {
  return (bits + 0.5) / TWO_32;
}

/**
 * Maps 32 random bits to an exponential variable of rate 1: E = -log(1 - v),
 * v = uniform01(bits). `log1p` keeps the full relative precision of a small E,
 * which decides the winner of a Gumbel race.
 */
export function exponential(bits: number): number {
  return -Math.log1p(-uniform01(bits));
}

/**
 * A stream of numbers for host-side use: shuffles, initialisation,
 * augmentation. Its whole state is `counter`: save it and pass it on to resume.
 */
export class RandomStream {
  constructor(readonly key: Key, public counter = 0) {}

  /** 32 random bits as an unsigned integer. */
  next(): number {
    const count = this.counter++;
    return pcg4d(count, Math.floor(count / TWO_32), ...this.key)[0];
  }

  /** Uniform in (0, 1). */
  uniform(): number {
    return uniform01(this.next());
  }

  /** Standard normal, by Box and Muller's transform (1958). */
  normal(): number {
    const radius = Math.sqrt(2 * exponential(this.next()));
    return radius * Math.cos(2 * Math.PI * this.uniform());
  }

  /** Uniform integer in [0, n), without bias; n up to 2^32. */
  below(n: number): number {
    if (!Number.isInteger(n) || n < 1 || n > TWO_32) {
      throw new RangeError(
        `Cannot draw an integer below n because n must be an integer in [1, 2^32]: current value is ${n}`,
      );
    }
    const limit = TWO_32 - (TWO_32 % n); // the last, incomplete run is refused
    let bits = this.next();
    while (bits >= limit) bits = this.next();
    return bits % n;
  }

  /** Shuffles `items` in place (Fisher and Yates) and returns them. */
  shuffle<T>(items: T[]): T[] {
    for (let i = items.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      [items[i], items[j]] = [items[j]!, items[i]!];
    }
    return items;
  }
}
