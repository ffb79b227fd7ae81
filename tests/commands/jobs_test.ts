import assert from "node:assert/strict";
import { join } from "node:path";
import { NatsJobStore } from "../../lib/serve/jobs/nats/store.ts";
import { SqliteJobStore } from "../../lib/serve/jobs/sqlite_store.ts";
import type { JobStore } from "../../lib/serve/jobs/store.ts";
import { NATS_SERVER, startNats } from "../serve/jobs/nats/nats_server.ts";
import { Operator } from "../serve/jobs/nats/operator.ts";
import { withFolder } from "../data/folder.ts";
import { assertFailsInOneLine, succeed, zoomin } from "./process.ts";

const OPTIONS = { leaseMs: 15_000, queuedJobs: 10, waitMs: 100 };

/** Jobs of each state, and what the command says and does about them. */
async function check(
  store: JobStore,
  folder: string,
  flags: readonly string[],
): Promise<void> {
  const request = { uri: "https://a/?secret=1" };
  await store.add({ id: "failing", kind: "batch", owner: "eve", request });
  await store.add({ id: "waiting", kind: "classify", request });
  const job = (await store.claim(["batch"]))!;
  await store.beat(job, { done: 3 });
  await store.finish(job, { state: "failed", error: "It broke" });
  const jobs = (...argv: string[]) =>
    succeed(folder, "jobs", ...argv, ...flags);

  const all = await jobs("list");
  assert.match(
    all.stdout,
    /^1 queued, 0 running, 0 succeeded, 1 failed, 0 cancelled\nwaiting .*\nfailing /,
  );
  assert.doesNotMatch(all.stdout, /secret/);
  const failed = await jobs("list", "--only", "failed");
  assert.match(
    failed.stdout,
    /\nfailing +batch +failed +\S+ +of eve +done 3 +It broke\n$/,
  );
  const shown = await jobs("show", "failing", "--json");
  assert.equal(JSON.parse(shown.stdout).error, "It broke");
  assert.doesNotMatch(shown.stdout, /secret/);
  await jobs("cancel", "waiting");
  assert.equal((await store.get("waiting"))?.state, "cancelled");
  await jobs("resume", "failing");
  assert.equal((await store.get("failing"))?.state, "queued");
  for (
    const [argv, message] of [
      [["show", "none"], /^There is no job none: see jobs list$/],
      [["resume", "failing"], /^Cannot resume a job that is queued/],
    ] as const
  ) {
    const result = await zoomin(folder, "jobs", ...argv, ...flags);
    assertFailsInOneLine(result, { code: 1, message });
  }
}

Deno.test("jobs of one server are listed, shown, cancelled and resumed", async () => {
  await withFolder(async (folder) => {
    const store = new SqliteJobStore(join(folder, "jobs.sqlite"), OPTIONS);
    await check(store, folder, ["--state", "."]);
    await store.close();
  });
});

Deno.test({
  name: "jobs that hosts share are, too",
  ignore: NATS_SERVER === undefined,
  async fn() {
    await using servers = await startNats(1, ["--user", "a", "--pass", "b"]);
    const url = servers.url.replace("//", "//a:b@");
    const store = await NatsJobStore.open({ ...OPTIONS, url });
    await withFolder(async (folder) => {
      await check(store, folder, ["--jobs", url]);
      const wrong = ["jobs", "list", "--jobs", url.replace("a:b", "a:secret")];
      assertFailsInOneLine(await zoomin(folder, ...wrong), {
        code: 1,
        message: /^Cannot keep jobs at nats:\/\/127.*Authorization Violation/,
      });
    });
    await store.nats.records.put("version", "99");
    await store.close();
    await withFolder(async (folder) => {
      for (
        const argv of [["jobs", "list"], ["work", "--models", "."]] as const
      ) {
        assertFailsInOneLine(await zoomin(folder, ...argv, "--jobs", url), {
          code: 1,
          message: /^Cannot share .*: a newer zoomin keeps them \(version 99,/,
        });
      }
    });
  },
});

Deno.test({
  name: "credentials of nsc let in, and those of another operator do not",
  ignore: NATS_SERVER === undefined,
  async fn() {
    await withFolder(async (folder) => {
      const operator = new Operator(folder);
      await using servers = await startNats(1, [
        ...["-c", await operator.configuration()],
      ]);
      const { url } = servers;
      const credentials = await operator.credentials("worker");
      const store = await NatsJobStore.open({ ...OPTIONS, url, credentials });
      await check(store, folder, [
        ...["--jobs", url, "--jobs-credentials", credentials],
      ]);
      await store.close();
      const stranger = await new Operator(folder).credentials("stranger");
      for (const flags of [["--jobs-credentials", stranger], []]) {
        const wrong = ["jobs", "list", "--jobs", url, ...flags];
        assertFailsInOneLine(await zoomin(folder, ...wrong), {
          code: 1,
          message: /^Cannot keep jobs at .*Authorization.*credentials/i,
        });
      }
    });
  },
});
