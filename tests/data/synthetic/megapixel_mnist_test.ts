import assert from "node:assert/strict";
import { megapixelMnistDataset } from "../../../lib/data/synthetic/megapixel_mnist.ts";
import { ConfigError, DataError } from "../../../lib/errors.ts";
import { withFolder } from "../folder.ts";
import { writeMnist } from "../mnist_files.ts";

const OPTIONS = { train: 30, test: 20, width: 200, height: 160, seed: 5 };

async function makeDataset(options = OPTIONS, count = 20) {
  return await withFolder(async (folder) => {
    await writeMnist(folder, { count });
    return await megapixelMnistDataset(folder, options);
  });
}

Deno.test("three of five digits are the label, and none overlaps another", async () => {
  const dataset = await makeDataset();
  for (let index = 0; index < OPTIONS.train; index++) {
    const { label, objects } = dataset.draw("train", index);
    assert.match(label, /^\d$/);
    assert.equal(objects.length, 5);
    for (const [i, a] of objects.entries()) {
      assert.ok(a.x >= 0 && a.x + a.width <= OPTIONS.width);
      assert.ok(a.y >= 0 && a.y + a.height <= OPTIONS.height);
      for (const b of objects.slice(i + 1)) {
        assert.ok(Math.abs(a.x - b.x) >= 8 || Math.abs(a.y - b.y) >= 8);
      }
    }
  }
});

Deno.test("the digits drawn are those of the label and of the split", async () => {
  const dataset = await makeDataset();
  for (const [split, grey] of [["train", 1], ["test", 100]] as const) {
    for (let index = 0; index < 10; index++) {
      const { label, objects, data, width } = dataset.draw(split, index);
      const digits = objects.map(({ x, y }) => {
        // Scribbles are lighter, so the darkest pixel is the digit's own.
        const greys = Array.from(
          { length: 64 },
          (_, i) => data[(y + (i >> 3)) * width + x + i % 8]!,
        );
        const found = Math.min(...greys) - grey;
        assert.ok(found >= 0 && found < 20, `${found}`);
        return found % 10;
      });
      const alike = digits.filter((digit) => String(digit) === label);
      assert.equal(alike.length, 3, `${label}: ${digits}`);
    }
  }
});

Deno.test("an image holds scribbles, of an eighth of its square at least", async () => {
  const { data } = (await makeDataset()).draw("train", 0);
  const light = data.filter((value) => value >= 0.8 * 255 - 1).length;
  // 50 scribbles of 8 x 8 px, some of them over another.
  assert.ok(light > 50 * 8 / 2 && light < 50 * 2 * 16, `${light}`);
});

Deno.test("an image depends on seed, split and index, not on how many there are", async () => {
  const dataset = await makeDataset();
  const more = await makeDataset({ ...OPTIONS, train: 5000 });
  const other = await makeDataset({ ...OPTIONS, seed: 6 });
  assert.deepEqual(dataset.draw("train", 7), more.draw("train", 7));
  assert.notDeepEqual(dataset.draw("train", 7), other.draw("train", 7));
});

Deno.test("too small an image and a missing digit are refused", async () => {
  await assert.rejects(
    makeDataset({ ...OPTIONS, width: 63 }),
    (error: Error) =>
      error instanceof ConfigError && />= 64 px/.test(error.message),
  );
  await assert.rejects(
    makeDataset(OPTIONS, 9),
    (error: Error) =>
      error instanceof DataError &&
      /its train files have no digit 9/.test(error.message),
  );
});
