import assert from "node:assert/strict";
import type { ManifestEntry } from "../../../lib/data/manifest.ts";
import { preset } from "../../../lib/model/presets.ts";
import { tasksInTurn } from "../../../lib/train/runs/crossval.ts";
import { foldTasks } from "../../../lib/train/runs/fold_task.ts";

function entriesOf(folds: readonly (number | undefined)[]): ManifestEntry[] {
  return folds.map((fold, i) => ({
    image: `${i}.png`,
    path: `/data/${i}.png`,
    label: "a",
    classIndex: 0,
    manifest: "m",
    line: i + 2,
    ...(fold !== undefined && { fold }),
  }));
}

const ENTRIES = entriesOf([10, 2, undefined, 1, 2, 10]);

function named(tasks: ReturnType<typeof foldTasks>): string[] {
  return tasks.map(({ protocol, fold }) => `${protocol} ${fold}`);
}

Deno.test("folds are taken by number, the published protocol first", () => {
  // A held-out task may use best-epoch's training.
  for (
    const protocols of [["best-epoch", "held-out"], [
      "held-out",
      "best-epoch",
    ]] as const
  ) {
    assert.deepEqual(named(foldTasks(ENTRIES, { protocols })), [
      ...["best-epoch 1", "best-epoch 2", "best-epoch 10"],
      ...["held-out 1", "held-out 2", "held-out 10"],
    ]);
  }
  assert.deepEqual(
    named(foldTasks(ENTRIES, { protocols: ["held-out"], folds: [10, 1] })),
    ["held-out 10", "held-out 1"],
  );
});

Deno.test("one worker takes a fold's tasks where the second needs no training", () => {
  const tasks = foldTasks(ENTRIES, { protocols: ["best-epoch", "held-out"] });
  const config = preset("needle");
  const turns = (validation: number, patience: number | null) => {
    Object.assign(config.training, { validation, patience });
    return tasksInTurn(tasks, config).map(named);
  };
  assert.deepEqual(turns(0, null), [
    ["best-epoch 1", "held-out 1"],
    ["best-epoch 2", "held-out 2"],
    ["best-epoch 10", "held-out 10"],
  ]);
  const alone = named(tasks).map((task) => [task]);
  assert.deepEqual(turns(0.1, null), alone);
  assert.deepEqual(turns(0, 3), alone); // a score of the fold may end the one
});
