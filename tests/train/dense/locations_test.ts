import assert from "node:assert/strict";
import { ImageCache } from "../../../lib/image/image_cache.ts";
import { Memory } from "../../../lib/memory.ts";
import type { TrainingBoxes } from "../../../lib/train/boxes.ts";
import {
  copyCount,
  type ImageLocations,
  Locations,
} from "../../../lib/train/dense/locations.ts";
import { testOnWasm } from "../../engines.ts";
import {
  inFolder,
  squareOf,
  toyConfig,
  ToyFeatures,
  writePictures,
} from "./toy_images.ts";

/** The locations of image 0, without objects, and 1, with a square. */
async function locations(
  view: Parameters<typeof toyConfig>[1],
  use: (
    images: ImageLocations[],
    features: ToyFeatures,
  ) => void | Promise<void>,
  { withBoxes = false, side = 1 } = {},
) {
  await inFolder(async (folder) => {
    const entries = await writePictures(folder, 0, 3);
    const cache = new ImageCache(2 ** 24), features = new ToyFeatures();
    const [x, y] = squareOf(1);
    const box = { x, y, width: 12, height: 12 };
    const boxes: TrainingBoxes = {
      objects: new Map([[entries[1]!.path, [box as never]]]),
      name: "rois",
      limit: null,
      ignored: 0,
    };
    const all = new Locations({
      side,
      normalisation: null,
      config: toyConfig({}, view),
      cache,
      memory: new Memory(),
      features,
      boxes: withBoxes ? boxes : undefined,
    });
    const images: ImageLocations[] = [];
    for (const entry of entries) {
      const image = await all.of(entry);
      images.push(image);
      await all.features(entry, image, 0);
    }
    await use(images, features);
    cache.close();
  });
}

/** True if the cell of a location meets the square of image 1. */
function onSquare({ grid, indices }: ImageLocations, i: number): boolean {
  const { x, y } = grid.places[indices[i]!]!;
  const [left, top] = squareOf(1);
  return x > left - 4 && x < left + 16 && y > top - 4 && y < top + 16;
}

testOnWasm("all locations count if nothing confines them", async () => {
  await locations({}, ([image], { calls }) => {
    assert.equal(image!.indices.length, 64);
    assert.equal(image!.allowed, null);
    assert.equal(image!.objects, null);
    assert.equal(calls[0]!.places, 64);
  });
});

testOnWasm(
  "with a support only the places of highest contrast are read",
  async () => {
    await locations({ support: 8 }, ([, image], { calls }) => {
      assert.equal(image!.indices.length, 8);
      assert.equal(calls[1]!.places, 8);
      assert.equal(image!.allowed!.filter((mark) => mark === 1).length, 8);
      const hits = Array.from(image!.indices, (_, i) => onSquare(image!, i));
      assert.ok(hits[0] || hits.some(Boolean), "the square is among them");
    });
  },
);

testOnWasm(
  "objects are known where annotated, and none in the background",
  async () => {
    await locations({}, ([negative, positive, other]) => {
      assert.ok(negative!.objects!.every((mark) => mark === 0));
      assert.ok(positive!.objects!.includes(1));
      positive!.objects!.forEach((mark, i) =>
        mark && assert.ok(onSquare(positive!, i))
      );
      assert.ok(other!.objects!.every((mark) => mark === 0));
    }, { withBoxes: true });
  },
);

testOnWasm(
  "each place of a location is read, and may hold an object",
  async () => {
    await locations({}, ([image, positive], { calls }) => {
      assert.equal(image!.indices.length, 64);
      assert.equal(image!.places, 4);
      assert.equal(calls[0]!.places, 4 * 64);
      const { objects, places } = positive!;
      assert.equal(objects!.length, 4 * 64);
      const onLocation = (i: number) =>
        objects!.subarray(i * places, (i + 1) * places);
      const partly = Array.from(positive!.indices, (_, i) => onLocation(i))
        .filter((own) => own.includes(1) && own.includes(0));
      assert.ok(partly.length > 0, "some locations are on its edge");
    }, { withBoxes: true, side: 2 });
  },
);

Deno.test("copyCount counts the image as it is, and copies that differ", () => {
  const config = toyConfig();
  assert.equal(copyCount(config), 2);
  config.training.augmentation.brightness = 0;
  assert.equal(copyCount(config), 1);
  config.training.augmentation.stains = 0.3;
  config.training.dense!.copies = 3;
  assert.equal(copyCount(config), 4);
});
