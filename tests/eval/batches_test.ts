import assert from "node:assert/strict";
import { join } from "node:path";
import { ImageError } from "../../lib/errors.ts";
import { classifyEach } from "../../lib/eval/batches.ts";
import { classifyOpened, openForModel } from "../../lib/eval/classify.ts";
import type { Size } from "../../lib/image/geometry.ts";
import { Memory } from "../../lib/memory.ts";
import type { Model } from "../../lib/model/model.ts";
import { disposeParameters } from "../../lib/model/parameters.ts";
import { testOnEngines } from "../engines.ts";
import { toSharp } from "../image/pictures.ts";
import { noiseImage, toyModel } from "../model/toy.ts";

const SIZE = { width: 72, height: 64 };

/** PNG files of noise in a folder that is removed. */
async function withImages(
  sizes: readonly Size[],
  test: (paths: string[]) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "zoomin-batches-" });
  try {
    const paths = sizes.map((_, i) => join(folder, `${i}.png`));
    for (const [i, size] of sizes.entries()) {
      const all = { x: 0, y: 0, ...size };
      const pixels = await noiseImage(size, i).read(all, 0);
      await toSharp(pixels).png().toFile(paths[i]!);
    }
    await test(paths);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

testOnEngines(
  "many images are classified as each alone",
  async ({ backend }) => {
    const model = toyModel({ peak: 3 });
    const memory = new Memory();
    const options = { seed: 3, memory };
    // Twelve of one size, and one of another between them.
    const sizes = Array.from(
      { length: 13 },
      (_, i) => i === 5 ? { width: 100, height: 90 } : SIZE,
    );
    await withImages(sizes, async (paths) => {
      const batches: number[] = [];
      const items = [...paths.slice(0, 3), "nowhere.png", ...paths.slice(3)];
      const found: (number[] | string)[] = [];
      const results = classifyEach(items, {
        memory,
        async open(path) {
          if (path === "nowhere.png") throw new ImageError("is not there");
          return await openForModel(path, model);
        },
        classify(images) {
          batches.push(images.length);
          return classifyOpened(model, images, options);
        },
      });
      for await (const result of results) {
        found.push(
          "error" in result
            ? result.error.message
            : Object.values(result.classified.classification.probabilities),
        );
      }
      assert.deepEqual(
        batches,
        backend === "webgpu" ? [3, 8, 2] : Array(13).fill(1),
      );
      assert.equal(found[3], "is not there");
      found.splice(3, 1);
      for (const [i, path] of paths.entries()) {
        const image = await openForModel(path, model);
        const [alone] = await classifyOpened(model, [image], options);
        image.file.close();
        Object.values(alone!.classification.probabilities).forEach((p, c) => {
          assert.ok(Math.abs(p - (found[i] as number[])[c]!) < 1e-5, `${i}`);
        });
      }
    });
    disposeParameters(model.parameters);
  },
);

testOnEngines(
  "an image of a batch that cannot be read fails alone",
  async ({ backend }) => {
    const model = toyModel();
    const memory = new Memory();
    await withImages([SIZE, SIZE, SIZE], async (paths) => {
      const outcomes: boolean[] = [], batches: number[] = [];
      const results = classifyEach(paths, {
        memory,
        async open(path) {
          const image = await openForModel(path, model);
          if (path !== paths[1]) return image;
          image.file.read = () => Promise.reject(new ImageError("cut off"));
          return { ...image, seen: image.file };
        },
        classify(images) {
          batches.push(images.length);
          return classifyOpened(model, images, { seed: 1, memory });
        },
      });
      for await (const result of results) outcomes.push("error" in result);
      assert.deepEqual(outcomes, [false, true, false]);
      assert.deepEqual(
        batches,
        backend === "webgpu" ? [3, 1, 1, 1] : [1, 1, 1],
      );
    });
    disposeParameters(model.parameters);
  },
);

testOnEngines("images are closed if the caller stops early", async () => {
  const model = toyModel();
  const memory = new Memory();
  // A batch of two; one of one, while the next image waits.
  for (const heldPixels of [memory.heldPixels, 6 * SIZE.width * SIZE.height]) {
    await stopEarly(model, { memory, heldPixels });
  }
  disposeParameters(model.parameters);
});

/** Stops at the first result, and asserts that nothing is open. */
async function stopEarly(
  model: Model,
  { memory, heldPixels }: { memory: Memory; heldPixels: number },
): Promise<void> {
  await withImages([SIZE, SIZE], async (paths) => {
    let open = 0;
    const results = classifyEach(paths, {
      memory: { heldPixels },
      async open(path) {
        const image = await openForModel(path, model);
        open++;
        const file = Object.create(image.file, {
          close: { value: () => open-- },
        });
        return { ...image, file };
      },
      classify: (images) => classifyOpened(model, images, { seed: 1, memory }),
    });
    for await (const result of results) {
      assert.ok("classified" in result);
      break;
    }
    assert.equal(open, 0);
  });
}
