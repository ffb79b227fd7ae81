import assert from "node:assert/strict";
import { join } from "node:path";
import { describeAdapter, findAdapter } from "../../lib/engine/webgpu.ts";
import { preset } from "../../lib/model/presets.ts";
import {
  startClassifyingEngine,
  startFaster,
  startTrainingEngine,
  timedClassifying,
  timedTraining,
} from "../../lib/train/engine_choice.ts";
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
      const images = await writePictures(folder, 0, 6);
      const start = () =>
        startFaster(
          timedTraining({
            images,
            config,
            classes: CLASSES,
            workers: 2,
            signal: new AbortController().signal,
          }),
          { adapter: describeAdapter(adapter!), file },
        );
      const file = join(folder, "caches", "engines.json");
      const first = await start();
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
      const second = await start();
      assert.equal(second.backend, faster);
      assert.match(second.reason, /, as measured before/);
      assert.equal(await Deno.readTextFile(file), text);

      // The other way round, another batch, and a file that is damaged.
      const turned = text.replace(/"wasm"/, `"old"`)
        .replace(/"webgpu"/, `"wasm"`).replace(/"old"/, `"webgpu"`);
      await Deno.writeTextFile(file, turned);
      const third = await start();
      assert.notEqual(third.backend, faster);
      config.training.batchSize = 1;
      const fourth = await start();
      assert.match(fourth.reason, /, by three steps of each/);
      await Deno.writeTextFile(file, text.slice(1));
      const fifth = await start();
      assert.match(fifth.reason, /, by three steps of each/);
    });
  },
});

Deno.test({
  name: "so do classifications of a model, whatever trainings took",
  ignore: adapter === null,
  async fn() {
    await inFolder(async (folder) => {
      const config = preset("colon");
      const file = join(folder, "engines.json");
      const start = (workers: number) =>
        startFaster(
          timedClassifying({
            config,
            classes: CLASSES,
            workers,
            signal: new AbortController().signal,
          }),
          { adapter: describeAdapter(adapter!), file },
        );
      const first = await start(1);
      assert.match(
        first.reason,
        /^w\w+: .* s by 1 worker, .* s on .*, by a few images on each/,
      );
      const second = await start(1);
      assert.equal(second.backend, first.backend);
      assert.match(second.reason, /, as measured before/);
      // What takes other time is measured.
      assert.match((await start(2)).reason, /by 2 workers/);
      config.evaluation.samples = 3;
      assert.match((await start(1)).reason, /, by a few images on each/);
      const kept = JSON.parse(await Deno.readTextFile(file));
      assert.equal(Object.keys(kept).length, 3);
    });
  },
});

Deno.test("without a hardware GPU nothing is timed", async () => {
  if (adapter && !describeAdapter(adapter).software) return;
  const signal = new AbortController().signal;
  const question = {
    config: preset("colon"),
    classes: CLASSES,
    workers: 2,
    signal,
  };
  for (
    const engine of [
      await startClassifyingEngine(question),
      // Images that a trial could not read.
      await startTrainingEngine({
        ...question,
        images: Array.from(
          { length: 99 },
          (_, i) => ({
            image: "none.png",
            path: "none.png",
            label: CLASSES[0]!,
            classIndex: 0,
            manifest: "none.csv",
            line: i + 2,
          }),
        ),
      }),
    ]
  ) assert.match(engine.reason, /^wasm: no (hardware )?WebGPU adapter/);
});
