/**
 * The tables of the job store, and the way to them from each earlier version.
 * The version of a file is its `PRAGMA user_version`.
 *
 * @module
 */
import { DatabaseSync } from "node:sqlite";
import { DataError } from "../../errors.ts";

/**
 * Step `i` leads from version `i` to `i + 1`. A step that was released never
 * changes: files have been through it.
 */
const STEPS: readonly string[] = [
  // Version 0 is a new file, or one with this table and no number.
  `
  CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    request TEXT NOT NULL,
    progress TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    setbacks INTEGER NOT NULL DEFAULT 0,
    error TEXT,
    cancelAsked INTEGER NOT NULL DEFAULT 0,
    leaseUntil INTEGER,
    idempotencyKey TEXT UNIQUE,
    requestDigest TEXT,
    createdAt TEXT NOT NULL,
    startedAt TEXT,
    finishedAt TEXT
  ) STRICT;
  CREATE INDEX IF NOT EXISTS jobsByState ON jobs (state, createdAt);
  `,
  // Earlier jobs are nobody's: an admin sees them.
  `
  ALTER TABLE jobs ADD COLUMN owner TEXT;
  `,
  // `alone`: no other work has run in the holder's process. Losses of holders
  // without progress are setbacks if so, and else suspicions.
  `
  ALTER TABLE jobs ADD COLUMN alone INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE jobs ADD COLUMN suspicions INTEGER NOT NULL DEFAULT 0;
  `,
  `
  ALTER TABLE jobs ADD COLUMN trace TEXT;
  `,
];

/**
 * Opens the database in the file `path`, with the tables of this program's
 * version.
 *
 * @throws {DataError} If it is something else, or a newer program wrote it.
 */
export function openDatabase(path: string): DatabaseSync {
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(path);
    // FULL: accepted jobs survive a power cut, not only a crash.
    database.exec(`
      PRAGMA busy_timeout = 5000;
      PRAGMA journal_mode = WAL;
      PRAGMA synchronous = FULL;
    `);
    migrate(database, path);
    return database;
  } catch (cause) {
    database?.close(); // undoes a migration that did not end
    if (cause instanceof DataError) throw cause;
    const reason = (cause as Error).message.replaceAll(/\s+/g, " ");
    throw new DataError(
      `Cannot open ${path} as a store of jobs: ${reason}; move it away to begin without jobs`,
      { cause },
    );
  }
}

function migrate(database: DatabaseSync, path: string): void {
  database.exec("BEGIN IMMEDIATE"); // another process may migrate as well
  const row = database.prepare("PRAGMA user_version").get();
  const version = Number(row!.user_version);
  if (version > STEPS.length) {
    throw new DataError(
      `Cannot open ${path} as a store of jobs: a newer zoomin wrote it (version ${version}, this one knows ${STEPS.length}); update zoomin, or move the file away to begin without jobs`,
    );
  }
  for (const step of STEPS.slice(version)) database.exec(step);
  database.exec(`PRAGMA user_version = ${STEPS.length}`);
  database.exec("COMMIT");
}
