import assert from "node:assert/strict";
import { randomKey, RandomStream } from "../../../kernels/random.ts";
import { readOverview } from "../../../lib/image/overview.ts";
import {
  measureStains,
  stainNormalisation,
} from "../../../lib/image/stains/normalisation.ts";
import {
  densitiesOf,
  dot,
  type PerStain,
  times,
  type Vector,
} from "../../../lib/image/stains/stains.ts";
import { drawnImage } from "../../model/toy.ts";

const unit = (v: Vector): Vector =>
  v.map((x) => x / Math.hypot(...v)) as unknown as Vector;

/** One laboratory, and another, which stains more weakly and redder. */
const HERE: PerStain<Vector> = {
  haematoxylin: unit([0.6, 0.72, 0.35]),
  eosin: unit([0.25, 0.85, 0.45]),
};
const THERE: PerStain<Vector> = {
  haematoxylin: unit([0.55, 0.78, 0.3]),
  eosin: unit([0.2, 0.92, 0.33]),
};

const SIDE = 200; // px: no larger than the picture that is measured

/** A section of glass, pink ground and blue nuclei, by the same seed. */
function section(stains: PerStain<Vector>, strength: number) {
  const random = new RandomStream(randomKey(5));
  return drawnImage({ width: SIDE, height: SIDE }, (x) => {
    if (x < 20) return [250, 250, 250];
    const nucleus = random.uniform() < 0.3;
    const h = strength * (nucleus ? 1 + random.uniform() : 0.02);
    const e = strength * (nucleus ? 0.02 : 0.4 + 0.6 * random.uniform());
    return [0, 1, 2].map((c) =>
      Math.round(
        255 *
          Math.exp(-h * stains.haematoxylin[c]! - e * stains.eosin[c]!),
      )
    ) as unknown as Vector;
  });
}

Deno.test("the stains of a section are found in its colours", async () => {
  const picture = await readOverview(section(HERE, 1), SIDE);
  const { colours, strengths } = measureStains(picture)!;
  assert.ok(dot(colours.haematoxylin, HERE.haematoxylin) > 0.999);
  assert.ok(dot(colours.eosin, HERE.eosin) > 0.999);
  assert.ok(Math.abs(strengths.haematoxylin - 2) < 0.05);
  assert.ok(Math.abs(strengths.eosin - 1) < 0.05);
});

Deno.test("a stain is not made less than a third as strong", async () => {
  const image = section(HERE, 4);
  const { colours, strengths } = measureStains(
    await readOverview(image, SIDE),
  )!;
  assert.ok(strengths.eosin > 3.5);
  const matrix = (await stainNormalisation(image))!;
  const length = Math.hypot(...times(colours.eosin, matrix));
  assert.ok(Math.abs(length - 1 / 3) < 1e-3, `${length}`);
});

Deno.test("too few pixels of tissue tell no stains", () => {
  const of = (tissue: number) => {
    const data = new Uint8Array(3 * 400).fill(250);
    for (let i = 0; i < tissue; i++) {
      data.set(i % 2 ? [120, 80, 160] : [230, 120, 180], 3 * i);
    }
    return measureStains({ data, width: 20, height: 20 });
  };
  assert.equal(of(99), null);
  assert.notEqual(of(100), null);
});

Deno.test("a section looks the same whoever stained it", async () => {
  const seen = await Promise.all(
    [section(HERE, 1), section(THERE, 0.7)].map(async (image) => {
      const matrix = (await stainNormalisation(image))!;
      const { data } = await readOverview(image, SIDE);
      const at = (i: number): Vector =>
        densitiesOf(data[i]!, data[i + 1]!, data[i + 2]!);
      const pixels = Array.from({ length: data.length / 3 }, (_, i) => 3 * i);
      return {
        stored: pixels.map(at),
        normalised: pixels.map((i) => times(at(i), matrix)),
      };
    }),
  );
  const difference = (which: "stored" | "normalised") =>
    seen[0]![which].reduce((sum, pixel, i) => {
      const other = seen[1]![which][i]!;
      return sum + Math.hypot(...pixel.map((x, c) => x - other[c]!));
    }, 0) / (SIDE * SIDE);
  assert.ok(difference("stored") > 0.2, `${difference("stored")}`);
  assert.ok(difference("normalised") < 0.04, `${difference("normalised")}`);
});

Deno.test("without tissue, or with one stain, an image stays as it is", async () => {
  const plain = (colour: Vector) =>
    drawnImage({ width: SIDE, height: SIDE }, () => colour);
  assert.equal(await stainNormalisation(plain([240, 240, 245])), null);
  assert.equal(await stainNormalisation(plain([120, 60, 140])), null);
});
