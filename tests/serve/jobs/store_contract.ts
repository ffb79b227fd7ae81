/**
 * What every store of jobs does, wherever it keeps them: tests that each runs.
 *
 * @module
 */
import assert from "node:assert/strict";
import { BusyError, ConflictError } from "../../../lib/serve/errors.ts";
import {
  isSuspect,
  type Job,
  JOB_KINDS,
  type JobKind,
  type JobStore,
} from "../../../lib/serve/jobs/store.ts";
import { eventually } from "../../waiting.ts";

/** Two processes of one store, and the time that passes for both. */
export interface Stores {
  one: JobStore;
  two: JobStore;
  /** Lets the leases of silent holders end. */
  expire(): Promise<void>;
  /** Lets half of a lease pass. */
  passHalf(): Promise<void>;
}

/** Options of {@linkcode StoreKind.withStores}. */
export interface StoresOptions {
  /** Most jobs that may wait. */
  queuedJobs?: number;
  /** Leases end in this test: they are short, if time is real. */
  areLeasesShort?: boolean;
}

/** A kind of store. */
export interface StoreKind {
  name: string;
  ignore?: boolean;
  /** Calls `test` with two processes of a new store. */
  withStores(
    test: (stores: Stores) => Promise<void>,
    options?: StoresOptions,
  ): Promise<void>;
}

const KINDS: JobKind[] = ["train", "classify", "batch"];
const NONE_WAITING = Object.fromEntries(JOB_KINDS.map((kind) => [kind, 0]));

function newJob(id: string, kind: JobKind = "classify", key?: string) {
  return {
    id,
    kind,
    request: { of: id },
    ...(key && { idempotency: { key, digest: `digest of ${id}` } }),
  };
}

/** Claims a job that is then the only work of its process. */
async function claimAlone(store: JobStore): Promise<Job | undefined> {
  const job = await store.claim(KINDS);
  if (job) await store.noteAlone(job, true);
  return job;
}

/** A job that makes the model `name`, if there is none. */
function newRun(id: string, name: string, isTaken = false) {
  return {
    id,
    kind: "train" as const,
    request: { name },
    model: { name, isTaken: () => isTaken },
  };
}

/** Registers the tests of a kind of store. */
export function testStore(
  { name: kind, ignore = false, withStores }: StoreKind,
): void {
  const test = (
    name: string,
    fn: (stores: Stores) => Promise<void>,
    options?: StoresOptions,
  ) =>
    Deno.test({
      name: `${kind}: ${name}`,
      ignore,
      fn: () => withStores(fn, options),
    });

  test("a job is claimed once, the oldest first, by its kind", async ({ one, two }) => {
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
    await eventually("all are counted", async () => {
      const { running, queued } = await one.counts();
      return running === 3 && queued === 0;
    });
  });

  test("a kind that only a newer program knows is left to it", async ({ one, two }) => {
    const later = "later" as JobKind;
    await one.add(newJob("a", later));
    await one.add(newJob("b"));
    assert.equal((await two.claim(KINDS))?.id, "b");
    assert.equal(await two.claim(KINDS), undefined);
    assert.deepEqual(await two.waiting(), NONE_WAITING);
    const known = await two.get("a");
    assert.equal(known?.kind, later);
    assert.equal(known.state, "queued");
    assert.deepEqual(
      (await two.list({ limit: 9 })).map(({ id }) => id),
      ["b", "a"],
    );
    assert.equal((await two.cancel("a"))?.state, "cancelled");
  });

  test("jobs that wait are counted by kind", async ({ one, two }) => {
    await one.add(newJob("a"));
    await one.add(newJob("b"));
    await one.add(newJob("c", "batch"));
    await one.claim(["classify"]);
    await eventually("both count the same", async () => {
      const waiting = await two.waiting();
      return waiting.classify === 1 && waiting.batch === 1;
    });
    assert.deepEqual(await one.waiting(), {
      ...NONE_WAITING,
      classify: 1,
      batch: 1,
    });
    await one.cancel("b");
    assert.equal((await one.waiting()).classify, 0);
  });

  test(
    "a silent holder loses its job and can no longer change it",
    async ({ one, two, expire }) => {
      await one.add(newJob("a"));
      const lost = (await one.claim(KINDS))!;
      await expire();
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
    },
    { areLeasesShort: true },
  );

  test("heartbeats keep a job", async ({ one, two, passHalf }) => {
    await one.add(newJob("a"));
    const job = (await one.claim(KINDS))!;
    for (let i = 0; i < 3; i++) {
      await passHalf();
      assert.equal(await one.beat(job), "held");
      assert.equal(await two.claim(KINDS), undefined);
    }
  });

  test("a job that waits is cancelled at once, one that runs is asked to stop", async ({ one, two }) => {
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

  test(
    "a job that was asked to stop ends with its holder",
    async ({ one, two, expire }) => {
      await one.add(newJob("a"));
      await one.claim(KINDS);
      await two.cancel("a");
      await expire();
      assert.equal(await two.claim(KINDS), undefined);
      assert.equal((await two.get("a"))?.state, "cancelled");
    },
    { areLeasesShort: true },
  );

  test("a job that crashes every holder fails", async ({ one, expire }) => {
    await one.add(newJob("a"));
    let claims = 0;
    for (; claims < 12 && await claimAlone(one); claims++) {
      await expire();
    }
    assert.equal(claims, 10);
    const job = await one.get("a");
    assert.equal(job?.state, "failed");
    assert.match(job.error!, /without progress/);
  }, { areLeasesShort: true });

  test(
    "a crash beside other work counts against no job",
    async ({ one, expire }) => {
      await one.add(newJob("a"));
      for (let crashes = 0; crashes < 30; crashes++) {
        const job = (await claimAlone(one))!;
        assert.equal(job?.state, "running", `after ${crashes} crashes`);
        assert.equal(job.losses, crashes);
        assert.equal(isSuspect(job), crashes >= 3);
        await one.noteAlone(job, false); // a caller came
        if (crashes % 2 === 0) await expire();
        else await one.release(job, { setback: true });
      }
      let alone = 0;
      for (; await claimAlone(one); alone++) await expire();
      assert.equal(alone, 10);
      assert.equal((await one.get("a"))?.state, "failed");
    },
    { areLeasesShort: true },
  );

  test(
    "a holder that was lost cannot say that it was alone",
    async ({ one, two, expire }) => {
      await one.add(newJob("a"));
      const lost = (await one.claim(KINDS))!;
      await expire();
      const held = (await two.claim(KINDS))!;
      await one.noteAlone(lost, true);
      await two.release(held, { setback: true });
      assert.equal((await two.claim(KINDS))?.losses, 2);
      for (let crashes = 2; crashes < 12; crashes++) {
        await expire();
        assert.ok(await two.claim(KINDS), `after ${crashes} crashes`);
      }
    },
    { areLeasesShort: true },
  );

  for (const setback of [false, true]) {
    test(`a job that is given back is ${setback ? "given up after setbacks" : "not given up"}`, async ({ one }) => {
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
  }

  test("progress takes back the setbacks of a job", async ({ one }) => {
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

  test("a job that is resumed begins without setbacks", async ({ one }) => {
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

  test("one key is one job, and another request under it a conflict", async ({ one, two }) => {
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

  test("no two jobs train a model of one name at a time", async ({ one, two }) => {
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

  test("no job trains a model of a name that is taken", async ({ one }) => {
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

  test(
    "the queue is bounded, and jobs that ended long ago are removed",
    async ({ one }) => {
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
    },
    { queuedJobs: 2 },
  );

  test(
    "a job that crashes others ends, and none of them with it",
    async ({ one, expire }) => {
      await one.add(newJob("guilty", "batch"));
      await one.add(newJob("innocent"));
      await one.add(newJob("other", "train"));
      const isLive = async (id: string) =>
        (await one.get(id))?.finishedAt === null;
      for (let crashes = 0; crashes < 100; crashes++) {
        if (
          !await isLive("guilty") && !await isLive("innocent") &&
          !await isLive("other")
        ) break;
        const running = [];
        for (const kind of KINDS) {
          const job = await one.claim([kind]);
          if (job) running.push(job);
        }
        const [only, ...others] = running;
        if (only && others.length === 0) await one.noteAlone(only, true);
        if (running.some(({ id }) => id === "guilty")) {
          await expire(); // the process dies with all of them
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
    },
    { areLeasesShort: true },
  );
}
