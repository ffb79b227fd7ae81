import assert from "node:assert/strict";
import { join } from "node:path";
import { writeSplits } from "../../lib/data/folds.ts";
import { type Manifest, readManifest } from "../../lib/data/manifest.ts";
import { readRois } from "../../lib/data/rois.ts";
import { DataError } from "../../lib/errors.ts";
import { withFolder, writeImages } from "./folder.ts";

/** Runs `use` with a manifest beside the tables given. */
async function withTables(
  tables: Record<string, string>,
  use: (manifest: Manifest) => Promise<void>,
): Promise<void> {
  await withFolder(async (folder) => {
    await writeImages(folder, ["a.png", "b.png"]);
    const all = {
      "manifest.csv": "image,label\na.png,1\nb.png,0\n",
      ...tables,
    };
    for (const [name, text] of Object.entries(all)) {
      await Deno.writeTextFile(join(folder, name), text);
    }
    await use(await readManifest(join(folder, "manifest.csv")));
  });
}

Deno.test("regions.csv gives boxes by image, look-alikes are not relevant", async () => {
  const tables = {
    "regions.csv": "image,left,top,right,bottom,type\n" +
      "a.png,1,2,11,22,needle\na.png,5,5,6,6,lookalike\n",
  };
  await withTables(tables, async (manifest) => {
    const [a, b] = manifest.entries;
    const source = (await readRois(manifest))!;
    const objects = await source.of(a!);
    assert.deepEqual(objects[0], {
      x: 1,
      y: 2,
      width: 10,
      height: 20,
      type: "needle",
    });
    assert.deepEqual(objects.map((o) => source.relevant(a!, o)), [true, false]);
    assert.deepEqual(await source.of(b!), []);
  });
});

Deno.test("regions.csv gives the objects of an image on a server", async () => {
  const image = "https://h.org/slides/a.tif?version=2";
  const tables = {
    "manifest.csv": `image,label\n${image},1\nb.png,0\n`,
    "regions.csv": `image,x,y\n${image},1,2\n`,
  };
  await withTables(tables, async (manifest) => {
    const source = (await readRois(manifest))!;
    const point = { x: 1, y: 2, width: 0, height: 0 };
    assert.deepEqual(await source.of(manifest.entries[0]!), [point]);
  });
});

Deno.test("a column rois names a table of points per image", async () => {
  const tables = {
    "manifest.csv": "image,label,rois\na.png,1,a.csv\nb.png,0,b.csv\n",
    "a.csv": "x,y\n1.5,2\n",
    "b.csv": "x,y\n", // examined, and nothing found
    "regions.csv": "image,x,y\na.png,9,9\n", // the column comes first
  };
  await withTables(tables, async (manifest) => {
    const [a, b] = manifest.entries;
    const source = (await readRois(manifest))!;
    const point = { x: 1.5, y: 2, width: 0, height: 0 };
    assert.deepEqual(await source.of(a!), [point]);
    assert.ok(source.relevant(a!, point));
    assert.deepEqual(await source.of(b!), []);
  });
});

Deno.test("faults of a table of objects are named by line", async () => {
  const tables = {
    "regions.csv": "image,left,top,right,bottom\n" +
      "a.png,1,2,x,4\na.png,9,2,3,4\n,1,1,1,1\n",
  };
  await withTables(tables, async (manifest) => {
    await assert.rejects(
      readRois(manifest),
      (error: Error) =>
        error instanceof DataError &&
        /regions\.csv:2: right is "x"/.test(error.message) &&
        /regions\.csv:3: right and bottom lie before/.test(error.message) &&
        /regions\.csv:4: empty image/.test(error.message),
    );
  });
  const incomplete = { "regions.csv": "image,left,top\na.png,1,2\n" };
  await withTables(incomplete, async (manifest) => {
    await assert.rejects(
      readRois(manifest),
      /:1: missing column "right".*\n.*:1: missing column "bottom"/,
    );
  });
});

Deno.test("the splits of a run find the tables beside their images", async () => {
  const tables = { "regions.csv": "image,x,y\na.png,1,2\n" };
  await withTables(tables, async ({ folder, entries }) => {
    const splits = join(folder, "runs", "splits.csv");
    await Deno.mkdir(join(folder, "runs"));
    await writeSplits(splits, entries);
    const copy = await readManifest(splits);
    const source = (await readRois(copy))!;
    const point = { x: 1, y: 2, width: 0, height: 0 };
    assert.deepEqual(await source.of(copy.entries[0]!), [point]);
  });
});

Deno.test("a manifest without tables has no regions", async () => {
  await withFolder(async (folder) => {
    await writeImages(folder, ["a.png"]);
    const path = join(folder, "manifest.csv");
    await Deno.writeTextFile(path, "image,label\na.png,x\n");
    assert.equal(await readRois(await readManifest(path)), undefined);
  });
});
