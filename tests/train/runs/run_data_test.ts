import assert from "node:assert/strict";
import { join } from "node:path";
import { readManifest } from "../../../lib/data/manifest.ts";
import { preset } from "../../../lib/model/presets.ts";
import { runData, runSides } from "../../../lib/train/runs/run_data.ts";
import { withFolder, writeImages } from "../../data/folder.ts";

Deno.test("validation is a share of the training images, whoever made the split", async () => {
  await withFolder(async (folder) => {
    const names = Array.from({ length: 40 }, (_, i) => `${i}.png`);
    await writeImages(folder, names);
    const table = (columns: string, row: (name: string, i: number) => string) =>
      Deno.writeTextFile(
        join(folder, "manifest.csv"),
        [columns, ...names.map(row)].join("\n"),
      );
    const sides = async (test: number, validation: number) => {
      const config = preset("needle");
      config.training.validation = validation;
      const manifest = await readManifest(join(folder, "manifest.csv"));
      const run = { manifest, config, seed: 0, folder: join(folder, "run") };
      const sides = await runSides({ ...run, test, resume: false });
      const data = await runData(sides, run);
      return [data.train.length, data.validation.length];
    };
    await table("image,label", (name, i) => `${name},${i % 2 ? "a" : "b"}`);
    assert.deepEqual(await sides(0.5, 0.2), [16, 4]);
    assert.deepEqual(await sides(0.2, 0.9), [4, 28]);
    await table(
      "image,label,split",
      (name, i) => `${name},${i % 2 ? "a" : "b"},${i < 20 ? "train" : "test"}`,
    );
    assert.deepEqual(await sides(0.2, 0.2), [16, 4]);
  });
});
