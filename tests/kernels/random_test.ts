import assert from "node:assert/strict";
import {
  exponential,
  pcg4d,
  pcg4dFirst,
  randomKey,
  RandomStream,
  uniform01,
} from "../../kernels/random.ts";
import { chiSquare, chiSquareBound } from "./statistics.ts";

/** pcg4d of the paper's listing, in exact integers. */
function pcg4dExact(...words: number[]): number[] {
  const mask = (value: bigint) => value & 0xffffffffn;
  let [x, y, z, w] = words.map((word) =>
    mask(BigInt(word) * 1664525n + 1013904223n)
  ) as [bigint, bigint, bigint, bigint];
  const mix = () => {
    x = mask(x + y * w);
    y = mask(y + z * x);
    z = mask(z + x * y);
    w = mask(w + y * z);
  };
  mix();
  [x, y, z, w] = [
    x ^ (x >> 16n),
    y ^ (y >> 16n),
    z ^ (z >> 16n),
    w ^ (w >> 16n),
  ];
  mix();
  return [x, y, z, w].map(Number);
}

Deno.test("pcg4d equals its definition in exact integers", () => {
  const vectors: [number, number, number, number][] = [
    [0, 0, 0, 0],
    [1, 2, 3, 4],
    [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
    [0x80000000, 0x7fffffff, 12345, 0xdeadbeef],
  ];
  for (const vector of vectors) {
    assert.deepEqual(pcg4d(...vector), pcg4dExact(...vector));
    assert.equal(pcg4dFirst(...vector), pcg4d(...vector)[0]);
  }
  // pcg4dExact(1, 2, 3, 4): pins the generator, and with it every draw.
  assert.deepEqual(pcg4dExact(1, 2, 3, 4), [
    908250390,
    4044648920,
    3775961919,
    45698095,
  ]);
});

Deno.test("a key depends on every word, its order and its high bits", () => {
  const keys = [
    randomKey(1),
    randomKey(2),
    randomKey(1, 0),
    randomKey(1, 0, 0),
    randomKey(1, 2, 3),
    randomKey(1, 3, 2),
    randomKey(-1),
    randomKey(1 + 2 ** 32),
  ].map(String);
  assert.equal(new Set(keys).size, keys.length);
  assert.deepEqual(randomKey(7, 8), randomKey(7, 8));
  assert.throws(() => randomKey(0.5), RangeError);
  assert.throws(() => randomKey(1, NaN), RangeError);
});

Deno.test("uniform01 and exponential stay inside their open intervals", () => {
  assert.equal(uniform01(0), 0.5 / 2 ** 32);
  assert.ok(uniform01(0xffffffff) < 1);
  // E = v + v^2/2 + ... for the smallest v, -log(2^-33) for the largest
  assert.equal(exponential(0), 2 ** -33 * (1 + 2 ** -34));
  assert.ok(Math.abs(exponential(0xffffffff) - 33 * Math.LN2) < 1e-14);
});

Deno.test("a stream resumes from its counter", () => {
  const stream = new RandomStream(randomKey(3));
  stream.normal();
  stream.shuffle([1, 2, 3, 4]);
  const resumed = new RandomStream(randomKey(3), stream.counter);
  assert.deepEqual(
    Array.from({ length: 5 }, () => resumed.next()),
    Array.from({ length: 5 }, () => stream.next()),
  );
});

Deno.test("a stream is uniform, normal, and fair below n", () => {
  const stream = new RandomStream(randomKey(11));
  const count = 20_000;
  const cells = new Array<number>(7).fill(0);
  let sum = 0, squares = 0;
  for (let i = 0; i < count; i++) {
    cells[stream.below(7)]!++;
    const value = stream.normal();
    sum += value;
    squares += value ** 2;
  }
  assert.ok(chiSquare(cells, cells.map(() => 1 / 7)) < chiSquareBound(7));
  assert.ok(Math.abs(sum / count) < 4 / Math.sqrt(count)); // variance 1
  assert.ok(Math.abs(squares / count - 1) < 4 * Math.sqrt(2 / count)); // variance 2
  assert.throws(() => stream.below(0), RangeError);
});

Deno.test("below n is fair where n does not divide 2^32", () => {
  // Three runs of 2^30: without refusals the first would come twice as often.
  const stream = new RandomStream(randomKey(13)), n = 3 * 2 ** 30;
  const cells = [0, 0, 0];
  for (let i = 0; i < 3000; i++) {
    cells[Math.floor(stream.below(n) / 2 ** 30)]!++;
  }
  assert.ok(chiSquare(cells, cells.map(() => 1 / 3)) < chiSquareBound(3));
});

Deno.test("below n refuses only the last, incomplete run of 32 bits", () => {
  const drawn = (n: number, ...bits: number[]) => {
    class Scripted extends RandomStream {
      override next(): number {
        return bits.shift()!;
      }
    }
    return new Scripted([0, 0]).below(n);
  };
  assert.equal(drawn(3, 2 ** 32 - 1, 7), 1); // 2^32 = 3 * 1431655765 + 1
  assert.equal(drawn(3, 2 ** 32 - 2, 7), 2);
  assert.equal(drawn(2 ** 32, 2 ** 32 - 1), 2 ** 32 - 1);
});

Deno.test("a shuffle gives each order alike", () => {
  const stream = new RandomStream(randomKey(12));
  const orders = new Map<string, number>();
  for (let i = 0; i < 6000; i++) {
    const order = stream.shuffle(["a", "b", "c"]).join("");
    orders.set(order, (orders.get(order) ?? 0) + 1);
  }
  assert.equal(orders.size, 6);
  const counts = [...orders.values()];
  assert.ok(chiSquare(counts, counts.map(() => 1 / 6)) < chiSquareBound(6));
});
