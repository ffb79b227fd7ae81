import assert from "node:assert/strict";
import { join } from "node:path";
import sharp from "sharp";
import { readManifest } from "../../../lib/data/manifest.ts";
import { readRois } from "../../../lib/data/rois.ts";
import {
  type SyntheticDataset,
  writeDataset,
} from "../../../lib/data/synthetic/writer.ts";
import { UsageError } from "../../../lib/errors.ts";
import { withFolder } from "../folder.ts";

/** Five grey images of 4 x 3 px, each of its own grey. */
const DATASET: SyntheticDataset = {
  recipe: { generator: "grey", seed: 1 },
  counts: { train: 3, test: 2 },
  draw: (_, index) => ({
    data: new Uint8Array(12).fill(10 * index),
    width: 4,
    height: 3,
    channels: 1,
    label: String(index),
    objects: [{ x: index, y: 1, width: 2, height: 1, type: "spot" }],
  }),
};

Deno.test("writeDataset writes images, manifest, regions and recipe", async () => {
  await withFolder(async (parent) => {
    const out = join(parent, "new", "set");
    const progress: string[] = [];
    const written = await writeDataset(out, DATASET, {
      onProgress: (done, total) => progress.push(`${done}/${total}`),
    });
    const manifest = await readManifest(written.manifest);
    assert.deepEqual(
      manifest.entries.map(({ image, label, split }) => [image, label, split]),
      [
        ["images/train_00000.png", "0", "train"],
        ["images/train_00001.png", "1", "train"],
        ["images/train_00002.png", "2", "train"],
        ["images/test_00000.png", "0", "test"],
        ["images/test_00001.png", "1", "test"],
      ],
    );
    const regions = (await readRois(manifest))!;
    assert.deepEqual(await regions.of(manifest.entries[2]!), [
      { x: 2, y: 1, width: 2, height: 1, type: "spot" },
    ]);
    const image = sharp(manifest.entries[2]!.path);
    const { width, height } = await image.metadata();
    assert.deepEqual([width, height], [4, 3]);
    assert.equal((await image.stats()).channels[0]!.mean, 20);
    const recipe = await Deno.readTextFile(join(out, "dataset.json"));
    assert.deepEqual(JSON.parse(recipe), DATASET.recipe);
    assert.deepEqual(progress, ["1/5", "2/5", "3/5", "4/5", "5/5"]);
  });
});

Deno.test("writeDataset takes an empty folder, and leaves a full one alone", async () => {
  await withFolder(async (parent) => {
    const out = join(parent, "set");
    await Deno.mkdir(out);
    await writeDataset(out, DATASET);
    await assert.rejects(
      writeDataset(out, DATASET),
      (error: Error) =>
        error instanceof UsageError &&
        /is not empty; remove it/.test(error.message),
    );
    await assert.rejects(
      writeDataset(join(out, "manifest.csv"), DATASET),
      /it is a file/,
    );
  });
});

Deno.test("writeDataset leaves nothing behind when drawing fails", async () => {
  await withFolder(async (parent) => {
    const broken: SyntheticDataset = {
      ...DATASET,
      draw: (split, index) => {
        if (index === 2) throw new Error("out of ink");
        return DATASET.draw(split, index);
      },
    };
    await assert.rejects(
      writeDataset(join(parent, "set"), broken),
      /out of ink/,
    );
    assert.deepEqual([...Deno.readDirSync(parent)], []);
  });
});

Deno.test("writeDataset leaves nothing behind when an image cannot be written", async () => {
  await withFolder(async (parent) => {
    const side = 4000; // px: still being encoded when the next one fails
    const large = {
      data: new Uint8Array(side ** 2),
      width: side,
      height: side,
    };
    const blocked: SyntheticDataset = {
      ...DATASET,
      draw: (split, index) => {
        const drawing = DATASET.draw(split, index);
        if (index === 0) return { ...drawing, ...large };
        const [{ name }] = [...Deno.readDirSync(parent)] as [Deno.DirEntry];
        const image = `images/${split}_0000${index}.png`;
        Deno.mkdirSync(join(parent, name, image), { recursive: true });
        return drawing;
      },
    };
    await assert.rejects(
      writeDataset(join(parent, "set"), blocked),
      /train_00001\.png/,
    );
    assert.deepEqual([...Deno.readDirSync(parent)], []);
  });
});

Deno.test("writeDataset stops at its signal and leaves nothing behind", async () => {
  await withFolder(async (parent) => {
    const stop = new AbortController();
    const writing = writeDataset(join(parent, "set"), DATASET, {
      signal: stop.signal,
      onProgress: (done) => {
        if (done === 2) stop.abort(new Error("stopped"));
      },
    });
    await assert.rejects(writing, /stopped/);
    assert.deepEqual([...Deno.readDirSync(parent)], []);
  });
});
