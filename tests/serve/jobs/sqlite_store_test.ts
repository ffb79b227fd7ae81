import assert from "node:assert/strict";
import { join } from "node:path";
import { SqliteJobStore } from "../../../lib/serve/jobs/sqlite_store.ts";
import { Clock } from "../../clock.ts";
import { testStore } from "./store_contract.ts";

const LEASE_MS = 100;

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

testStore({
  name: "SQLite",
  async withStores(test, { queuedJobs = 100 } = {}) {
    const folder = await Deno.makeTempDir({ prefix: "zoomin-" });
    const open = () =>
      new SqliteJobStore(join(folder, "jobs.sqlite"), {
        leaseMs: LEASE_MS,
        queuedJobs,
      });
    // As two processes have them: two connections to one file.
    const one = open(), two = open();
    try {
      using clock = new Clock();
      await test({
        one,
        two,
        expire: () => clock.pass(2 * LEASE_MS),
        passHalf: () => clock.pass(LEASE_MS / 2),
      });
    } finally {
      await one.close();
      await two.close();
      await Deno.remove(folder, { recursive: true });
    }
  },
});
