import assert from "node:assert/strict";
import type { Pyramid } from "../../../lib/image/pyramid.ts";
import { Memory } from "../../../lib/memory.ts";
import type { Config } from "../../../lib/model/config.ts";
import { microBatches } from "../../../lib/model/look/micro_batches.ts";
import { preset } from "../../../lib/model/presets.ts";
import { SyntheticPyramid } from "../../image/synthetic_pyramid.ts";

const config = preset("needle"); // views of a quarter, tiles of 64 x 64 px
const memory = new Memory(512e6); // 800,000 px together

function square(side: number): { pyramid: Pyramid } {
  const size = { width: side, height: side };
  return { pyramid: new SyntheticPyramid(size, [1], () => [0, 0, 0]) };
}

function placesOf(sides: number[]) {
  return microBatches(sides.map(square), config, { samples: 30, memory })
    .map(({ images, inBlocks }) => inBlocks ? [...images, "blocks"] : images);
}

Deno.test("images go together as far as the bound takes them", () => {
  // 188,416 px each: four fit.
  assert.deepEqual(placesOf([1024, 1024, 1024]), [[0, 1, 2]]);
  const many = new Array<number>(7).fill(1024);
  assert.deepEqual(placesOf(many), [[0, 1, 2, 3], [4, 5, 6]]);
});

Deno.test("an image that does not fit alone goes in blocks", () => {
  assert.deepEqual(placesOf([1024, 8192, 1024, 1024]), [
    [0],
    [1, "blocks"],
    [2, 3],
  ]);
});

Deno.test("contrastive draws count", () => {
  const image = { ...square(1024), contrastive: true }; // 311,296 px
  const found = microBatches(new Array(4).fill(image), config, {
    samples: 30,
    memory,
  });
  assert.deepEqual(found.map(({ images }) => images), [[0, 1], [2, 3]]);
});

Deno.test("in training, what f makes of sub-tiles counts too", () => {
  const image = square(256); // 30 sub-tiles of 32 x 32 px: 30,720 px
  const ofFeatures = (features: Config["network"]["features"]) =>
    microBatches(new Array(5).fill(image), {
      ...config,
      network: { ...config.network, features },
    }, { samples: 30, memory, training: true }).map(({ images }) => images);
  assert.deepEqual(ofFeatures("lenet"), [[0, 1, 2, 3], [4]]);
  assert.deepEqual(ofFeatures("ats"), [[0, 1], [2, 3], [4]]);
  // Its batch statistics are those of the images that are put together.
  assert.deepEqual(ofFeatures("resnet"), [[0, 1, 2, 3, 4]]);
});
