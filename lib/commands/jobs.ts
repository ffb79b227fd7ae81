/**
 * `deno task jobs`: see and stop jobs, without a server.
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
import { JOBS_FLAGS, jobsPlace } from "./shared/jobs_flags.ts";

export const summary = "List, show, cancel and resume jobs";

const ACTIONS = ["list", "show", "cancel", "resume"] as const;

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
  json: toggle("print a JSON line a job"),
};

export const usage: Usage = {
  synopsis: [
    "deno task jobs list --jobs nats://HOST:PORT",
    "deno task jobs show ID --jobs nats://HOST:PORT",
  ],
  positionals: {
    list: "the jobs of all tokens, and how many there are of each state",
    "show ID": "a job",
    "cancel ID": "end it if it waits; ask its holder to stop if it runs",
    "resume ID": "queue a failed or cancelled one again",
  },
  groups: [{ flags: FLAGS }],
  operands: { words: ACTIONS },
  notes: "Exit code 1 if there is no such job.",
};

/** @throws {UsageError | DataError} */
export async function run(argv: string[]): Promise<number> {
  const { values: flags, positionals: [action = "", id, ...others] } =
    parseFlags(argv, FLAGS, { positionals: true });
  if (!isAction(action)) {
    throw new UsageError(
      `There is no "jobs ${action}": the first argument must be ${
        ACTIONS.join(" or ")
      }`,
    );
  }
  if ((action === "list") !== (id === undefined) || others.length > 0) {
    throw new UsageError(
      action === "list"
        ? "jobs list takes no argument: leave it out"
        : `jobs ${action} needs the id of one job: see jobs list`,
    );
  }
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

function isAction(word: string): word is typeof ACTIONS[number] {
  return ACTIONS.some((action) => action === word);
}

/** Does what was asked for to a job, and returns it. @throws {DataError} */
async function done(
  store: JobStore,
  action: Exclude<typeof ACTIONS[number], "list">,
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

const QUEUED_JOBS = 0; // of those who add jobs

async function storeOf(flags: FlagValues<typeof FLAGS>): Promise<JobStore> {
  const place = jobsPlace(flags);
  if ((place === undefined) === (flags.state === undefined)) {
    throw new UsageError(
      "Give --jobs URL, or --state DIR of a server that shares no jobs",
    );
  }
  const options = { leaseMs: SHARED_LEASE_MS, queuedJobs: QUEUED_JOBS };
  if (place !== undefined) {
    const { NatsJobStore } = await import("../serve/jobs/nats/store.ts");
    return await NatsJobStore.open({ ...place, ...options, waitMs: 0 });
  }
  const file = join(flags.state!, "jobs.sqlite");
  if (!await exists(file)) {
    throw new UsageError(
      `There are no jobs in --state ${flags.state}: name the state folder of a server (.server in that of models)`,
    );
  }
  const { SqliteJobStore } = await import("../serve/jobs/sqlite_store.ts");
  return new SqliteJobStore(file, options);
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
