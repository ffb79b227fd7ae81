import assert from "node:assert/strict";
import {
  composed,
  densitiesOf,
  type PerStain,
  restaining,
  type Vector,
} from "../../../lib/image/stains/stains.ts";

// Optical densities of the pure stains (Ruifrok & Johnston 2001).
const HAEMATOXYLIN = [0.65, 0.704, 0.286];
const EOSIN = [0.072, 0.99, 0.105];

function times(row: number[], matrix: readonly number[]): number[] {
  return [0, 1, 2].map((to) =>
    row.reduce((sum, value, from) => sum + value * matrix[3 * from + to]!, 0)
  );
}

function close(actual: number[], expected: number[]): void {
  actual.forEach((value, i) =>
    assert.ok(Math.abs(value - expected[i]!) < 1e-9, `${actual}, ${expected}`)
  );
}

Deno.test("stains of the same strength leave every colour", () => {
  const same = restaining({ haematoxylin: 1, eosin: 1 });
  close([...same], [1, 0, 0, 0, 1, 0, 0, 0, 1]);
});

Deno.test("each stain changes by its own factor", () => {
  const matrix = restaining({ haematoxylin: 1.2, eosin: 0.7 });
  close(times(HAEMATOXYLIN, matrix), HAEMATOXYLIN.map((d) => 1.2 * d));
  close(times(EOSIN, matrix), EOSIN.map((d) => 0.7 * d));
  const both = HAEMATOXYLIN.map((d, i) => 2 * d + 3 * EOSIN[i]!);
  close(
    times(both, matrix),
    HAEMATOXYLIN.map((d, i) => 2.4 * d + 2.1 * EOSIN[i]!),
  );
});

Deno.test("a stain becomes another colour, and the rest of a pixel stays", () => {
  const [from, to] = [
    { haematoxylin: HAEMATOXYLIN, eosin: EOSIN },
    { haematoxylin: [0.5, 0.8, 0.3], eosin: [0.2, 0.9, 0.4] },
  ] as unknown as PerStain<Vector>[];
  const matrix = restaining({ haematoxylin: 2, eosin: 0.5 }, from, to);
  close(times(HAEMATOXYLIN, matrix), [1, 1.6, 0.6]);
  close(times(EOSIN, matrix), [0.1, 0.45, 0.2]);
  const back = restaining({ haematoxylin: 0.5, eosin: 2 }, to, from);
  close([...composed(matrix, back)], [1, 0, 0, 0, 1, 0, 0, 0, 1]);
});

Deno.test("of two changes the first one comes first", () => {
  const first = [1, 2, 0, 0, 1, 0, 0, 0, 1],
    second = [1, 0, 0, 3, 1, 0, 0, 0, 1];
  const densities = [0.3, 0.5, 0.7];
  close(
    times(densities, composed(first, second)),
    times(times(densities, first), second),
  );
});

Deno.test("black has a density: that of the least of 8 bits", () => {
  close([...densitiesOf(0, 1, 255)], [Math.log(255), Math.log(255), 0]);
});
