/**
 * Places of background images that look like an annotated object, by a regression
 * from the boxes alone.
 *
 * The teacher does not name them: it has learned that these very images hold no
 * object. In new images it takes such places for one, so the reader of close-ups
 * must have seen some.
 *
 * @module
 */
import { randomKey, RandomStream } from "../../../../kernels/random.ts";
import type { Point } from "../../../image/geometry.ts";
import { mapOf } from "../../../model/close_up/affine.ts";
import { fitClasses, wideRows } from "../../regression/wide_rows.ts";
import type { ImageBag } from "../bags.ts";

// Places on objects, and off them: their products with each other are computed.
const ON = 400, OFF = 800;
const STRENGTH = 0.01;
const LOOKALIKES = 116; // word of the random keys

/** Locations of an image, those first that look most like an object. */
export type Lookalikes = (bag: ImageBag) => Point[];

/**
 * Fits the regression.
 *
 * @param bags with annotated objects in some, and places beside them.
 */
export function fitLookalikes(
  bags: readonly ImageBag[],
  seed: number,
): Lookalikes {
  const random = new RandomStream(randomKey(seed, LOOKALIKES));
  const annotated = bags.filter(({ objects }) => objects?.includes(1));
  const some = (wanted: 0 | 1, most: number) =>
    random.shuffle(
      annotated.flatMap((bag) =>
        Array.from(bag.objects!).flatMap((on, place) =>
          on === wanted ? [featuresOf(bag, place)] : []
        )
      ),
    ).slice(0, most);
  const on = some(1, ON), off = some(0, OFF);
  const labels = [...on.map(() => 1), ...off.map(() => 0)];
  const counts = [off.length, on.length];
  const read = mapOf(fitClasses(wideRows([...on, ...off]), labels, {
    classes: 2,
    strength: STRENGTH,
    weights: labels.map((label) => 1 / counts[label]!),
  }));
  return (bag) => {
    const { indices, places, grid } = bag.image;
    const scores = new Map<number, number>();
    for (let place = 0; place < bag.locations; place++) {
      const location = indices[Math.floor(place / places)]!;
      const score = read(featuresOf(bag, place))[1]!;
      scores.set(location, Math.max(score, scores.get(location) ?? -Infinity));
    }
    return [...scores].sort(([, a], [, b]) => b - a)
      .map(([location]) => grid.places[location]!);
  };
}

/** Features of a place of an image as it is. */
function featuresOf({ copies, locations }: ImageBag, place: number) {
  const channels = copies[0]!.length / locations;
  return copies[0]!.subarray(place * channels, (place + 1) * channels);
}
