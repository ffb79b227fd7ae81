import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";
import { pieceWork } from "../../../lib/serve/jobs/cut_batch.ts";
import { Isolation } from "../../../lib/serve/jobs/isolation.ts";
import { JobRunner } from "../../../lib/serve/jobs/runner.ts";
import { OWN_FOLDERS } from "../../../lib/serve/jobs/shared_folders.ts";
import { SqliteJobStore } from "../../../lib/serve/jobs/sqlite_store.ts";
import { Messages } from "../../../lib/serve/redaction.ts";
import { eventually } from "../../waiting.ts";

Deno.test("a piece that runs is stopped when its batch is cancelled", async () => {
  const folder = await Deno.makeTempDir({ prefix: "zoomin-" });
  const open = (name: string) =>
    new SqliteJobStore(`${folder}/${name}`, { leaseMs: 60_000, queuedJobs: 9 });
  const store = open("wholes.sqlite"), pieces = open("pieces.sqlite");
  const log = () => {};
  const runner = new JobRunner({
    store: pieces,
    folder,
    shared: OWN_FOLDERS,
    works: {
      batch: pieceWork(async ({ signal }) => {
        await pause(2 ** 30, undefined, { signal }).catch(() => {});
        signal.throwIfAborted();
      }, { store, pieces, log }),
    },
    isolation: new Isolation({ store: pieces, busy: () => 0, aloneMs: 1 }),
    isReady: () => true,
    onEnd() {},
    messages: new Messages([]),
    log,
    beatMs: 100,
  });
  const stateOf = async (id: string) => (await pieces.get(id))?.state;
  try {
    await store.add({ id: "whole", kind: "batch", request: {} });
    const request = { batch: "whole" };
    await pieces.add({ id: "running", kind: "batch", request });
    runner.start();
    await eventually(
      "it runs",
      async () => await stateOf("running") === "running",
    );
    await store.cancel("whole");
    await eventually(
      "it is stopped",
      async () => await stateOf("running") === "cancelled",
    );
    await pieces.add({ id: "late", kind: "batch", request });
    await eventually(
      "a piece that comes later is not begun",
      async () => await stateOf("late") === "cancelled",
    );
    assert.equal((await pieces.get("late"))?.error, null);
  } finally {
    await runner.drain();
    for (const one of [store, pieces]) await one.close();
    await Deno.remove(folder, { recursive: true });
  }
});
