import assert from "node:assert/strict";
import { join } from "node:path";
import { BusyError, ConflictError } from "../../../lib/serve/errors.ts";
import {
  isSuspect,
  type Job,
  type JobKind,
} from "../../../lib/serve/jobs/store.ts";
import { SqliteJobStore } from "../../../lib/serve/jobs/sqlite_store.ts";
import { Clock } from "../../clock.ts";

const LEASE_MS = 100;
const KINDS: JobKind[] = ["train", "classify", "batch"];

/** Stores as two processes have them: two connections to one file. */
async function withStores(
  test: (
    one: SqliteJobStore,
    two: SqliteJobStore,
    clock: Clock,
  ) => Promise<void>,
  { queuedJobs = 100 } = {},
): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "zoomin-" });
  const open = () =>
    new SqliteJobStore(join(folder, "jobs.sqlite"), {
      leaseMs: LEASE_MS,
      queuedJobs,
    });
  const one = open(), two = open();
  try {
    using clock = new Clock();
    await test(one, two, clock);
  } finally {
    one.close();
    two.close();
    await Deno.remove(folder, { recursive: true });
  }
}

function newJob(id: string, kind: JobKind = "classify", key?: string) {
  return {
    id,
    kind,
    request: { of: id },
    ...(key && { idempotency: { key, digest: `digest of ${id}` } }),
  };
}

/** Claims a job that is then the only work of its process. */
async function claimAlone(store: SqliteJobStore): Promise<Job | undefined> {
  const job = await store.claim(KINDS);
  if (job) await store.noteAlone(job, true);
  return job;
}

Deno.test("a file that is no store is named", async () => {
  const folder = await Deno.makeTempDir({ prefix: "zoomin-" });
  const path = join(folder, "jobs.sqlite");
  await Deno.writeTextFile(path, "no database, but long enough to be one");
  const options = { leaseMs: LEASE_MS, queuedJobs: 1 };
  assert.throws(() => new SqliteJobStore(path, options), {
    name: "DataError",
    message: /^Cannot open .*jobs.sqlite as a store of jobs: file is not/,
  });
  await Deno.remove(folder, { recursive: true });
});

Deno.test("a job is claimed once, the oldest first, by its kind", async () => {
  await withStores(async (one, two) => {
    await one.add(newJob("a"));
    await one.add(newJob("b", "train"));
    await one.add(newJob("c"));
    assert.equal((await two.claim(["train"]))?.id, "b");
    assert.equal((await two.claim(["classify"]))?.id, "a");
    const job = await one.claim(KINDS);
    assert.equal(job?.id, "c");
    assert.deepEqual(job.request, { of: "c" });
    assert.equal(job.attempts, 1);
    assert.equal(await two.claim(KINDS), undefined);
    assert.deepEqual(await one.counts(), {
      queued: 0,
      running: 3,
      succeeded: 0,
      failed: 0,
      cancelled: 0,
    });
  });
});

Deno.test("a silent holder loses its job and can no longer change it", async () => {
  await withStores(async (one, two, clock) => {
    await one.add(newJob("a"));
    const lost = (await one.claim(KINDS))!;
    await clock.pass(2 * LEASE_MS);
    const held = (await two.claim(KINDS))!;
    assert.equal(held.attempts, 2);
    assert.equal(await one.beat(lost, { done: 1 }), "lost");
    assert.equal(await one.finish(lost, { state: "failed" }), false);
    await one.release(lost);
    assert.equal(await two.beat(held, { done: 2 }), "held");
    assert.equal(await two.finish(held, { state: "succeeded" }), true);
    const job = await one.get("a");
    assert.equal(job?.state, "succeeded");
    assert.deepEqual(job.progress, { done: 2 });
  });
});

Deno.test("heartbeats keep a job", async () => {
  await withStores(async (one, two, clock) => {
    await one.add(newJob("a"));
    const job = (await one.claim(KINDS))!;
    for (let i = 0; i < 6; i++) {
      await clock.pass(LEASE_MS / 2);
      assert.equal(await one.beat(job), "held");
      assert.equal(await two.claim(KINDS), undefined);
    }
  });
});

Deno.test("a job that waits is cancelled at once, one that runs is asked to stop", async () => {
  await withStores(async (one, two) => {
    await one.add(newJob("a"));
    await one.add(newJob("b"));
    const job = (await one.claim(KINDS))!;
    assert.equal((await two.cancel("b"))?.state, "cancelled");
    assert.equal((await two.cancel("a"))?.state, "running");
    assert.equal(await one.beat(job), "cancel");
    await one.finish(job, { state: "cancelled" });
    assert.equal(await two.claim(KINDS), undefined);
    assert.equal(await two.cancel("c"), undefined);

    assert.equal((await two.resume("a"))?.state, "queued");
    assert.equal(await two.resume("a"), undefined);
    const again = (await one.claim(KINDS))!;
    assert.equal(again.attempts, 2);
    assert.equal(await one.beat(again), "held", "the old wish is forgotten");
  });
});

Deno.test("a job that was asked to stop ends with its holder", async () => {
  await withStores(async (one, two, clock) => {
    await one.add(newJob("a"));
    await one.claim(KINDS);
    await two.cancel("a");
    await clock.pass(2 * LEASE_MS);
    assert.equal(await two.claim(KINDS), undefined);
    assert.equal((await two.get("a"))?.state, "cancelled");
  });
});

Deno.test("a job that crashes every holder fails", async () => {
  await withStores(async (one, _, clock) => {
    await one.add(newJob("a"));
    let claims = 0;
    for (; claims < 12 && await claimAlone(one); claims++) {
      await clock.pass(LEASE_MS + 10);
    }
    assert.equal(claims, 10);
    const job = await one.get("a");
    assert.equal(job?.state, "failed");
    assert.match(job.error!, /without progress/);
  });
});

Deno.test("a crash beside other work counts against no job", async () => {
  await withStores(async (one, _, clock) => {
    await one.add(newJob("a"));
    for (let crashes = 0; crashes < 30; crashes++) {
      const job = (await claimAlone(one))!;
      assert.equal(job?.state, "running", `after ${crashes} crashes`);
      assert.equal(job.losses, crashes);
      assert.equal(isSuspect(job), crashes >= 3);
      await one.noteAlone(job, false); // a caller came
      if (crashes % 2 === 0) await clock.pass(LEASE_MS + 10);
      else await one.release(job, { setback: true });
    }
    let alone = 0;
    for (; await claimAlone(one); alone++) await clock.pass(LEASE_MS + 10);
    assert.equal(alone, 10);
    assert.equal((await one.get("a"))?.state, "failed");
  });
});

Deno.test("a holder that was lost cannot say that it was alone", async () => {
  await withStores(async (one, two, clock) => {
    await one.add(newJob("a"));
    const lost = (await one.claim(KINDS))!;
    await clock.pass(2 * LEASE_MS);
    const held = (await two.claim(KINDS))!;
    await one.noteAlone(lost, true);
    await two.release(held, { setback: true });
    assert.equal((await two.claim(KINDS))?.losses, 2);
    for (let crashes = 2; crashes < 12; crashes++) {
      await clock.pass(2 * LEASE_MS);
      assert.ok(await two.claim(KINDS), `after ${crashes} crashes`);
    }
  });
});

for (const setback of [false, true]) {
  Deno.test(`a job that is given back is ${setback ? "given up after setbacks" : "not given up"}`, async () => {
    await withStores(async (one) => {
      await one.add(newJob("a"));
      let claims = 0;
      for (; claims < 12; claims++) {
        const job = await claimAlone(one);
        if (job === undefined) break;
        await one.release(job, { setback });
      }
      assert.equal(claims, setback ? 10 : 12);
      const { state } = (await one.get("a"))!;
      assert.equal(state, setback ? "failed" : "queued");
    });
  });
}

Deno.test("progress takes back the setbacks of a job", async () => {
  await withStores(async (one) => {
    await one.add(newJob("a"));
    for (let claims = 0; claims < 15; claims++) {
      const job = (await claimAlone(one))!;
      assert.equal(job?.state, "running", `after ${claims} claims`);
      await one.beat(job, { done: claims });
      await one.beat(job); // says nothing new
      assert.deepEqual((await one.get("a"))?.progress, { done: claims });
      await one.release(job, { setback: true });
    }
    assert.equal((await one.get("a"))?.state, "queued");
  });
});

Deno.test("a job that is resumed begins without setbacks", async () => {
  await withStores(async (one) => {
    await one.add(newJob("a"));
    const giveUp = async () => {
      let claims = 0;
      for (;; claims++) {
        const job = await claimAlone(one);
        if (job === undefined) return claims;
        await one.release(job, { setback: true });
      }
    };
    assert.equal(await giveUp(), 10);
    assert.equal((await one.resume("a"))?.state, "queued");
    assert.equal(await giveUp(), 10);
  });
});

Deno.test("one key is one job, and another request under it a conflict", async () => {
  await withStores(async (one, two) => {
    const first = await one.add(newJob("a", "classify", "key"));
    assert.equal(first.isNew, true);
    const again = await two.add({ ...newJob("a", "classify", "key"), id: "b" });
    assert.deepEqual({ id: again.job.id, isNew: again.isNew }, {
      id: "a",
      isNew: false,
    });
    await assert.rejects(
      two.add(newJob("other", "classify", "key")),
      ConflictError,
    );
  });
});

/** A job that makes the model `name`, if there is none. */
function newRun(id: string, name: string, isTaken = false) {
  return {
    id,
    kind: "train" as const,
    request: { name },
    model: { name, isTaken: () => isTaken },
  };
}

Deno.test("no two jobs train a model of one name at a time", async () => {
  await withStores(async (one, two) => {
    const trained = {
      name: "ConflictError",
      message: /taken by a job that trains it/,
    };
    await one.add(newRun("a", "m"));
    await one.add(newRun("other", "n"));
    await assert.rejects(two.add(newRun("b", "m")), trained);
    const job = (await one.claim(["train"]))!;
    await assert.rejects(two.add(newRun("b", "m")), trained);
    await one.finish(job, { state: "failed" });
    await two.add(newRun("b", "m"));
    await assert.rejects(one.resume("a"), trained);
    assert.equal(await one.resume("b"), undefined);
    await two.cancel("b");
    assert.equal((await one.resume("a"))?.state, "queued");
  });
});

Deno.test("no job trains a model of a name that is taken", async () => {
  await withStores(async (one) => {
    const taken = newRun("a", "m", true);
    await assert.rejects(one.add(taken), {
      name: "ConflictError",
      message: /taken by another model/,
    });
    assert.equal(await one.get("a"), undefined);
    // A repeated key returns its job, which may have made the model.
    const idempotency = { key: "key", digest: "digest" };
    await one.add({ ...newRun("b", "n"), idempotency });
    const again = await one.add({ ...newRun("c", "n", true), idempotency });
    assert.deepEqual({ id: again.job.id, isNew: again.isNew }, {
      id: "b",
      isNew: false,
    });
  });
});

Deno.test("the queue is bounded, and jobs that ended long ago are removed", async () => {
  await withStores(async (one) => {
    await one.add(newJob("a"));
    await one.add(newJob("b"));
    await assert.rejects(one.add(newJob("c")), BusyError);
    const job = (await one.claim(KINDS))!;
    await one.add(newJob("c"));
    await one.finish(job, { state: "succeeded" });
    assert.deepEqual(await one.prune(new Date(Date.now() - 60_000)), []);
    assert.deepEqual(await one.prune(new Date(Date.now() + 1)), ["a"]);
    assert.equal(await one.get("a"), undefined);
    const left = await one.list({ limit: 10 });
    assert.deepEqual(left.map(({ id }) => id), ["c", "b"]);
  }, { queuedJobs: 2 });
});

Deno.test("a job that crashes others ends, and none of them with it", async () => {
  await withStores(async (one, _, clock) => {
    await one.add(newJob("guilty", "batch"));
    await one.add(newJob("innocent"));
    await one.add(newJob("other", "train"));
    for (let crashes = 0; crashes < 100; crashes++) {
      const running = [];
      for (const kind of KINDS) {
        const job = await one.claim([kind]);
        if (job) running.push(job);
      }
      const [only, ...others] = running;
      if (only && others.length === 0) await one.noteAlone(only, true);
      if (running.some(({ id }) => id === "guilty")) {
        await clock.pass(2 * LEASE_MS); // the process dies with all of them
      } else {
        for (const job of running) {
          await one.finish(job, { state: "succeeded" });
        }
      }
    }
    const stateOf = async (id: string) => (await one.get(id))?.state;
    assert.equal(await stateOf("guilty"), "failed");
    assert.equal(await stateOf("innocent"), "succeeded");
    assert.equal(await stateOf("other"), "succeeded");
  });
});
