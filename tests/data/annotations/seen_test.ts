import assert from "node:assert/strict";
import {
  boxObject,
  pointObject,
  polygonObject,
} from "../../../lib/data/annotations/object.ts";
import { objectsSeen } from "../../../lib/data/annotations/seen.ts";
import { holdsPoint } from "../../../lib/image/geometry.ts";
import { crop } from "../../../lib/image/pyramids/crop.ts";
import { orient } from "../../../lib/image/pyramids/oriented.ts";
import { ORIENTATIONS } from "../../../lib/image/pyramids/orientation.ts";
import { SyntheticPyramid } from "../../image/synthetic_pyramid.ts";

const STORED = { width: 40, height: 30 };

Deno.test("objects follow an image that is resampled", () => {
  const ring = [[4, 2], [8, 2], [8, 6], [4, 2]].map(([x, y]) => ({
    x: x!,
    y: y!,
  }));
  const seen = objectsSeen([
    boxObject({ x: 10, y: 6, width: 4, height: 2 }, "cell"),
    pointObject({ x: 39, y: 29 }, undefined),
    polygonObject([[ring]], "cell"),
  ], { stored: STORED, size: { width: 20, height: 15 } });
  assert.deepEqual(seen[0], { x: 5, y: 3, width: 2, height: 1, type: "cell" });
  assert.deepEqual(seen[1], { x: 19.5, y: 14.5, width: 0, height: 0 });
  assert.deepEqual(seen[2], {
    ...{ x: 2, y: 1, width: 2, height: 2, type: "cell" },
    polygons: [[[[2, 1], [4, 1], [4, 3], [2, 1]].map(([x, y]) => ({ x, y }))]],
  });
});

Deno.test("objects outside of the part are left out, those over its edge stay", () => {
  const part = { x: 10, y: 10, width: 20, height: 15 };
  const at = (x: number, y: number) =>
    boxObject({ x, y, width: 4, height: 4 }, undefined);
  const seen = objectsSeen(
    [at(4, 12), at(8, 12), at(29, 24), at(30, 12), at(12, 25)],
    { stored: STORED, size: STORED, part },
  );
  assert.deepEqual(seen.map(({ x, y }) => [x, y]), [[-2, 2], [19, 14]]);
});

Deno.test("objects lie on the same pixels of an image mirrored or turned", async () => {
  const box = { x: 12, y: 17, width: 5, height: 3 };
  const whole = new SyntheticPyramid(
    STORED,
    [1],
    (x, y) => [holdsPoint(box, { x, y }) ? 255 : 0, 0, 0],
  );
  const part = { x: 8, y: 4, width: 30, height: 24 };
  for (const orientation of ORIENTATIONS) {
    const image = orient(crop(whole, part), orientation);
    const [seen] = objectsSeen([boxObject(box, undefined)], {
      stored: STORED,
      size: STORED,
      part,
      orientation,
    });
    const { x, y, width, height } = seen!;
    const read = await image.read({ x, y, width, height }, 0);
    const reds = read.data.filter((_, i) => i % 4 === 0);
    assert.equal(reds.filter((red) => red > 0).length, 15, `${orientation}`);
  }
});
