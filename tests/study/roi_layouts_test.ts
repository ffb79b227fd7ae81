import assert from "node:assert/strict";
import { readManifest } from "../../lib/data/manifest.ts";
import { readRois } from "../../lib/data/rois.ts";
import { STUDY_LAYOUTS } from "../../lib/study/roi_layouts.ts";
import { sharedData } from "../shared_data.ts";

/** Numbers of objects, and of relevant ones, by label and image. */
async function countObjects(path: string) {
  const manifest = await readManifest(path);
  const source = (await readRois(manifest, STUDY_LAYOUTS))!;
  return await Promise.all(manifest.entries.map(async (entry) => {
    const objects = await source.of(entry);
    const relevant = objects.filter((o) => source.relevant(entry, o)).length;
    return { label: entry.label, objects: objects.length, relevant };
  }));
}

const colon = sharedData("colon", "manifest.csv");
Deno.test({
  name: "colon: an image is positive just where a nucleus is relevant",
  ignore: colon === undefined,
  async fn() {
    const counts = await countObjects(colon!);
    for (const { label, relevant } of counts) {
      assert.equal(relevant > 0, label === "1");
    }
    const total = counts.reduce((sum, { objects }) => sum + objects, 0);
    assert.equal(total, 22_444); // SOURCE.md
  },
});

const gtsdb = sharedData("gtsdb", "manifest.csv");
Deno.test({
  name: "gtsdb: an image has a relevant sign just where its label is not 0",
  ignore: gtsdb === undefined,
  async fn() {
    for (const { label, relevant } of await countObjects(gtsdb!)) {
      assert.equal(relevant > 0, label !== "0");
    }
  },
});
