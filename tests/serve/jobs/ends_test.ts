/**
 * Ends of jobs, on a real runner and store: what counts as a setback, and what
 * is kept.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { ImageError } from "../../../lib/errors.ts";
import { NotReadyError } from "../../../lib/serve/errors.ts";
import { hasImage, IMAGE_FILE } from "../../../lib/serve/jobs/files.ts";
import { Isolation } from "../../../lib/serve/jobs/isolation.ts";
import { JobRunner, type JobWork } from "../../../lib/serve/jobs/runner.ts";
import type { Job } from "../../../lib/serve/jobs/store.ts";
import { OWN_FOLDERS } from "../../../lib/serve/jobs/shared_folders.ts";
import { Messages } from "../../../lib/serve/redaction.ts";
import { SqliteJobStore } from "../../../lib/serve/jobs/sqlite_store.ts";
import { eventually, LONGEST_MS, within } from "../../waiting.ts";

/** A store with one job, "a", whose image is there, and runners of it. */
class World implements AsyncDisposable {
  readonly store: SqliteJobStore;
  readonly #runners: JobRunner[] = [];

  private constructor(readonly folder: string, leaseMs: number) {
    this.store = this.open(leaseMs);
  }

  static async make({ leaseMs = LONGEST_MS } = {}): Promise<World> {
    const folder = await Deno.makeTempDir({ prefix: "zoomin-" });
    const world = new World(folder, leaseMs);
    await Deno.mkdir(join(folder, "a"));
    await Deno.writeTextFile(join(folder, "a", IMAGE_FILE), "pixels");
    await world.store.add({ id: "a", kind: "classify", request: {} });
    return world;
  }

  /** The same store as another process has it. */
  open(leaseMs = LONGEST_MS): SqliteJobStore {
    return new SqliteJobStore(join(this.folder, "jobs.sqlite"), {
      leaseMs,
      queuedJobs: 10,
    });
  }

  /** A process that works off jobs; it says nothing of itself meanwhile. */
  start(work: JobWork, onLog: (message: string) => void = () => {}): JobRunner {
    const runner = new JobRunner({
      shared: OWN_FOLDERS,
      isolation: new Isolation({
        store: this.store,
        busy: () => 0,
        aloneMs: 1,
      }),
      store: this.store,
      folder: this.folder,
      beatMs: LONGEST_MS,
      isReady: () => true,
      onEnd() {},
      works: { classify: work, batch: work, train: work },
      messages: new Messages([]),
      log: (_, message) => onLog(message),
    });
    this.#runners.push(runner);
    runner.start();
    return runner;
  }

  async job(): Promise<Job> {
    return (await this.store.get("a"))!;
  }

  /** Waits until the job is as wanted. */
  async until(isWanted: (job: Job) => boolean): Promise<Job> {
    let job = await this.job();
    await eventually("the job is as wanted", async () => {
      for (const runner of this.#runners) runner.wake();
      return isWanted(job = await this.job());
    });
    return job;
  }

  hasImage(): Promise<boolean> {
    return hasImage(join(this.folder, "a"));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#runners.map((runner) => runner.drain()));
    this.store.close();
    await Deno.remove(this.folder, { recursive: true });
  }
}

Deno.test("a job that ends the engine each time is given up", async () => {
  await using world = await World.make();
  world.start(() => Promise.reject(new NotReadyError("the engine is lost")));
  const { state, attempts, error } = await world.until(
    ({ finishedAt, attempts }) => finishedAt !== null || attempts > 10,
  );
  assert.deepEqual([state, attempts], ["failed", 10]);
  assert.match(error!, /10 times without progress/);
});

Deno.test("a server that stops is no setback of its jobs", async () => {
  await using world = await World.make();
  for (let stops = 1; stops <= 12; stops++) {
    const runner = world.start(async ({ signal }) => {
      await pause(LONGEST_MS, undefined, { signal });
    });
    await world.until(({ attempts }) => attempts === stops);
    await runner.drain();
    const { state, attempts } = await world.job();
    assert.deepEqual([state, attempts], ["queued", stops]);
  }
});

Deno.test("reports of a job are kept, the last one too", async () => {
  await using world = await World.make();
  const seen: unknown[] = [];
  world.start(async ({ report, assertHeld }) => {
    report({ done: 1 });
    await assertHeld();
    seen.push((await world.job()).progress);
    report({ done: 2 });
  });
  const { progress } = await world.until(({ finishedAt }) =>
    finishedAt !== null
  );
  assert.deepEqual([...seen, progress], [{ done: 1 }, { done: 2 }]);
});

for (
  const { name, end, left } of [
    { name: "succeeds", end: () => {}, left: false },
    {
      name: "cannot read its image",
      end() {
        throw new ImageError("it is damaged");
      },
      left: false,
    },
    {
      name: "fails otherwise",
      end() {
        throw new Error("a fault of ours");
      },
      left: true,
    },
  ]
) {
  Deno.test(`the image of a job that ${name} ${left ? "stays" : "goes"}`, async () => {
    await using world = await World.make();
    const ended = Promise.withResolvers<void>();
    world.start(
      async () => await end(),
      (message) => message !== "job started" && ended.resolve(),
    );
    await within("it has ended", ended.promise);
    assert.equal(await world.hasImage(), left);
  });

  Deno.test(`the image of a job that ${name} stays where another has it`, async () => {
    await using world = await World.make({ leaseMs: 50 });
    const taken = Promise.withResolvers<void>();
    const ended = Promise.withResolvers<void>();
    world.start(
      async () => {
        await taken.promise; // asleep for longer than its lease
        await end();
      },
      (message) => message !== "job started" && ended.resolve(),
    );
    await world.until(({ attempts }) => attempts >= 1);
    const other = world.open(); // whose lease does not run out
    try {
      await eventually(
        "another has it",
        async () => await other.claim(["classify"]) !== undefined,
      );
      taken.resolve();
      await within("it has ended", ended.promise);
      assert.equal(await world.hasImage(), true);
    } finally {
      other.close();
    }
  });
}
