import assert from "node:assert/strict";
import {
  localContrast,
  support,
} from "../../../../lib/model/look/support/contrast.ts";
import { normals } from "../../../finite_differences.ts";

Deno.test("localContrast is that of a plain loop, at the borders as well", () => {
  const width = 21, height = 17;
  const view = normals(width * height * 3, 5);
  const contrast = localContrast(view, { width, height });
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      let expected = 0;
      for (let c = 0; c < 3; c++) {
        let sum = 0, count = 0;
        for (
          let v = Math.max(0, y - 2);
          v <= Math.min(height - 1, y + 2);
          v++
        ) {
          for (
            let u = Math.max(0, x - 2);
            u <= Math.min(width - 1, x + 2);
            u++
          ) {
            sum += view[(v * width + u) * 3 + c]!;
            count++;
          }
        }
        expected += (view[(y * width + x) * 3 + c]! - sum / count) ** 2;
      }
      assert.ok(Math.abs(contrast[y * width + x]! - expected) < 1e-4);
    }
  }
});

Deno.test("localContrast of a flat view is zero, and highest at its one dot", () => {
  const size = { width: 40, height: 30 };
  const view = new Float32Array(40 * 30 * 3).fill(0.25);
  assert.ok(localContrast(view, size).every((value) => value < 1e-10));
  view[(12 * 40 + 33) * 3 + 1] = 1;
  const contrast = localContrast(view, size);
  assert.equal(contrast.indexOf(Math.max(...contrast)), 12 * 40 + 33);
});

Deno.test("a dot has more contrast than a coarse texture twice as strong", () => {
  const size = { width: 64, height: 64 };
  const view = Float32Array.from({ length: 64 * 64 * 3 }, (_, i) => {
    const x = Math.floor(i / 3) % 64;
    return Math.sin(2 * Math.PI * x / 20);
  });
  const dot = 31 * 64 + 40; // where the texture is 0
  for (let c = 0; c < 3; c++) view[dot * 3 + c]! += 0.5;
  const contrast = localContrast(view, size);
  assert.equal(support(contrast, 1)[dot], 1);
});

Deno.test("support marks the places of highest contrast, of equal ones the first", () => {
  assert.deepEqual([...support([0, 5, 2, 5, 2, 1], 3)], [0, 1, 1, 1, 0, 0]);
  assert.deepEqual([...support([1, 1, 1], 2)], [1, 1, 0]);
  assert.deepEqual([...support([1, 2], 9)], [1, 1]);
});
