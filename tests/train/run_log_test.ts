import assert from "node:assert/strict";
import { join } from "node:path";
import { DataError } from "../../lib/errors.ts";
import { readLog, RunLog } from "../../lib/train/run_log.ts";

/** Runs `test` with the path of a log in a folder of its own. */
async function withLog(test: (path: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "zoomin-" });
  try {
    await test(join(folder, "log.jsonl"));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("a run that is resumed keeps its log up to its epoch", async () => {
  await withLog(async (path) => {
    const log = new RunLog(path);
    await log.start({ type: "run", seed: 1 });
    for (const epoch of [1, 2, 3]) await log.append({ type: "epoch", epoch });
    await Deno.writeTextFile(path, '{"type":"epo', { append: true });
    await log.resume(2, { type: "run", seed: 2 });
    assert.deepEqual(await readLog(path), [
      { type: "run", seed: 1 },
      { type: "epoch", epoch: 1 },
      { type: "epoch", epoch: 2 },
      { type: "run", seed: 2 },
    ]);
  });
});

Deno.test("a damaged line of a log is named", async () => {
  await withLog(async (path) => {
    for (const damaged of ['{"type":', "", "null", "[]", "3"]) {
      await Deno.writeTextFile(path, `{"type":"run"}\n${damaged}\n`);
      await assert.rejects(readLog(path), (error: Error) => {
        assert.ok(error instanceof DataError);
        assert.match(error.message, /log\.jsonl:2: it is no JSON object/);
        return true;
      });
    }
  });
});
