import assert from "node:assert/strict";
import { cp } from "node:fs/promises";
import { join } from "node:path";
import { readManifest } from "../../../lib/data/manifest.ts";
import { Memory } from "../../../lib/memory.ts";
import { scoreRun } from "../../../lib/serve/jobs/scores.ts";
import { drawAndTrain, folderOfFile } from "../../commands/process.ts";
import { testOnWasm } from "../../engines.ts";

const folder = folderOfFile(drawAndTrain);

testOnWasm("scores give way before each image", async (engine) => {
  const run = join(folder, "scored");
  await cp(join(folder, "run"), run, { recursive: true });
  const data = join(folder, "set", "manifest.csv");
  const { entries } = await readManifest(data);
  const images = entries.slice(0, 3);
  const { signal } = new AbortController();
  let turns = 0;
  const options = {
    folder: run,
    data,
    engine,
    seed: 0,
    memory: new Memory(),
    opening: {},
    signal,
  };
  const scores = await scoreRun(images, {
    ...options,
    turn: () => Promise.resolve(void turns++),
  });
  assert.equal(scores?.images, 3);
  assert.equal(turns, 3);

  const stop = new Error("stopped");
  const scored = scoreRun(images, {
    ...options,
    turn: () => Promise.reject(stop),
  });
  await assert.rejects(scored, stop);
});
