/** Hosts that tell of themselves, are drained, and leave jobs to each other. */
import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";
import { Isolation } from "../../../../lib/serve/jobs/isolation.ts";
import { openNats } from "../../../../lib/serve/jobs/nats/connection.ts";
import { GpuPriority } from "../../../../lib/serve/jobs/nats/priority.ts";
import { NatsJobStore } from "../../../../lib/serve/jobs/nats/store.ts";
import { NatsWorkers } from "../../../../lib/serve/jobs/nats/workers.ts";
import { Presence } from "../../../../lib/serve/jobs/presence.ts";
import { JobRunner, type JobWork } from "../../../../lib/serve/jobs/runner.ts";
import { OWN_FOLDERS } from "../../../../lib/serve/jobs/shared_folders.ts";
import { JOB_KINDS } from "../../../../lib/serve/jobs/store.ts";
import { Messages } from "../../../../lib/serve/redaction.ts";
import { eventually } from "../../../waiting.ts";
import { NATS_SERVER, type NatsServers, startNats } from "./nats_server.ts";

const ignore = NATS_SERVER === undefined;
const OPTIONS = { leaseMs: 30_000, queuedJobs: 100, waitMs: 200 };

/** Work that lasts until its job is stopped. */
const endless: JobWork = async ({ signal }) => {
  await pause(2 ** 30, undefined, { signal }).catch(() => {});
  signal.throwIfAborted();
};

/** A host that does jobs, with a connection of its own. */
async function host(
  name: string,
  { url }: Pick<NatsServers, "url">,
  { hasGpu = false, beatMs = 1000 } = {},
) {
  const folder = await Deno.makeTempDir({ prefix: "zoomin-" });
  const store = await NatsJobStore.open({ ...OPTIONS, url });
  const workers = await NatsWorkers.open(store.nats);
  const runner = new JobRunner({
    store,
    folder,
    shared: OWN_FOLDERS,
    works: Object.fromEntries(JOB_KINDS.map((kind) => [kind, endless])),
    isolation: new Isolation({ store, busy: () => 0, aloneMs: 1 }),
    isReady: () => true,
    priority: new GpuPriority(store.nats, () => hasGpu),
    onEnd: (_, state) => presence.noteEnd(state),
    messages: new Messages([]),
    log() {},
    beatMs,
  });
  const presence: Presence = new Presence({
    workers,
    host: name,
    runners: [runner],
    about: () => ({
      version: "1",
      engine: "wasm: as the test says",
      hasGpu,
      memoryBytes: 1e9,
      kinds: JOB_KINDS,
    }),
    log() {},
  });
  await presence.learn();
  runner.start();
  presence.start();
  return {
    store,
    workers,
    runner,
    async [Symbol.asyncDispose]() {
      await runner.drain();
      await presence.leave();
      await store.close();
      await Deno.remove(folder, { recursive: true });
    },
  };
}

Deno.test({
  name: "workers tell what they are and do, until they leave",
  ignore,
  async fn() {
    await using servers = await startNats();
    await using one = await host("one", servers);
    {
      await using _two = await host("two, with a strange name", servers, {
        hasGpu: true,
      });
      await eventually(
        "both are told",
        async () => (await one.workers.list()).length === 2,
      );
      const [first, second, ...others] = await one.workers.list();
      assert.deepEqual(others, []);
      assert.equal(first?.host, "one");
      assert.equal(first.pid, Deno.pid);
      assert.equal(first.engine, "wasm: as the test says");
      assert.deepEqual(first.kinds, JOB_KINDS);
      assert.deepEqual(first.running, []);
      assert.equal(second?.host, "two, with a strange name");
      assert.equal(second.hasGpu, true);
    }
    assert.deepEqual((await one.workers.list()).map(({ host }) => host), [
      "one",
    ]);
    await one.store.add({ id: "a", kind: "batch", request: {} });
    await eventually("it tells what it does", async () => {
      const [{ running, lanes } = { running: [], lanes: 0 }] = await one.workers
        .list();
      return running[0]?.id === "a" && lanes === 8;
    });
  },
});

Deno.test({
  name: "workers tell again after NATS was away",
  ignore,
  async fn() {
    await using servers = await startNats();
    await using one = await host("one", servers);
    await eventually(
      "it is told",
      async () => (await one.workers.list()).length === 1,
    );
    await servers.nodes[0]!.kill();
    await servers.nodes[0]!.start();
    await one.store.add({ id: "a", kind: "train", request: {} });
    await eventually("it is told again", async () => {
      const [told] = await one.workers.list().catch(() => []);
      return told?.running[0]?.id === "a";
    });
  },
});

Deno.test({
  name: "a drained host gives its jobs to the others, also after a restart",
  ignore,
  async fn() {
    await using servers = await startNats();
    const { connection, ...rest } = await openNats({
      url: servers.url,
      leaseMs: OPTIONS.leaseMs,
    });
    const operator = await NatsWorkers.open({ connection, ...rest });
    {
      await using one = await host("one", servers);
      await one.store.add({ id: "a", kind: "train", request: {} });
      await eventually("it runs", () => one.runner.isRunning("a"));
      await operator.setDrained("one", true);
      await eventually("it is given back", () => !one.runner.isRunning("a"));
      assert.equal((await one.store.get("a"))?.state, "queued");
    }
    await using again = await host("one", servers);
    await eventually(
      "it says so",
      async () => (await operator.list())[0]?.isDrained === true,
    );
    await using two = await host("two", servers);
    await eventually("the other does it", () => two.runner.isRunning("a"));
    await again.store.add({ id: "b", kind: "train", request: {} });
    await operator.setDrained("one", false);
    assert.deepEqual(await operator.drainedHosts(), []);
    await eventually("it takes jobs again", () => again.runner.isRunning("b"));
    await connection.close();
  },
});

Deno.test({
  name: "a holder is told that its job is cancelled, and awaits no heartbeat",
  ignore,
  async fn() {
    await using servers = await startNats();
    await using one = await host("one", servers, { beatMs: 2 ** 30 });
    await one.store.add({ id: "a", kind: "train", request: {} });
    await eventually("it runs", () => one.runner.isRunning("a"));
    const operator = await NatsJobStore.open({ ...OPTIONS, url: servers.url });
    await operator.cancel("a");
    await operator.close();
    await eventually(
      "it has ended",
      async () => (await one.store.get("a"))?.state === "cancelled",
    );
  },
});

Deno.test({
  name: "training is left to a host with a GPU as long as one waits for it",
  ignore,
  async fn() {
    await using servers = await startNats();
    const nats = await openNats({ url: servers.url, leaseMs: 30_000 });
    let asked = 0;
    const asking = nats.connection.subscribe(
      nats.names.noticesOf("gpu.train"),
      { callback: () => void asked++ },
    );
    const gpu = new GpuPriority(nats, () => true);
    gpu.wait("train", true);
    gpu.wait("batch", true);
    await nats.connection.flush();
    assert.equal(
      await gpu.yields("train"),
      false,
      "it is what others wait for",
    );
    await using cpu = await host("cpu", servers);
    await cpu.store.add({ id: "training", kind: "train", request: {} });
    await cpu.store.add({ id: "batch", kind: "batch", request: {} });
    await eventually(
      "pieces and images are anyone's",
      () => cpu.runner.isRunning("batch"),
    );
    await eventually("it asks, and asks again", () => asked > 2);
    assert.equal((await cpu.store.get("training"))?.attempts, 0);
    gpu.wait("train", false);
    await eventually(
      "nobody else waits",
      () => cpu.runner.isRunning("training"),
    );
    asking.unsubscribe();
    {
      await using other = await host("other", servers, { hasGpu: true });
      const priority = new GpuPriority(nats, () => false);
      const yields = () => priority.yields("train");
      await eventually("it waits", yields);
      await cpu.store.add({ id: "next", kind: "train", request: {} });
      await eventually("it runs", () => other.runner.isRunning("next"));
      assert.equal(await yields(), false);
    }
    await nats.connection.close();
  },
});

Deno.test({
  name: "a job that comes while its host is stopped is given back",
  ignore,
  async fn() {
    await using servers = await startNats();
    let began = 0;
    const store = await NatsJobStore.open({
      ...OPTIONS,
      url: servers.url,
      waitMs: 30_000,
    });
    const runner = new JobRunner({
      store,
      folder: "/nowhere",
      shared: OWN_FOLDERS,
      works: {
        train: () => {
          began++;
          return Promise.resolve();
        },
      },
      isolation: new Isolation({ store, busy: () => 0, aloneMs: 1 }),
      isReady: () => true,
      onEnd() {},
      messages: new Messages([]),
      log() {},
      beatMs: 1000,
    });
    runner.start();
    const { jsm, names } = store.nats;
    await eventually("it waits at the queue", async () => {
      const info = await jsm.consumers.info(
        names.stream,
        names.consumerOf("train"),
      );
      return info.num_waiting > 0;
    });
    const stopped = runner.drain();
    await store.add({ id: "a", kind: "train", request: {} });
    await stopped;
    assert.equal(began, 0);
    assert.equal((await store.get("a"))?.state, "queued");
    await store.close();
  },
});
