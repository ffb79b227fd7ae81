/**
 * `deno task jobs`: see and stop jobs and the processes that do them, without a
 * server.
 *
 * @module
 */
import { join } from "node:path";
import { DataError, UsageError } from "../errors.ts";
import { exists } from "../files.ts";
import {
  type Job,
  JOB_STATES,
  type JobState,
  type JobStore,
} from "../serve/jobs/store.ts";
import {
  type FlagValues,
  integer,
  oneOf,
  parseFlags,
  text,
  toggle,
  type Usage,
} from "./shared/flags.ts";
import { SHARED_LEASE_MS } from "../serve/jobs/nats/place.ts";
import type { NatsWorkers } from "../serve/jobs/nats/workers.ts";
import type { WorkerStatus } from "../serve/jobs/workers.ts";
import { JOBS_FLAGS, jobsPlace } from "./shared/jobs_flags.ts";

export const summary = "List, show, cancel and resume jobs; drain hosts";

/** Actions, and what their argument is; null if they have none. */
const ACTIONS = {
  list: null,
  show: "the id of one job: see jobs list",
  cancel: "the id of one job: see jobs list",
  resume: "the id of one job: see jobs list",
  workers: null,
  drain: "the name of one host: see jobs workers",
  undrain: "the name of one host: see jobs workers",
} as const;

type Action = keyof typeof ACTIONS;

const LISTED = 50;

const FLAGS = {
  ...JOBS_FLAGS,
  state: text("DIR", "state folder of a server that shares no jobs", {
    paths: "folders",
  }),
  only: oneOf(
    JOB_STATES,
    "STATE",
    `list jobs of this state: ${
      JOB_STATES.join(", ")
    }; the reason is that of the failed`,
  ),
  limit: integer("N", `most jobs to list, the latest first (${LISTED})`, {
    min: 1,
    max: 100_000,
  }),
  json: toggle("print a JSON line a job or worker"),
};

export const usage: Usage = {
  synopsis: [
    "deno task jobs list --jobs nats://HOST:PORT",
    "deno task jobs show ID --jobs nats://HOST:PORT",
    "deno task jobs drain HOST --jobs nats://HOST:PORT",
  ],
  positionals: {
    list: "the jobs of all tokens, and how many there are of each state",
    "show ID": "a job",
    "cancel ID": "end it if it waits; ask its holder to stop if it runs",
    "resume ID": "queue a failed or cancelled one again",
    workers: "the processes that do jobs, and the drained hosts",
    "drain HOST": "return its jobs to the queue; it takes no more",
    "undrain HOST": "let it take jobs again",
  },
  groups: [{ flags: FLAGS }],
  operands: { words: Object.keys(ACTIONS) },
  notes: "Exit code 1 if there is no such job or host.",
};

/** @throws {UsageError | DataError} */
export async function run(argv: string[]): Promise<number> {
  const { values: flags, positionals: [action = "", id, ...others] } =
    parseFlags(argv, FLAGS, { positionals: true });
  if (!isAction(action)) {
    throw new UsageError(
      `There is no "jobs ${action}": the first argument must be ${
        Object.keys(ACTIONS).join(" or ")
      }`,
    );
  }
  const needed = ACTIONS[action];
  if ((needed === null) !== (id === undefined) || others.length > 0) {
    throw new UsageError(
      needed === null
        ? `jobs ${action} takes no argument: leave it out`
        : `jobs ${action} needs ${needed}`,
    );
  }
  switch (action) {
    case "workers":
      return await withWorkers(flags, (workers) => tellWorkers(workers, flags));
    case "drain":
    case "undrain":
      return await withWorkers(flags, (workers) => drain(workers, action, id!));
    default:
      return await ofJobs(flags, action, id);
  }
}

/** Does an action on jobs. */
async function ofJobs(
  flags: FlagValues<typeof FLAGS>,
  action: JobAction,
  id: string | undefined,
): Promise<number> {
  const store = await storeOf(flags);
  try {
    const jobs = action === "list"
      ? await store.list({ state: flags.only, limit: flags.limit ?? LISTED })
      : [await done(store, action, id!)];
    if (action === "list" && !flags.json) {
      console.log(countsText(await store.counts()));
    }
    for (const job of jobs) {
      console.log(flags.json ? JSON.stringify(told(job)) : jobText(job));
    }
  } finally {
    await store.close();
  }
  return 0;
}

type JobAction = Exclude<Action, "workers" | "drain" | "undrain">;

function isAction(word: string): word is Action {
  return Object.hasOwn(ACTIONS, word);
}

/** Does what was asked for to a job, and returns it. @throws {DataError} */
async function done(
  store: JobStore,
  action: Exclude<JobAction, "list">,
  id: string,
): Promise<Job> {
  const before = await store.get(id);
  if (before === undefined) {
    throw new DataError(`There is no job ${id}: see jobs list`);
  }
  if (action === "show") return before;
  if (action === "cancel") return await store.cancel(id) ?? before;
  const job = await store.resume(id);
  if (job) return job;
  throw new DataError(
    `Cannot resume a job that is ${before.state}: only a failed or cancelled job can be resumed`,
  );
}

const STORE_OPTIONS = {
  leaseMs: SHARED_LEASE_MS,
  queuedJobs: 0, // the limit of those who add jobs
};

async function storeOf(flags: FlagValues<typeof FLAGS>): Promise<JobStore> {
  const place = jobsPlace(flags);
  if ((place === undefined) === (flags.state === undefined)) {
    throw new UsageError(
      "Give --jobs URL, or --state DIR of a server that shares no jobs",
    );
  }
  if (place !== undefined) {
    const { NatsJobStore } = await import("../serve/jobs/nats/store.ts");
    return await NatsJobStore.open({ ...place, ...STORE_OPTIONS, waitMs: 0 });
  }
  const file = join(flags.state!, "jobs.sqlite");
  if (!await exists(file)) {
    throw new UsageError(
      `There are no jobs in --state ${flags.state}: name the state folder of a server (.server in that of models)`,
    );
  }
  const { SqliteJobStore } = await import("../serve/jobs/sqlite_store.ts");
  return new SqliteJobStore(file, STORE_OPTIONS);
}

/** Calls `work` with the workers of the hosts that share jobs. */
async function withWorkers(
  flags: FlagValues<typeof FLAGS>,
  work: (workers: NatsWorkers) => Promise<void>,
): Promise<number> {
  const place = jobsPlace(flags);
  if (place === undefined || flags.state !== undefined) {
    throw new UsageError(
      "Workers are those of hosts that share jobs: give --jobs URL, and no --state",
    );
  }
  const { openNats } = await import("../serve/jobs/nats/connection.ts");
  const { NatsWorkers } = await import("../serve/jobs/nats/workers.ts");
  const nats = await openNats({ ...place, ...STORE_OPTIONS });
  try {
    await work(await NatsWorkers.open(nats));
  } finally {
    await nats.connection.close();
  }
  return 0;
}

async function tellWorkers(
  workers: NatsWorkers,
  { json }: FlagValues<typeof FLAGS>,
): Promise<void> {
  const living = await workers.list();
  if (json) {
    for (const worker of living) console.log(JSON.stringify(worker));
    return;
  }
  const hosts = await workers.drainedHosts();
  const away = hosts.filter((host) => !living.some((one) => one.host === host));
  console.log(`${living.length} workers`);
  for (const worker of living) console.log(workerText(worker));
  for (const host of away) console.log(`${host}  drained  not running`);
}

/** @throws {DataError} If there is no such host. */
async function drain(
  workers: NatsWorkers,
  action: "drain" | "undrain",
  host: string,
): Promise<void> {
  const living = (await workers.list()).filter((one) => one.host === host);
  const isKnown = living.length > 0 || await workers.isDrained(host);
  if (!isKnown) {
    throw new DataError(`There is no host ${host}: see jobs workers`);
  }
  await workers.setDrained(host, action === "drain");
  console.log(
    action === "drain"
      ? `${host} takes no jobs until jobs undrain ${host}`
      : `${host} takes jobs again`,
  );
}

/** A job without its request, which may have keys of URLs. */
function told({ request: _, ...job }: Job): Omit<Job, "request"> {
  return job;
}

function countsText(counts: Record<JobState, number>): string {
  return JOB_STATES.map((state) => `${counts[state]} ${state}`).join(", ");
}

function jobText(job: Job): string {
  const { id, kind, state, owner, attempts, progress, error, createdAt } = job;
  return [
    `${id}  ${kind.padEnd(8)}  ${state.padEnd(9)}  ${createdAt}`,
    ...(owner === null ? [] : [`of ${owner}`]),
    ...(attempts > 1 ? [`${attempts} attempts`] : []),
    ...(progress === null ? [] : [
      Object.entries(progress).map(([name, value]) => `${name} ${value}`)
        .join(", "),
    ]),
    ...(error === null ? [] : [error]),
  ].join("  ");
}

function workerText(worker: WorkerStatus): string {
  const { host, pid, version, engine, memoryBytes, kinds, startedAt } = worker;
  const { lanes, running, ended, imagesPerSecond, isDrained } = worker;
  return [
    `${host}:${pid}`,
    isDrained ? "drained" : "working",
    `${running.length} of ${lanes} lanes busy`,
    `${imagesPerSecond.toFixed(2)} images/s`,
    `${ended.succeeded} done, ${ended.failed} failed`,
    `for ${kinds.join()}`,
    engine ?? "no engine",
    `${Math.round(memoryBytes / 1e6)}MB`,
    `version ${version}`,
    `since ${startedAt}`,
  ].join("  ");
}
