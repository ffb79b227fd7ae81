import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { writeSplits } from "../../lib/data/folds.ts";
import { type Manifest, readManifest } from "../../lib/data/manifest.ts";
import { readRois, readRoisOf } from "../../lib/data/rois.ts";
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
      await Deno.mkdir(dirname(join(folder, name)), { recursive: true });
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

const COCO = JSON.stringify({
  images: [
    { id: 1, file_name: "a.png" },
    { id: 2, file_name: "elsewhere/b.png" },
    { id: 3, file_name: "of_no_manifest.png" },
  ],
  categories: [{ id: 1, name: "cell" }, { id: 2, name: "Ignore*" }],
  annotations: [
    { image_id: 1, category_id: 1, bbox: [1, 2, 3, 4] },
    { image_id: 2, category_id: 2, bbox: [5, 6, 7, 8] },
    { image_id: 3, category_id: 1, bbox: [0, 0, 1, 1] },
  ],
});

Deno.test("a column rois names files of any format, and files of many images", async () => {
  const geometry = { type: "Point", coordinates: [3, 4] };
  const tables = {
    "manifest.csv":
      "image,label,rois\na.png,1,all.json\nb.png,0,all.json\nc.png,0,c.json\nd.png,1,d.json\n",
    "c.png": "c",
    "d.png": "d",
    "all.json": COCO,
    "c.json": JSON.stringify([{ type: "Feature", geometry }]),
    "d.json": '[{"type":"Feature"',
  };
  await withTables(tables, async ({ folder, entries }) => {
    const source = (await readRois({ folder, entries }))!;
    const [a, b, c, d] = entries;
    const [box] = await source.of(a!);
    assert.deepEqual(box, { x: 1, y: 2, width: 3, height: 4, type: "cell" });
    const [ignored] = await source.of(b!);
    assert.equal(ignored!.x, 5);
    assert.ok(source.relevant(a!, box!));
    assert.ok(!source.relevant(b!, ignored!));
    assert.deepEqual(await source.of(c!), [{
      x: 3,
      y: 4,
      width: 0,
      height: 0,
    }]);
    assert.ok(await source.has(d!)); // without a look at its faults
    await assert.rejects(source.of(d!), /d\.json as JSON annotations/);
  });
});

Deno.test("a type that is the label of other images does not count", async () => {
  const tables = {
    "regions.csv": "image,x,y,type\na.png,1,2,0\na.png,1,2,1\n",
  };
  await withTables(tables, async (manifest) => {
    const source = (await readRois(manifest))!;
    const [a] = manifest.entries; // of label 1
    const objects = await source.of(a!);
    assert.deepEqual(objects.map((o) => source.relevant(a!, o)), [false, true]);
  });
});

Deno.test("one file for all images goes by path, then by a name that is alone", async () => {
  const of = (...names: string[]) =>
    JSON.stringify({
      images: names.map((file_name, id) => ({ id, file_name })),
      annotations: names.map((_, image_id) => ({
        image_id,
        bbox: [image_id, 0, 1, 1],
      })),
    });
  await withFolder(async (folder) => {
    for (const name of ["x", "y"]) {
      await Deno.mkdir(join(folder, name));
      await Deno.writeTextFile(join(folder, name, "a.png"), name);
    }
    await Deno.writeTextFile(join(folder, "x", "b.png"), "b");
    const path = join(folder, "manifest.csv");
    await Deno.writeTextFile(
      path,
      "image,label\nx/a.png,1\ny/a.png,0\nx/b.png,0\n",
    );
    const manifest = await readManifest(path);
    const file = join(folder, "all.json");
    const found = async (...names: string[]) => {
      await Deno.writeTextFile(file, of(...names));
      const source = await readRoisOf(file, manifest);
      return await Promise.all(
        manifest.entries.map(async (entry) => (await source.of(entry))[0]?.x),
      );
    };
    assert.deepEqual(await found("y/a.png", "x/a.png"), [1, 0, undefined]);
    assert.deepEqual(await found("C:\\images\\b.png"), [
      undefined,
      undefined,
      0,
    ]);
    assert.deepEqual(
      await found("z/b.png", "x/b.png"), // the path comes first
      [undefined, undefined, 1],
    );
    assert.deepEqual(
      await found("x/a.png", "z/a.png"), // of a larger set
      [0, undefined, undefined],
    );
    assert.deepEqual(await found(join(folder, "x/a.png")), [
      0,
      undefined,
      undefined,
    ]);
    await assert.rejects(
      found("a.png"),
      /which image .*all\.json means by "a\.png": x\/a\.png and y\/a\.png have that name/,
    );
    await assert.rejects(
      found("1/b.png", "2/b.png"),
      /means by "1\/b\.png": 1\/b\.png and 2\/b\.png have that name/,
    );
    await assert.rejects(
      found("c.png", "d.png"),
      /none of its images is in the manifest, such as "c\.png"; write/,
    );
    await assert.rejects(found(), /it has no image; export it again$/);
    await Deno.writeTextFile(file, "[]");
    await assert.rejects(
      readRoisOf(file, manifest),
      /as the annotations of many images: it names no image; write a column "image"/,
    );
  });
});

Deno.test("regions.csv goes by paths alone", async () => {
  const tables = {
    "manifest.csv": "image,label\nx/a.png,1\nb.png,0\n",
    "x/a.png": "x",
    "regions.csv": "image,x,y\na.png,1,2\nb.png,3,4\n",
  };
  await withTables(tables, async (manifest) => {
    const source = (await readRois(manifest))!;
    const [a, b] = manifest.entries;
    assert.deepEqual(await source.of(a!), []);
    assert.deepEqual(await source.of(b!), [{
      x: 3,
      y: 4,
      width: 0,
      height: 0,
    }]);
  });
});
