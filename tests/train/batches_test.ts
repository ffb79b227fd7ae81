import assert from "node:assert/strict";
import { ImageError } from "../../lib/errors.ts";
import { ImageCache } from "../../lib/image/image_cache.ts";
import type { Pyramid } from "../../lib/image/pyramid.ts";
import type { Model } from "../../lib/model/model.ts";
import { preset } from "../../lib/model/presets.ts";
import { Batches } from "../../lib/train/batches.ts";
import type { TrainingImage } from "../../lib/train/step/micro_batch.ts";
import { drawnImage } from "../model/toy.ts";
import { eventually } from "../waiting.ts";

const IMAGES = 7;

/** A model of which batches need only its configuration. */
function modelOf(batchSize: number): Model {
  const config = preset("needle");
  config.training.batchSize = batchSize;
  Object.assign(config.training.augmentation, { flips: true, turns: true });
  return {
    config,
    classes: ["a", "b"],
    normalisation: null,
    calibration: null,
    parameters: new Map(),
  };
}

/** Batches of 3 of 7 images, and which of those are open. */
function batchesOf(seed: number, bad?: string) {
  const open = new Set<string>();
  // deno-lint-ignore require-await
  const cache = new ImageCache(0, async (path): Promise<Pyramid> => {
    if (path === bad) throw new ImageError(`Cannot open ${path}`);
    const image = drawnImage({ width: 8, height: 8 }, () => [1, 2, 3]);
    open.add(path);
    image.close = () => void open.delete(path);
    return image;
  });
  const entries = Array.from({ length: IMAGES }, (_, i) => ({
    image: `${i}`,
    path: `${i}`,
    label: "a",
    classIndex: i % 2,
    manifest: "m",
    line: i + 2,
  }));
  return { batches: new Batches(modelOf(3), entries, { seed, cache }), open };
}

/** The random choices for each image of an epoch. */
async function drawn(batches: Batches, epoch: number) {
  const images: TrainingImage[] = [];
  const sizes: number[] = [];
  for await (const batch of batches.ofEpoch(epoch)) {
    images.push(...batch.images);
    sizes.push(batch.images.length);
  }
  return {
    sizes,
    keys: images.map(({ key }) => `${key}`),
    orientations: images.map(({ augmentation }) => augmentation.orientation),
    classes: images.map(({ goal }) => goal[0]).join(""),
  };
}

Deno.test("an epoch has each image once, whatever is left in the last batch", async () => {
  const { batches, open } = batchesOf(1);
  assert.equal(batches.steps, 3);
  const { sizes, keys, classes } = await drawn(batches, 1);
  assert.deepEqual(sizes, [3, 3, 1]);
  assert.equal(new Set(keys).size, IMAGES);
  assert.equal([...classes].filter((index) => index === "1").length, 3);
  await Promise.resolve();
  assert.equal(open.size, 0);
});

Deno.test("draws and order follow from seed, epoch and image, and from nothing else", async () => {
  const { batches } = batchesOf(1);
  const first = await drawn(batches, 1);
  const all = [
    first,
    await drawn(batches, 2),
    await drawn(batchesOf(2).batches, 1),
  ];
  const keys = all.flatMap(({ keys }) => keys);
  assert.equal(new Set(keys).size, keys.length, "no key comes twice");
  const orders = Array.from({ length: 8 }, async (_, epoch) => [
    (await drawn(batches, epoch + 1)).classes,
    (await drawn(batchesOf(2).batches, epoch + 1)).classes,
  ]);
  const [one, other] = [0, 1].map((i) => orders.map(async (o) => (await o)[i]));
  const ofOne = await Promise.all(one!), ofOther = await Promise.all(other!);
  assert.ok(new Set(ofOne).size > 3, "epochs are shuffled apart");
  assert.notDeepEqual(ofOne, ofOther, "seeds are shuffled apart");
  const turned = [1, 2, 3].map(async (epoch) =>
    (await drawn(batches, epoch)).orientations.join("")
  );
  assert.equal(new Set(await Promise.all(turned)).size, 3);
  assert.deepEqual(await drawn(batchesOf(1).batches, 1), first);
});

Deno.test("where an image cannot be opened none of its batch stays open", async () => {
  for (let bad = 0; bad < IMAGES; bad++) {
    const { batches, open } = batchesOf(1, `${bad}`);
    const failures: ImageError[] = [];
    for await (const { images, failure } of batches.ofEpoch(1)) {
      assert.equal(images.length === 0, failure !== undefined);
      if (failure) failures.push(failure);
    }
    assert.deepEqual(failures.map(({ message }) => message), [
      `Cannot open ${bad}`,
    ]);
    await eventually("all are closed", () => open.size === 0);
  }
});
