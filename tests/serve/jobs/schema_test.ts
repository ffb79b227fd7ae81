import assert from "node:assert/strict";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { JOB_STATES, type JobState } from "../../../lib/serve/jobs/store.ts";
import { SqliteJobStore } from "../../../lib/serve/jobs/sqlite_store.ts";

// The table of version 0, as it was; not the program's text, which may change.
const VERSION_0 = `
  CREATE TABLE jobs (
    id TEXT PRIMARY KEY, kind TEXT NOT NULL, state TEXT NOT NULL,
    request TEXT NOT NULL, progress TEXT,
    attempts INTEGER NOT NULL DEFAULT 0, setbacks INTEGER NOT NULL DEFAULT 0,
    error TEXT, cancelAsked INTEGER NOT NULL DEFAULT 0, leaseUntil INTEGER,
    idempotencyKey TEXT UNIQUE, requestDigest TEXT,
    createdAt TEXT NOT NULL, startedAt TEXT, finishedAt TEXT
  ) STRICT;
  CREATE INDEX jobsByState ON jobs (state, createdAt);
`;

const CREATED = "2026-01-01T00:00:00.000Z";

/** Runs `test` with the path of a database made by `sql`. */
async function withDatabase(
  sql: string,
  test: (path: string) => Promise<void> | void,
): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "zoomin-" });
  try {
    const path = join(folder, "jobs.sqlite");
    const database = new DatabaseSync(path);
    database.exec(sql);
    database.close();
    await test(path);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function openStore(path: string): SqliteJobStore {
  return new SqliteJobStore(path, { leaseMs: 100, queuedJobs: 10 });
}

/** The version of a database, and all that it holds, as text. */
function contents(path: string) {
  const database = new DatabaseSync(path);
  const all = (sql: string) => database.prepare(sql).all();
  const [version] = all("PRAGMA user_version");
  const found = {
    version: version!.user_version,
    schema: all("SELECT name FROM sqlite_master").map(({ name }) => name),
    jobs: JSON.stringify(all("SELECT * FROM jobs ORDER BY id")),
  };
  database.close();
  return found;
}

function jobOfState(state: JobState): string {
  return `INSERT INTO jobs (id, kind, state, request, progress, idempotencyKey,
    requestDigest, createdAt) VALUES ('${state}', 'train', '${state}',
    '{"name":"${state}"}', '{"done":3}', 'key of ${state}', 'digest',
    '${CREATED}');`;
}

const VERSION = 4;

Deno.test("a new store has the version of the program", async () => {
  await withDatabase("", (path) => {
    openStore(path).close();
    assert.equal(contents(path).version, VERSION);
  });
});

Deno.test("a store without a version keeps all its jobs", async () => {
  const sql = VERSION_0 + JOB_STATES.map(jobOfState).join("\n");
  await withDatabase(sql, async (path) => {
    const before = contents(path);
    assert.equal(before.version, 0);
    const store = openStore(path);
    const { jobs: text, ...after } = contents(path);
    assert.deepEqual(after, { version: VERSION, schema: before.schema });
    const added = ',"owner":null,"alone":0,"suspicions":0,"trace":null';
    assert.equal(text.replaceAll(added, ""), before.jobs);
    const jobs = await store.list({ limit: 100 });
    assert.deepEqual(
      jobs.map(({ state }) => state).toSorted(),
      JOB_STATES.toSorted(),
    );
    const queued = await store.find({ key: "key of queued", digest: "digest" });
    assert.deepEqual(queued, {
      id: "queued",
      kind: "train",
      owner: null,
      state: "queued",
      request: { name: "queued" },
      trace: null,
      progress: { done: 3 },
      attempts: 0,
      losses: 0,
      error: null,
      createdAt: CREATED,
      startedAt: null,
      finishedAt: null,
    });
    assert.equal((await store.claim(["train"]))?.id, "queued");
    store.close();
    openStore(path).close(); // a second time, nothing is left to do
  });
});

Deno.test("a store of version 1 keeps all its jobs, which are nobody's", async () => {
  const sql = `${VERSION_0} PRAGMA user_version = 1;` +
    JOB_STATES.map(jobOfState).join("\n");
  await withDatabase(sql, async (path) => {
    const store = openStore(path);
    const all = await store.list({ limit: 100 });
    assert.equal(all.length, JOB_STATES.length);
    assert.ok(all.every(({ owner }) => owner === null));
    assert.deepEqual(await store.list({ owner: "alice", limit: 100 }), []);
    store.close();
    assert.equal(contents(path).version, VERSION);
  });
});

Deno.test("a store of a newer version is refused and kept as it is", async () => {
  const sql = `${VERSION_0} ${jobOfState("queued")} PRAGMA user_version = 5;`;
  await withDatabase(sql, (path) => {
    const before = contents(path);
    assert.throws(() => openStore(path), {
      name: "DataError",
      message: `Cannot open ${path} as a store of jobs: a newer zoomin wrote ` +
        "it (version 5, this one knows 4); update zoomin, or move the file " +
        "away to begin without jobs",
    });
    assert.deepEqual(contents(path), before);
  });
});

Deno.test("a database of something else is refused and kept as it is", async () => {
  await withDatabase("CREATE TABLE jobs (id TEXT);", (path) => {
    const before = contents(path);
    assert.throws(() => openStore(path), {
      name: "DataError",
      message: /as a store of jobs: no such column: state .*; move it away/,
    });
    assert.deepEqual(contents(path), before);
  });
});
