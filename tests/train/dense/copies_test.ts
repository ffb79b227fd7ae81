import assert from "node:assert/strict";
import {
  changesColours,
  recolouring,
} from "../../../lib/train/dense/copies.ts";

const STAINS = { stains: 0.3, brightness: 0.1 };
const GAINS = { stains: 0, brightness: 0.2 };
const PINK = [0.8, 0.5, 0.7, 0.4, 0.3, 0.6];

function changed(...settings: Parameters<typeof recolouring>): number[] {
  const pixels = Float32Array.from(PINK);
  recolouring(...settings).apply(pixels);
  return [...pixels];
}

Deno.test("a copy is the same whenever it is made, and unlike all others", () => {
  assert.deepEqual(changed("a.png", 1, STAINS), changed("a.png", 1, STAINS));
  const keys = [
    recolouring("a.png", 1, STAINS),
    recolouring("a.png", 2, STAINS),
    recolouring("b.png", 1, STAINS),
    recolouring("a.png", 1, { ...STAINS, stains: 0.2 }),
    recolouring("a.png", 1, GAINS),
  ].map(({ key }) => key);
  assert.equal(new Set(keys).size, keys.length);
  assert.notDeepEqual(changed("a.png", 1, STAINS), changed("a.png", 2, STAINS));
});

for (const settings of [STAINS, GAINS]) {
  Deno.test(`colours stay in [0, 1], and near what they were: ${JSON.stringify(settings)}`, () => {
    for (let copy = 1; copy <= 200; copy++) {
      for (const [i, value] of changed("a.png", copy, settings).entries()) {
        assert.ok(value >= 0 && value <= 1);
        assert.ok(Math.abs(value - PINK[i]!) < 0.35, `${value}, ${PINK[i]}`);
      }
    }
  });
}

Deno.test("stronger stains make a colour darker, and white is hardly changed", () => {
  const white = Float32Array.of(1, 1, 1);
  recolouring("a.png", 3, STAINS).apply(white);
  assert.ok(white.every((value) => value > 0.9));
});

Deno.test("changesColours tells if copies differ at all", () => {
  assert.equal(changesColours({ stains: 0, brightness: 0 }), false);
  assert.equal(changesColours(GAINS), true);
});
