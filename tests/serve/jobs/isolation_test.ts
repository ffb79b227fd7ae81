import assert from "node:assert/strict";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { Isolation } from "../../../lib/serve/jobs/isolation.ts";
import { SqliteJobStore } from "../../../lib/serve/jobs/sqlite_store.ts";
import type { Job } from "../../../lib/serve/jobs/store.ts";
import { LONGEST_MS, within } from "../../waiting.ts";

const signal = new AbortController().signal;

/** A process with a store of jobs, whose engines compute `engines.busy`. */
class World implements AsyncDisposable {
  readonly engines = { busy: 0 };
  readonly isolation: Isolation;

  private constructor(
    readonly folder: string,
    readonly store: SqliteJobStore,
    aloneMs: number,
  ) {
    const busy = () => this.engines.busy;
    this.isolation = new Isolation({ store, busy, aloneMs });
  }

  static async make(
    { aloneMs = 5000, losses = 0 } = {},
  ): Promise<[World, Job]> {
    const folder = await Deno.makeTempDir({ prefix: "zoomin-" });
    const store = new SqliteJobStore(join(folder, "jobs.sqlite"), {
      leaseMs: LONGEST_MS,
      queuedJobs: 10,
    });
    const world = new World(folder, store, aloneMs);
    await store.add({ id: "a", kind: "batch", request: {} });
    for (let loss = 0; loss < losses; loss++) await world.lose();
    return [world, await world.claim()];
  }

  async claim(): Promise<Job> {
    return (await this.store.claim(["batch"]))!;
  }

  /** Claims the job, which ends its holder beside other work. */
  async lose(): Promise<void> {
    await this.store.release(await this.claim(), { setback: true });
  }

  /** True if the crash of this process now would be the job's fault. */
  async isBlamed(job: Job): Promise<boolean> {
    await this.store.release(job, { setback: true });
    // Ten such losses end a job; those beside other work are not counted.
    for (let loss = 1; loss < 10; loss++) {
      const again = await this.claim();
      await this.store.noteAlone(again, true);
      await this.store.release(again, { setback: true });
    }
    return await this.claim() === undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.store.close();
    await Deno.remove(this.folder, { recursive: true });
  }
}

/** Whether a promise has settled after some turns. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  let isDone = false;
  promise.then(() => isDone = true, () => isDone = true);
  for (let i = 0; i < 20; i++) await setImmediate();
  return isDone;
}

Deno.test("a crash is the fault of a job that was alone", async () => {
  const [world, job] = await World.make();
  await using _ = world;
  {
    using _caller = await world.isolation.enterCaller(signal);
  }
  using _job = await world.isolation.enterJob(job, signal);
  assert.equal(await world.isBlamed(job), true);
});

for (
  const [name, accompany] of Object.entries<(world: World) => Promise<unknown>>(
    {
      "a caller who came later": ({ isolation }) =>
        isolation.enterCaller(signal),
      "a caller who has left again": async ({ isolation }) => {
        using _caller = await isolation.enterCaller(signal);
      },
      "another job": async (world) => {
        const { store, isolation } = world;
        await store.add({ id: "b", kind: "classify", request: {} });
        const other = (await store.claim(["classify"]))!;
        await isolation.enterJob(other, signal);
        await store.finish(other, { state: "succeeded" });
      },
    },
  )
) {
  Deno.test(`a crash beside ${name} is not`, async () => {
    const [world, job] = await World.make();
    await using _ = world;
    using _job = await world.isolation.enterJob(job, signal);
    await accompany(world);
    assert.equal(await world.isBlamed(job), false);
  });
}

for (const what of ["a caller", "work that was given up"]) {
  Deno.test(`a crash beside ${what} that was there before is not`, async () => {
    const [world, job] = await World.make();
    await using _ = world;
    if (what === "a caller") await world.isolation.enterCaller(signal);
    else world.engines.busy = 1;
    using _job = await world.isolation.enterJob(job, signal);
    assert.equal(await world.isBlamed(job), false);
  });
}

Deno.test("a suspect waits for all other work, and keeps callers out", async () => {
  const [world, job] = await World.make({ losses: 3 });
  await using _ = world;
  const { isolation, engines } = world;
  const first = await isolation.enterCaller(signal);
  engines.busy = 1;
  const entered = isolation.enterJob(job, signal);
  const later = isolation.enterCaller(signal);
  first[Symbol.dispose](); // it has left, and is still computed for
  assert.equal(await isSettled(entered), false);
  engines.busy = 0;
  using _job = await within("the job enters", entered);
  assert.equal(await isSettled(later), false);
  isolation.clear(job); // it has made progress
  using _caller = await within("the caller enters", later);
  assert.equal(await world.isBlamed(job), false);
});

Deno.test("a suspect keeps callers out until it ends, or its time is over", async () => {
  for (const aloneMs of [5000, 1]) {
    const [world, job] = await World.make({ losses: 3, aloneMs });
    await using _ = world;
    const entered = await world.isolation.enterJob(job, signal);
    const caller = world.isolation.enterCaller(signal);
    if (aloneMs > 1) entered[Symbol.dispose]();
    using _caller = await within("the caller enters", caller);
  }
});

Deno.test("callers who would wait long are told to come again", async () => {
  const [world, job] = await World.make({ losses: 5 }); // 5 s, 10 s, 20 s
  await using _ = world;
  const { isolation } = world;
  using _job = await isolation.enterJob(job, signal);
  const message = /runs alone: try again in \d+ s/;
  assert.match(isolation.notReady!, message);
  await assert.rejects(isolation.enterCaller(signal), {
    name: "NotReadyError",
    message,
  });
  isolation.clear(job);
  assert.equal(isolation.notReady, undefined);
});

Deno.test("who waits can leave, a job and a caller", async () => {
  const [world, job] = await World.make({ losses: 3 });
  await using _ = world;
  const { isolation, engines } = world;
  engines.busy = 1;
  const stop = new AbortController(), leave = new AbortController();
  const entered = isolation.enterJob(job, stop.signal);
  const caller = isolation.enterCaller(leave.signal);
  leave.abort(new Error("left"));
  await assert.rejects(caller, { message: "left" });
  stop.abort(new Error("stopped"));
  await assert.rejects(entered, { message: "stopped" });
  using _caller = await within(
    "the next enters",
    isolation.enterCaller(signal),
  );
});
