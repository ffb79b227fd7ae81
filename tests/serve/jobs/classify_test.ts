import assert from "node:assert/strict";
import { join } from "node:path";
import { ImageError } from "../../../lib/errors.ts";
import { classifyWork } from "../../../lib/serve/jobs/classify.ts";
import { HEATMAP_FILE, IMAGE_FILE } from "../../../lib/serve/jobs/files.ts";
import type { Images } from "../../../lib/serve/intake/images.ts";
import { Isolation } from "../../../lib/serve/jobs/isolation.ts";
import { JobRunner } from "../../../lib/serve/jobs/runner.ts";
import { OWN_FOLDERS } from "../../../lib/serve/jobs/shared_folders.ts";
import { Messages } from "../../../lib/serve/redaction.ts";
import type { ModelRegistry } from "../../../lib/serve/models.ts";
import type { Predictor } from "../../../lib/serve/predictor.ts";
import { SqliteJobStore } from "../../../lib/serve/jobs/sqlite_store.ts";
import { eventually } from "../../waiting.ts";

const LEASE_MS = 100;

/** Classifies uploads by reading them: of "bad" nothing can be made. */
const work = classifyWork({
  images: {} as Images,
  models: {
    loaded: () => ({}),
    hold: () => ({ [Symbol.dispose]() {} }),
  } as unknown as ModelRegistry,
  predictor: {
    async classifyLater({ path, name }: { path: string; name: string }) {
      const text = await Deno.readTextFile(path).catch(() => {
        throw new ImageError(`Cannot read ${name}: no such file`);
      });
      if (text === "bad") throw new ImageError(`Cannot decode ${name}`);
      return { result: { label: text }, heatmap: new Uint8Array(1) };
    },
  } as unknown as Predictor,
});

/** A job with an upload in a store, and a runner that is not started. */
async function withJob(
  text: string,
  test: (context: {
    store: SqliteJobStore;
    runner: JobRunner;
    folder: string;
  }) => Promise<void>,
): Promise<void> {
  const jobs = await Deno.makeTempDir({ prefix: "zoomin-" });
  const store = new SqliteJobStore(join(jobs, "jobs.sqlite"), {
    leaseMs: LEASE_MS,
    queuedJobs: 10,
  });
  const runner = new JobRunner({
    shared: OWN_FOLDERS,
    isolation: new Isolation({ store: store, busy: () => 0, aloneMs: 1 }),
    store,
    folder: jobs,
    isReady: () => true,
    onEnd() {},
    log() {},
    works: { classify: work, batch: work, train: work },
    messages: new Messages([jobs]),
    beatMs: LEASE_MS / 4,
  });
  const folder = runner.folderOf("a");
  await Deno.mkdir(folder);
  await Deno.writeTextFile(join(folder, IMAGE_FILE), text);
  const request = { model: "m", seed: 0, upload: "a.png" };
  await store.add({ id: "a", kind: "classify", request });
  try {
    await test({ store, runner, folder });
  } finally {
    await runner.drain();
    store.close();
    await Deno.remove(jobs, { recursive: true });
  }
}

/** Runs jobs until "a" has ended. */
async function end(store: SqliteJobStore, runner: JobRunner) {
  runner.start();
  await eventually(
    "ended",
    async () => (await store.get("a"))!.finishedAt !== null,
  );
  await runner.drain(); // and what comes after the end
  return (await store.get("a"))!;
}

const exists = (path: string) => Deno.stat(path).then(() => true, () => false);

Deno.test("a process that ends before its job did leaves the upload to the next", async () => {
  await withJob("good", async ({ store, runner, folder }) => {
    const job = (await store.claim(["classify"]))!;
    const { signal } = new AbortController();
    await work({ job, folder, report() {}, async assertHeld() {}, signal });
    assert.ok(await exists(join(folder, HEATMAP_FILE)), "its work was done");
    // The process is killed here, before it reports the end.
    const { state, attempts, error } = await end(store, runner);
    assert.deepEqual({ state, attempts, error }, {
      state: "succeeded",
      attempts: 2,
      error: null,
    });
    assert.ok(!await exists(join(folder, IMAGE_FILE)));
  });
});

Deno.test("an upload that cannot be read is removed with its error", async () => {
  await withJob("bad", async ({ store, runner, folder }) => {
    const { state, error } = await end(store, runner);
    assert.equal(state, "failed");
    assert.equal(error, "Cannot decode a.png");
    assert.ok(!await exists(join(folder, IMAGE_FILE)));
  });
});

Deno.test("an upload that is gone is said to be gone", async () => {
  await withJob("good", async ({ store, runner, folder }) => {
    await Deno.remove(join(folder, IMAGE_FILE));
    const { state, error } = await end(store, runner);
    assert.equal(state, "failed");
    assert.match(error!, /^The uploaded image was removed: send it again/);
  });
});
