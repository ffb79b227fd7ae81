/**
 * Names with accents, composed (NFC) or decomposed (NFD, as macOS writes them):
 * whichever a table or a command line has, the file is found.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { readManifest } from "../lib/data/manifest.ts";
import { readRois } from "../lib/data/rois.ts";
import { spelled } from "../lib/files.ts";
import { openImage } from "../lib/image/open.ts";
import { readCheckpointInfo } from "../lib/model/checkpoint.ts";
import { readPolygons } from "../lib/image/foreground/polygons.ts";
import { fileForeground } from "../lib/image/foreground/tissue.ts";
import { Sources } from "../lib/serve/intake/allowed_sources.ts";
import { withFolder } from "./data/folder.ts";
import { asymmetricPicture, readAll, toSharp } from "./image/pictures.ts";

const FORMS = ["NFC", "NFD"] as const;
const NAME = "é";
const [composed, decomposed] = FORMS.map((form) => NAME.normalize(form));

/**
 * Runs a test with names of the disk in one form, and of the tables in another.
 */
function inBothForms(
  name: string,
  test: (
    folder: string,
    on: (name: string) => string,
    said: (name: string) => string,
  ) => Promise<void>,
): void {
  for (const [onDisk, inTable] of [["NFC", "NFD"], ["NFD", "NFC"]] as const) {
    Deno.test(`${name}: ${inTable} for ${onDisk}`, async () => {
      await withFolder((folder) =>
        test(
          folder,
          (name) => join(folder, name.normalize(onDisk)),
          (name) => join(folder, name.normalize(inTable)),
        )
      );
    });
  }
}

inBothForms("a file is found as it is spelled", async (folder, on, said) => {
  assert.notEqual(composed, decomposed);
  await Deno.mkdir(on("é"));
  await Deno.writeTextFile(on("é/ü.txt"), "a");
  assert.equal(await spelled(said("é/ü.txt")), on("é/ü.txt"));
  assert.equal(await spelled(on("é/ü.txt")), on("é/ü.txt"));
  // A folder of one form, a file of the other.
  await Deno.writeTextFile(join(on("é"), said("ö").slice(folder.length)), "b");
  const mixed = join(said("é"), said("ö").slice(folder.length));
  assert.ok((await Deno.stat(await spelled(mixed))).isFile);
  // A path that does not exist stays as given.
  assert.equal(await spelled(said("é/ä.txt")), said("é/ä.txt"));
  assert.equal(await spelled(join(folder, "a")), join(folder, "a"));
});

Deno.test("of two files that differ in the form of their names, each is itself", async () => {
  await withFolder(async (folder) => {
    const files = [composed!, decomposed!].map((name) => join(folder, name));
    await Deno.writeTextFile(files[0]!, "0");
    const isOneFile = await Deno.stat(files[1]!).then(() => true, () => false);
    if (isOneFile) return; // a disk that does not tell them apart
    await Deno.writeTextFile(files[1]!, "1");
    for (const file of files) assert.equal(await spelled(file), file);
  });
});

inBothForms("an image of the command line", async (_, on, said) => {
  await Deno.writeFile(
    on("Gewebe für.png"),
    await toSharp(asymmetricPicture()).png().toBuffer(),
  );
  const image = await openImage(said("Gewebe für.png"));
  assert.equal(image.source, said("Gewebe für.png"));
  await readAll(image);
  image.close();
});

inBothForms(
  "a manifest, its images and their objects",
  async (folder, on, said) => {
    const png = await toSharp(asymmetricPicture()).png().toBuffer();
    await Deno.mkdir(on("größe"));
    await Deno.writeFile(on("größe/é.png"), png);
    await Deno.writeTextFile(on("größe/é.csv"), "x,y\n1,2\n");
    const manifest = join(folder, "manifest.csv");
    const relative = (name: string) => said(name).slice(folder.length + 1);
    await Deno.writeTextFile(
      manifest,
      `image,label,rois\n${relative("größe/é.png")},a,${
        relative("größe/é.csv")
      }\n`,
    );
    const { entries } = await readManifest(manifest);
    const [entry] = entries;
    assert.equal(entry!.path, on("größe/é.png"));
    const regions = await readRois({ folder, entries });
    const [object] = await regions!.of(entry!);
    assert.deepEqual([object!.x, object!.y], [1, 2]);

    // Twice the same image, by both names.
    await Deno.writeTextFile(
      manifest,
      `image,label\n${relative("größe/é.png")},a\n${on("größe/é.png")},a\n`,
    );
    await assert.rejects(readManifest(manifest), /is on line 2 too/);
  },
);

inBothForms(
  "a table of the objects of many images",
  async (folder, on, said) => {
    const png = await toSharp(asymmetricPicture()).png().toBuffer();
    await Deno.writeFile(on("é.png"), png);
    const name = (path: string) => path.slice(folder.length + 1);
    await Deno.writeTextFile(
      join(folder, "manifest.csv"),
      `image,label\n${name(on("é.png"))},a\n`,
    );
    await Deno.writeTextFile(
      join(folder, "regions.csv"),
      `image,x,y\n${name(said("é.png"))},3,4\n`,
    );
    const manifest = await readManifest(join(folder, "manifest.csv"));
    const regions = await readRois(manifest);
    const [object] = await regions!.of(manifest.entries[0]!);
    assert.deepEqual([object!.x, object!.y], [3, 4]);
  },
);

inBothForms("a table itself, a mask and polygons", async (_, on, said) => {
  await Deno.writeTextFile(on("é.csv"), "image,label\n");
  await assert.rejects(readManifest(said("é.csv")), /no rows/);
  const ring = [[0, 0], [9, 0], [9, 9]];
  await Deno.writeTextFile(
    on("é.geojson"),
    JSON.stringify({ type: "Polygon", coordinates: [ring] }),
  );
  assert.equal((await readPolygons(said("é.geojson"))).length, 1);
  assert.equal((await fileForeground(said("é.geojson"))).kind, "polygons");
});

inBothForms("the folder of a run", async (folder, on, said) => {
  await Deno.mkdir(on("läufe"));
  await Deno.writeTextFile(on("läufe/best.safetensors"), "none");
  const missing = /Cannot find/;
  await assert.rejects(readCheckpointInfo(said("läufe")), (error: Error) => {
    assert.doesNotMatch(error.message, missing); // it was read, and is damaged
    return true;
  });
  await assert.rejects(
    readCheckpointInfo(join(folder, "ä")),
    /Cannot find the checkpoint/,
  );
});

inBothForms("an image that a request names", async (folder, on, said) => {
  await Deno.writeTextFile(on("é.png"), "");
  const sources = await Sources.open({ roots: [folder], hosts: [] });
  const real = await Deno.realPath(on("é.png"));
  for (const name of [said("é.png").slice(folder.length + 1), said("é.png")]) {
    assert.equal(await sources.file(name), real);
  }
  await assert.rejects(sources.file("ü.png"), /there is no such file/);
});
