/** Squares of a close-up. */
import assert from "node:assert/strict";
import {
  around,
  candidates,
  firstSquare,
  placedIn,
  placementIn,
  regionOf,
  squareAbout,
} from "../../../lib/model/close_up/squares.ts";

Deno.test("a placement places the object that it was taken from", () => {
  const object = { middle: { x: 103.5, y: 47.25 }, side: 21 };
  const square = { middle: { x: 90, y: 60 }, side: 96 };
  const found = placedIn(square, placementIn(square, object), 64);
  assert.ok(Math.abs(found.middle.x - 103.5) < 1e-9);
  assert.ok(Math.abs(found.middle.y - 47.25) < 1e-9);
  assert.ok(Math.abs(found.side - 21) < 1e-9);
});

Deno.test("no placement makes an object of nothing, or of half an image", () => {
  const square = { middle: { x: 0, y: 0 }, side: 96 };
  assert.equal(placedIn(square, [0, 0, -30], 64).side, 0.2 * 64);
  assert.equal(placedIn(square, [0, 0, 30], 64).side, 2.2 * 64);
});

Deno.test("a close-up comes nearer", () => {
  const object = squareAbout({ x: 10, y: 20, width: 30, height: 40 });
  assert.deepEqual(object, { middle: { x: 25, y: 40 }, side: 40 });
  assert.equal(firstSquare(object.middle, 64).side, 96);
  assert.ok(around(object).side > object.side);
});

Deno.test("candidates are the first four that are not about one object", () => {
  const place = (x: number, y: number) => ({ x, y });
  const found = candidates([
    place(0, 0),
    place(31, 0), // less than half of 64 px away
    place(40, 0),
    place(20, 25), // from the first 32, from the second 32
    place(500, 0),
    place(0, 500),
    place(500, 500),
  ], 64);
  assert.deepEqual(found, [
    place(0, 0),
    place(40, 0),
    place(20, 25),
    place(500, 0),
  ]);
});

Deno.test("a region has the side of its square, and at least a px", () => {
  const square = { middle: { x: 10.5, y: -3 }, side: 7.4 };
  assert.deepEqual(regionOf(square), { x: 7, y: -6, width: 7, height: 7 });
  assert.equal(regionOf({ ...square, side: 0.2 }).width, 1);
});
