import assert from "node:assert/strict";
import { join } from "node:path";
import { ImageCache } from "../../../lib/image/image_cache.ts";
import { Memory } from "../../../lib/memory.ts";
import { readCheckpoint } from "../../../lib/model/checkpoint.ts";
import { disposeParameters } from "../../../lib/model/parameters.ts";
import { evaluateTeacher } from "../../../lib/train/dense/teacher_evaluation.ts";
import { readLog } from "../../../lib/train/run_log.ts";
import { runFold } from "../../../lib/train/runs/crossval.ts";
import { foldFolder } from "../../../lib/train/runs/fold_task.ts";
import { testOnWasm } from "../../engines.ts";
import { CLASSES, inFolder, toyConfig, writePictures } from "./toy_images.ts";

testOnWasm(
  "the teacher of a fold is scored as in training, and may see no image in part",
  async () => {
    await inFolder(async (folder) => {
      const entries = (await writePictures(folder, 0, 16))
        .map((entry, i) => ({ ...entry, fold: 1 + Math.floor(i / 2) % 2 }));
      const config = toyConfig({ validation: 0 });
      config.network.attention = "uniform"; // no student to train
      const cache = new ImageCache(2 ** 24), memory = new Memory();
      const task = { protocol: "best-epoch", fold: 1 } as const;
      const runs = join(folder, "runs");
      const result = await runFold(entries, task, {
        folder: runs,
        classes: CLASSES,
        config,
        seed: 0,
        cache,
        memory,
        rois: undefined,
        environment: {},
      });
      const run = foldFolder(runs, task);
      const lines = await readLog(join(run, "log.jsonl"));
      const { teacherTestLoss, teacherTestAuc } = lines.at(-1)!;
      const { report, cpuSeconds } = result.teacher!;
      const { logLoss, auc } = report.metrics;
      // The checkpoint has the head as float32.
      assert.ok(Math.abs(logLoss.value! - (teacherTestLoss as number)) < 1e-5);
      assert.equal(auc.value, teacherTestAuc);
      assert.notEqual(logLoss.value, result.report.metrics.logLoss.value);
      assert.equal(report.attention, null); // it looks everywhere
      assert.ok(cpuSeconds > 0 && cpuSeconds < result.cpuSeconds * 2);

      const { model } = await readCheckpoint(run);
      model.config.training.dense!.maxLocations = 8;
      assert.deepEqual(
        await evaluateTeacher(model, entries, { cache, memory }),
        [],
      );
      disposeParameters(model.parameters);
      cache.close();
    });
  },
);
