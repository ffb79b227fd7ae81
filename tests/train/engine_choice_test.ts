import assert from "node:assert/strict";
import { join } from "node:path";
import { describeAdapter, findAdapter } from "../../lib/engine/webgpu.ts";
import { preset } from "../../lib/model/presets.ts";
import { startFaster } from "../../lib/train/engine_choice.ts";
import { CLASSES, inFolder, writePictures } from "./dense/toy_images.ts";

const adapter = await findAdapter();

Deno.test({
  name: "a training takes the engine that is faster, measured once a machine",
  ignore: adapter === null,
  async fn() {
    await inFolder(async (folder) => {
      const config = preset("needle");
      config.referenceClass = CLASSES[0]!;
      Object.assign(config.view, {
        scale1: 0.125,
        scale2: 0.25,
        tileSize: 16,
        tileStride: 8,
        subTileSize: 7,
        samples: 3,
      });
      config.training.batchSize = 2;
      const question = {
        images: await writePictures(folder, 0, 6),
        config,
        classes: CLASSES,
        workers: 2,
        adapter: describeAdapter(adapter!),
        signal: new AbortController().signal,
      };
      const file = join(folder, "caches", "engines.json");
      const first = await startFaster(question, file);
      const text = await Deno.readTextFile(file);
      const [measured] = Object.values(
        JSON.parse(text) as Record<string, Record<"wasm" | "webgpu", number>>,
      );
      const faster = measured!.wasm <= measured!.webgpu ? "wasm" : "webgpu";
      assert.equal(first.backend, faster);
      assert.match(
        first.reason,
        /^w\w+: .* s by 2 workers, .* s on .*, by three steps of each/,
      );
      const second = await startFaster(question, file);
      assert.equal(second.backend, faster);
      assert.match(second.reason, /, as measured before/);
      assert.equal(await Deno.readTextFile(file), text);

      // The other way round, another batch, and a file that is damaged.
      const turned = text.replace(/"wasm"/, `"old"`)
        .replace(/"webgpu"/, `"wasm"`).replace(/"old"/, `"webgpu"`);
      await Deno.writeTextFile(file, turned);
      const third = await startFaster(question, file);
      assert.notEqual(third.backend, faster);
      config.training.batchSize = 1;
      const fourth = await startFaster(question, file);
      assert.match(fourth.reason, /, by three steps of each/);
      await Deno.writeTextFile(file, text.slice(1));
      const fifth = await startFaster(question, file);
      assert.match(fifth.reason, /, by three steps of each/);
    });
  },
});
