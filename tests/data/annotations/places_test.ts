import assert from "node:assert/strict";
import {
  type AnnotatedObject,
  boxObject,
  pointObject,
  polygonObject,
} from "../../../lib/data/annotations/object.ts";
import { placesOn } from "../../../lib/data/annotations/places.ts";
import type { Point } from "../../../lib/image/geometry.ts";
import { randomKey, RandomStream } from "../../../kernels/random.ts";

/** The middles of `columns` x `rows` cells of `stride` px. */
function grid(columns: number, rows: number, stride: number): Point[] {
  return Array.from({ length: columns * rows }, (_, i) => ({
    x: (i % columns + 0.5) * stride,
    y: (Math.floor(i / columns) + 0.5) * stride,
  }));
}

/** A closed ring through [x, y] corners. */
function ring(...corners: [number, number][]): Point[] {
  return [...corners, corners[0]!].map(([x, y]) => ({ x, y }));
}

const polygon = (...rings: Point[][]) => polygonObject([rings], undefined);

/** The marked cells of a grid of 10 x 10 px, 5 columns wide, as pictures. */
function picture(objects: AnnotatedObject[], within = 0): string[] {
  const on = placesOn(objects, grid(5, 4, 10), { within });
  return [0, 1, 2, 3].map((row) =>
    [...on.subarray(5 * row, 5 * row + 5)].map((is) => ".#"[is]).join("")
  );
}

Deno.test("a point marks the places around it, or the nearest one", () => {
  const at = pointObject({ x: 24, y: 16 }, undefined);
  const one = [".....", "..#..", ".....", "....."];
  assert.deepEqual(picture([at]), one);
  assert.deepEqual(picture([at], 1.4), one); // sqrt(2) px away
  assert.deepEqual(picture([at], 9.1), [".....", ".##..", "..#..", "....."]);
  assert.deepEqual(picture([at], 11.1), ["..#..", ".###.", "..#..", "....."]);
  const outside = pointObject({ x: 60, y: 90 }, undefined);
  assert.deepEqual(picture([outside]), [".....", ".....", ".....", "....#"]);
});

Deno.test("a box marks the places in it, its left and top edge included", () => {
  const box = boxObject({ x: 15, y: 5, width: 20, height: 11 }, undefined);
  assert.deepEqual(picture([box]), [".##..", ".##..", ".....", "....."]);
});

Deno.test("an object between the places marks the nearest", () => {
  const small = boxObject({ x: 16, y: 26, width: 2, height: 3 }, undefined);
  assert.deepEqual(picture([small]), [".....", ".....", ".#...", "....."]);
  // Several places are as near: the one nearest to its middle.
  const long = boxObject({ x: 1, y: 8, width: 48, height: 1 }, undefined);
  assert.deepEqual(picture([long]), ["..#..", ".....", ".....", "....."]);
  // Its middle is near to others, its outline is not.
  const bent = polygon(
    ring([6, 1], [9, 1], [9, 38], [49, 38], [49, 39], [6, 39]),
  );
  assert.deepEqual(picture([bent]), [".....", "#....", ".....", "....."]);
  // An edge ends at its corners: (25, 15) is far from this one.
  const apart = polygonObject([
    [ring([12, 15], [13, 15], [12, 15])],
    [ring([33, 31], [34, 31], [34, 31])],
  ], undefined);
  assert.deepEqual(picture([apart]), [".....", ".#...", ".....", "....."]);
  const corner = polygon(ring([46, 36], [49, 36], [49, 39]));
  assert.deepEqual(picture([corner]), [".....", ".....", ".....", "....#"]);
});

Deno.test("a polygon marks what is in it and in none of its holes", () => {
  const square = ring([0, 0], [50, 0], [50, 40], [0, 40]);
  const hole = ring([11, 11], [39, 11], [39, 29], [11, 29]);
  assert.deepEqual(picture([polygon(square, hole)]), [
    "#####",
    "#...#",
    "#...#",
    "#####",
  ]);
  const triangle = ring([0, 0], [50, 0], [0, 40]);
  assert.deepEqual(picture([polygon(triangle)]), [
    "####.",
    "###..",
    "##...",
    "#....",
  ]);
});

Deno.test("of the edges of a polygon the left and the top are in it", () => {
  const square = ring([5, 5], [25, 5], [25, 25], [5, 25]);
  assert.deepEqual(picture([polygon(square)]), [
    "##...",
    "##...",
    ".....",
    ".....",
  ]);
});

Deno.test("a ring that crosses itself follows the even-odd rule", () => {
  // A bow tie: left and right triangle.
  const bow = ring([0, 0], [50, 40], [50, 0], [0, 40]);
  assert.deepEqual(picture([polygon(bow)]), [
    "#...#",
    "##.##",
    "##.##",
    "#...#",
  ]);
  // The same ring twice covers nothing: the nearest place is marked.
  const square = ring([10, 10], [30, 10], [30, 30], [10, 30]);
  const marked = picture([polygon(square, square)]).join("");
  assert.equal(marked.match(/#/g)!.length, 1);
});

Deno.test("degenerate shapes mark the nearest place", () => {
  const flat = polygon(ring([21, 3], [24, 3], [22, 3]));
  assert.deepEqual(picture([flat]), ["..#..", ".....", ".....", "....."]);
  const dot = polygon(ring([44, 31], [44, 31], [44, 31]));
  assert.deepEqual(picture([dot]), [".....", ".....", ".....", "....#"]);
  const line = boxObject({ x: 33, y: 2, width: 0, height: 30 }, undefined);
  assert.deepEqual(picture([line]), [".....", "...#.", ".....", "....."]);
});

Deno.test("parts of one object are marked together", () => {
  const parts = polygonObject([
    [ring([0, 0], [10, 0], [10, 10], [0, 10])],
    [ring([40, 30], [50, 30], [50, 40], [40, 40])],
  ], undefined);
  assert.deepEqual(picture([parts]), ["#....", ".....", ".....", "....#"]);
});

Deno.test("without places or objects nothing is marked", () => {
  const box = boxObject({ x: 0, y: 0, width: 9, height: 9 }, undefined);
  assert.deepEqual([...placesOn([box], [], { within: 1 })], []);
  assert.deepEqual([...placesOn([], grid(2, 1, 5), { within: 1 })], [0, 0]);
  assert.throws(() => placesOn([box], [], { within: NaN }), RangeError);
});

/** The even-odd rule for one place, edge by edge. */
function isIn({ polygons }: AnnotatedObject, { x, y }: Point): boolean {
  return polygons!.some((rings) =>
    rings.flatMap((ring) =>
          ring.slice(1).map((to, i) => [ring[i]!, to] as const)
        ).filter(([from, to]) =>
          from.y > y !== to.y > y &&
          x < from.x + (y - from.y) / (to.y - from.y) * (to.x - from.x)
        ).length % 2 === 1
  );
}

Deno.test("places at random are marked as a plain loop marks them", () => {
  const random = new RandomStream(randomKey(1));
  const place = () => ({ x: 100 * random.uniform(), y: 80 * random.uniform() });
  const places = Array.from({ length: 400 }, place);
  for (let round = 0; round < 50; round++) {
    const corners = Array.from({ length: 3 + round % 9 }, place);
    const object = polygon([...corners, corners[0]!]);
    const expected = places.map((at) => isIn(object, at) ? 1 : 0);
    if (!expected.includes(1)) continue;
    assert.deepEqual([...placesOn([object], places, { within: 0 })], expected);
  }
});

Deno.test("thousands of polygons on thousands of places take no minute", () => {
  const random = new RandomStream(randomKey(2));
  const objects = Array.from({ length: 5000 }, () => {
    const x = 10_000 * random.uniform(), y = 10_000 * random.uniform();
    const corners = Array.from({ length: 40 }, (_, i) => ({
      x: x + 30 * Math.cos(2 * Math.PI * i / 40),
      y: y + 30 * Math.sin(2 * Math.PI * i / 40),
    }));
    return polygon([...corners, corners[0]!]);
  });
  const started = performance.now();
  const on = placesOn(objects, grid(150, 150, 67), { within: 0 });
  assert.ok(performance.now() - started < 5000); // 0.1 s without load
  assert.ok(on.reduce((sum, is) => sum + is) > 2000);
});
