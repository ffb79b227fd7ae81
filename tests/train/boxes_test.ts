import assert from "node:assert/strict";
import { join } from "node:path";
import sharp from "sharp";
import { boxObject } from "../../lib/data/annotations/object.ts";
import { type ManifestEntry, readManifest } from "../../lib/data/manifest.ts";
import { readRois, readRoisOf, type RoiSource } from "../../lib/data/rois.ts";
import { DataError } from "../../lib/errors.ts";
import { ImageCache } from "../../lib/image/image_cache.ts";
import { withFrozenFeatures } from "../../lib/model/frozen_settings.ts";
import { preset } from "../../lib/model/presets.ts";
import {
  annotatedCount,
  boxesText,
  checkBoxes,
  onlyOf,
  trainingBoxes,
} from "../../lib/train/boxes.ts";
import { runData, runSides } from "../../lib/train/runs/run_data.ts";
import { withFolder, writeImages } from "../data/folder.ts";

const BOX = boxObject({ x: 1, y: 1, width: 2, height: 2 }, undefined);

/** Entries named after their label: "b3" has the label "b". */
function entriesOf(...names: string[]): ManifestEntry[] {
  return names.map((name, i) => ({
    image: name,
    path: `/data/${name}`,
    label: name[0]!,
    classIndex: name.charCodeAt(0) - 97,
    manifest: "m",
    line: i + 2,
  }));
}

/** One object an image, and the names of the images that were read. */
function recorded(objects = [BOX]): { source: RoiSource; read: string[] } {
  const read: string[] = [];
  const source: RoiSource = {
    of(entry) {
      read.push(entry.image);
      return Promise.resolve(objects);
    },
    has: () => Promise.resolve(true),
    relevant: (_, { type }) => type !== "lookalike",
  };
  return { source, read };
}

const SIDES = { referenceClass: null, seed: 0 };

Deno.test("the annotations of an image that is not trained on are never read", async () => {
  const train = entriesOf("a1", "b1"), others = entriesOf("a2", "b2", "a3");
  const { source, read } = recorded();
  const boxes = await trainingBoxes({ ...SIDES, train, others }, {
    source,
    name: "rois",
  });
  assert.deepEqual([...boxes.objects.keys()], ["/data/a1", "/data/b1"]);
  assert.deepEqual(read, ["a1", "b1"]);
  assert.equal(boxes.ignored, 3);
  assert.equal(
    boxesText(boxes),
    "2 annotated objects in 2 images; the annotations of 3 validation or test images are not used",
  );
  // Asking for one is an error, before anything is read.
  for (const entry of others) {
    assert.throws(() => onlyOf(source, train).of(entry), (error: Error) => {
      assert.ok(error instanceof DataError);
      return new RegExp(
        `annotations of ${entry.image}: it is no training image`,
      ).test(error.message);
    });
  }
  assert.deepEqual(read, ["a1", "b1"]);
});

Deno.test("objects that do not count, and images without one, are left out", async () => {
  const train = entriesOf("a1", "b1");
  const lookalike = { ...BOX, type: "lookalike" };
  const all = async (objects: (typeof BOX)[], referenceClass: string | null) =>
    annotatedCount(
      await trainingBoxes({ train, others: [], referenceClass, seed: 0 }, {
        ...recorded(objects),
        name: "rois",
      }),
    );
  assert.deepEqual(await all([BOX, lookalike, BOX], null), {
    images: 2,
    objects: 4,
  });
  // The reference class has no objects, whatever is drawn in its images.
  assert.deepEqual(await all([BOX], "a"), { images: 1, objects: 1 });
  await assert.rejects(
    all([lookalike], null),
    /no object that counts in any of 2 training images; annotate some/,
  );
  assert.equal(annotatedCount(undefined), null);
});

Deno.test("N images are chosen by the seed, class by class, whatever their rows", async () => {
  const names = ["a1", "a2", "a3", "a4", "b1", "b2", "b3", "c1"];
  const chosen = async (images: number, seed: number, rows = names) => {
    const { source, read } = recorded();
    const boxes = await trainingBoxes(
      { train: entriesOf(...rows), others: [], referenceClass: "c", seed },
      { source, name: "rois", images },
    );
    assert.equal(read.length, images); // no more than are needed
    assert.equal(boxes.limit, images);
    return [...boxes.objects.keys()].map((path) => path.slice(6));
  };
  const four = await chosen(4, 0);
  assert.deepEqual(four.map(([label]) => label), ["a", "b", "a", "b"]);
  assert.deepEqual(await chosen(4, 0, names.toReversed()), four);
  assert.deepEqual(await chosen(2, 0), four.slice(0, 2));
  const seeds = await Promise.all([1, 2, 3, 4].map((seed) => chosen(4, seed)));
  assert.ok(seeds.some((other) => `${other}` !== `${four}`));
  await assert.rejects(
    chosen(8, 0),
    /the boxes of 8 images: the manifest has objects in only 7 training images; annotate/,
  );
});

Deno.test("one file of all images: those of test images do not reach the training", async () => {
  await withFolder(async (folder) => {
    const names = Array.from({ length: 8 }, (_, i) => `${i}.png`);
    await writeImages(folder, names);
    const split = (i: number) =>
      i < 4 ? "train" : i < 6 ? "validation" : "test";
    await Deno.writeTextFile(
      join(folder, "manifest.csv"),
      [
        "image,label,split",
        ...names.map((name, i) => `${name},${"ab"[i % 2]},${split(i)}`),
      ].join("\n"),
    );
    const file = join(folder, "coco.json");
    await Deno.writeTextFile(
      file,
      JSON.stringify({
        images: names.map((file_name, id) => ({ id, file_name })),
        annotations: names.map((_, image_id) => ({
          image_id,
          bbox: [image_id, 0, 1, 1],
        })),
      }),
    );
    const manifest = await readManifest(join(folder, "manifest.csv"));
    const source = await readRoisOf(file, manifest);
    const run = {
      manifest,
      config: {
        ...withFrozenFeatures(preset("needle"), "scattering", null),
        referenceClass: null,
      },
      seed: 0,
      folder: join(folder, "run"),
      test: 0.2,
      boxes: { source, name: file },
      resume: false,
    };
    const data = await runData(await runSides(run), run);
    const { objects, ignored } = data.boxes!;
    assert.deepEqual(
      [...objects].map(([path, [box]]) => [path, box!.x]),
      names.slice(0, 4).map((name, i) => [join(folder, name), i]),
    );
    assert.equal(ignored, 4);
    assert.equal(await readRois(manifest), undefined);
  });
});

Deno.test("an object outside of its image is refused, one over its edge is not", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "a.png");
    await sharp({
      create: { width: 20, height: 10, channels: 3, background: "red" },
    }).png().toFile(path);
    const [entry] = entriesOf("a.png").map((entry) => ({ ...entry, path }));
    const cache = new ImageCache(2 ** 20);
    const check = (x: number, y: number) =>
      checkBoxes(
        {
          objects: new Map([[path, [{ ...BOX, x, y }]]]),
          name: "coco.json",
          limit: null,
          ignored: 0,
        },
        [entry!],
        { cache },
      );
    await check(-1, 9);
    await check(19.5, 0);
    await check(20, 0); // on the right edge
    for (const [x, y] of [[-4, 0], [21, 0], [0, 11], [5e9, 0]] as const) {
      await assert.rejects(
        check(x, y),
        new RegExp(
          `objects of a.png in coco.json: one at x ${x}, y ${y} lies outside of its 20 x 10 px`,
        ),
      );
    }
    cache.close();
  });
});
