import assert from "node:assert/strict";
import { join } from "node:path";
import { NotReadyError } from "../../../lib/serve/errors.ts";
import { batchWork } from "../../../lib/serve/jobs/batch.ts";
import type { Images } from "../../../lib/serve/intake/images.ts";
import { RESULTS_FILE } from "../../../lib/serve/jobs/files.ts";
import type { Log } from "../../../lib/serve/logging.ts";
import { Isolation } from "../../../lib/serve/jobs/isolation.ts";
import { JobRunner } from "../../../lib/serve/jobs/runner.ts";
import { OWN_FOLDERS } from "../../../lib/serve/jobs/shared_folders.ts";
import { Messages } from "../../../lib/serve/redaction.ts";
import type { ModelRegistry } from "../../../lib/serve/models.ts";
import type { Predictor } from "../../../lib/serve/predictor.ts";
import { SqliteJobStore } from "../../../lib/serve/jobs/sqlite_store.ts";
import { Tables } from "../../../lib/serve/tables/tables.ts";
import { eventually, within } from "../../waiting.ts";

const LEASE_MS = 100;

Deno.test("a holder whose lease expired adds nothing to the work of the next", async () => {
  const folder = await Deno.makeTempDir({ prefix: "zoomin-" });
  const store = new SqliteJobStore(join(folder, "jobs.sqlite"), {
    leaseMs: LEASE_MS,
    queuedJobs: 10,
  });
  const asked = Promise.withResolvers<void>();
  /** A process of this store whose engine answers after `ready`. */
  const runner = (
    ready: Promise<void>,
    beatMs: number,
    log: Log = () => {},
  ) => {
    const work = batchWork({
      models: {
        loaded: () => ({}),
        hold: () => ({ [Symbol.dispose]() {} }),
      } as unknown as ModelRegistry,
      images: {
        named: () => ({ async [Symbol.asyncDispose]() {} }),
      } as unknown as Images,
      messages: new Messages([]),
      tables: new Tables({ roots: [], hosts: [] }),
      engine: { places: 4 },
      predictor: {
        async classifyLater() {
          asked.resolve();
          await ready;
          return { result: {} };
        },
      } as unknown as Predictor,
    });
    return new JobRunner({
      shared: OWN_FOLDERS,
      isolation: new Isolation({ store: store, busy: () => 0, aloneMs: 1 }),
      store,
      folder,
      beatMs,
      isReady: () => true,
      onEnd() {},
      log,
      works: { classify: work, batch: work, train: work },
      messages: new Messages([]),
    });
  };
  const { promise: awake, resolve: wake } = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<string>();
  const asleep = runner(awake, 60_000, (_, message) => {
    if (message !== "job started") ended.resolve(message);
  });
  const other = runner(Promise.resolve(), LEASE_MS / 4);
  try {
    const manifest = join(folder, "batch.csv");
    await Deno.writeTextFile(manifest, "image\na\nb\nc\n");
    const request = { manifest, model: "m", seed: 0, heatmaps: false };
    await store.add({ id: "a", kind: "batch", request });
    const job = async () => (await store.get("a"))!;
    asleep.start();
    await within("the engine is asked", asked.promise);
    other.start();
    await eventually("ended", async () => (await job()).finishedAt !== null);
    wake();
    assert.equal(await within("it has ended", ended.promise), "job stopped");
    await asleep.drain();
    const { state, attempts } = await job();
    assert.deepEqual({ state, attempts }, { state: "succeeded", attempts: 2 });
    const text = await Deno.readTextFile(join(folder, "a", RESULTS_FILE));
    const sources = text.trim().split("\n").map((l) => JSON.parse(l).source);
    assert.deepEqual(sources, ["a", "b", "c"]);
  } finally {
    wake();
    await Promise.all([asleep.drain(), other.drain()]);
    store.close();
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("a folder that was not brought whole is not kept for the others", async () => {
  const folder = await Deno.makeTempDir({ prefix: "zoomin-" });
  const store = new SqliteJobStore(join(folder, "jobs.sqlite"), {
    leaseMs: 60_000,
    queuedJobs: 10,
  });
  let isAway = true;
  const kept: number[] = [];
  const runner = new JobRunner({
    shared: {
      ...OWN_FOLDERS,
      fetch() {
        if (!isAway) return Promise.resolve();
        isAway = false;
        return Promise.reject(new NotReadyError("Away in the middle of it"));
      },
      keep(_name, _path, attempt) {
        kept.push(attempt);
        return Promise.resolve(true);
      },
    },
    isolation: new Isolation({ store, busy: () => 0, aloneMs: 1 }),
    store,
    folder,
    beatMs: 60_000,
    isReady: () => true,
    onEnd() {},
    log() {},
    works: { batch: () => Promise.resolve() },
    messages: new Messages([]),
  });
  await store.add({ id: "a", kind: "batch", request: {} });
  runner.start();
  await eventually(
    "it is done",
    async () => (await store.get("a"))?.state === "succeeded",
  );
  await runner.drain();
  assert.deepEqual(kept, [2]);
  await store.close();
  await Deno.remove(folder, { recursive: true });
});
