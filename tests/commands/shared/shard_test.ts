import assert from "node:assert/strict";
import { join } from "node:path";
import {
  parseShard,
  readParts,
  shareOfItems,
  withoutShard,
  writePart,
} from "../../../lib/commands/shared/shard.ts";
import { withFolder } from "../../data/folder.ts";

/** `auto` under a scheduler that sets `variables`. */
function scheduled(variables: Record<string, string>) {
  return parseShard("auto", (name) => variables[name]);
}

Deno.test("a shard is written, or what the scheduler says", () => {
  assert.deepEqual(parseShard("3/8"), { index: 3, count: 8 });
  const array = { SLURM_ARRAY_TASK_ID: "14", SLURM_ARRAY_TASK_COUNT: "4" };
  assert.deepEqual(
    scheduled({
      ...array,
      SLURM_ARRAY_TASK_MIN: "10",
      SLURM_ARRAY_TASK_STEP: "2",
    }),
    { index: 3, count: 4 },
  );
  assert.deepEqual(
    scheduled({ SLURM_ARRAY_TASK_ID: "0", SLURM_ARRAY_TASK_COUNT: "4" }),
    { index: 1, count: 4 },
  );
  assert.deepEqual(
    scheduled({ JOB_COMPLETION_INDEX: "0", JOB_COMPLETION_COUNT: "2" }),
    { index: 1, count: 2 },
  );
  for (const variables of [{}, array, { JOB_COMPLETION_INDEX: "0" }]) {
    assert.throws(() => scheduled(variables), {
      name: "UsageError",
      message: /^--shard auto finds no scheduler/,
    });
  }
  for (const text of ["", "1", "0/2", "3/2", "1/0", "-1/2", "1.5/2", "a/b"]) {
    assert.throws(() => parseShard(text), /must be I\/N/, text);
  }
});

Deno.test("each item is in one shard, and the shards differ by one at most", () => {
  const items = Array.from({ length: 11 }, (_, i) => `item ${i}`);
  const shares = [1, 2, 3, 4].map((index) =>
    shareOfItems(items, { index, count: 4 })
  );
  assert.deepEqual(shares.map(({ length }) => length), [3, 3, 3, 2]);
  const all = shares.flat().sort((a, b) => a.at - b.at);
  assert.deepEqual(all, items.map((item, at) => ({ at, item })));
});

Deno.test("the flags of a shard are its own", () => {
  const words = "--seed 1 --shard 1/2 --parts=p --json --parts p --shard=auto";
  assert.deepEqual(withoutShard(words.split(" ")), ["--seed", "1", "--json"]);
});

Deno.test("parts are merged in order, if all are there and of one command", async () => {
  await withFolder(async (folder) => {
    const write = (index: number, argv = ["--seed", "1"]) =>
      writePart(folder, {
        command: "eval",
        argv,
        shard: { index, count: 2 },
        items: 3,
        environment: { host: index },
      }, shareOfItems(["a", "b", "c"], { index, count: 2 }));
    const fails = (message: RegExp) =>
      assert.rejects(readParts(folder), { name: "DataError", message });
    await fails(/has no part-I-of-N\.jsonl/);
    await write(2);
    await fails(/1 of 2 parts are missing, the first of shard 1\/2/);
    await write(1, ["--seed", "2"]);
    await fails(/part-1-of-2.jsonl and part-2-of-2.jsonl are of different/);
    const path = await write(1);
    assert.deepEqual(await readParts(folder), {
      command: "eval",
      argv: ["--seed", "1"],
      environment: { host: 1 },
      items: ["a", "b", "c"],
    });
    const text = await Deno.readTextFile(path);
    await Deno.writeTextFile(path, text.split("\n").slice(0, 2).join("\n"));
    await fails(/no part has item 2/);
    await Deno.writeTextFile(path, "{");
    await fails(/part-1-of-2.jsonl: it is no part of a shard/);
    await assert.rejects(readParts(join(folder, "none")), {
      name: "DataError",
      message: /it cannot be read/,
    });
  });
});
