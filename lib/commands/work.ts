/**
 * `deno task work`: do the jobs that servers accept.
 *
 * @module
 */
import { setTimeout as pause } from "node:timers/promises";
import { UsageError } from "../errors.ts";
import { type JobKind, SERVED_KINDS } from "../serve/jobs/store.ts";
import { DEFAULT_LIMITS } from "../serve/limits.ts";
import { startServer } from "../serve/server.ts";
import {
  allowableHost,
  encoderFile,
  folderOf,
  logBugs,
  processLog,
  SERVE_FLAGS,
} from "./serve.ts";
import {
  type FlagValues,
  parseFlags,
  parsing,
  required,
  text,
  type Usage,
} from "./shared/flags.ts";
import { JOBS_FLAGS, jobsPlace } from "./shared/jobs_flags.ts";
import { shareTrainings } from "./share_runs.ts";
import { interruptSignal } from "./shared/terminal.ts";

export const summary = "Do the jobs that servers of other hosts accept";

/** No job of a server: images of trainings that other hosts lead. */
const SHARE = "share";

const FLAGS = {
  ...JOBS_FLAGS,
  jobs: required(JOBS_FLAGS.jobs),
  kinds: parsing(
    "LIST",
    `kinds of jobs to do, of ${
      SERVED_KINDS.join(", ")
    }; train does the folds of cross-validations, too (all); or ${SHARE}: compute images of \`train --jobs\` on other hosts`,
    `one or more of ${SERVED_KINDS.join(",")}, or ${SHARE} alone`,
    parseKinds,
  ),
  models: text(
    "DIR",
    "folder for models, which come with the jobs that name them; required but for share",
    { paths: "folders" },
  ),
  state: SERVE_FLAGS.state,
  encoder: SERVE_FLAGS.encoder,
  "data-root": SERVE_FLAGS["data-root"],
  "allow-host": SERVE_FLAGS["allow-host"],
  "max-pixels": SERVE_FLAGS["max-pixels"],
  workers: SERVE_FLAGS.workers,
  memory: SERVE_FLAGS.memory,
  backend: SERVE_FLAGS.backend,
};

// Flags of jobs that need models.
const UNUSED = ["models", "state", "encoder"] as const;

export const usage: Usage = {
  synopsis: [
    "deno task work --jobs nats://HOST:PORT --models DIR",
    "deno task work --jobs nats://HOST:PORT --kinds share --data-root DIR",
  ],
  groups: [{ flags: FLAGS }],
  notes:
    "Give the --data-root and --allow-host of the servers: jobs name images by them. Logs JSON lines to stderr. SIGTERM returns jobs to the queue, from which another host continues them.",
};

/**
 * Does jobs until Ctrl-C or SIGTERM.
 *
 * @throws {UsageError} If a flag is wrong.
 */
export async function run(argv: string[]): Promise<number> {
  const { values: flags } = parseFlags(argv, FLAGS);
  if (flags.kinds === SHARE) return await share(flags);
  const models = await folderOf(modelsOf(flags), "models");
  const state = flags.state === undefined
    ? undefined
    : await folderOf(flags.state, "state");
  const dataRoots = await Promise.all(
    flags["data-root"].map((root) => folderOf(root, "data-root")),
  );
  const encoderFiles = await Promise.all(flags.encoder.map(encoderFile));
  const allowedHosts = flags["allow-host"].map(allowableHost);
  const stop = interruptSignal();
  const log = processLog();
  logBugs(log);
  const limits = {
    ...DEFAULT_LIMITS,
    maxPixels: flags["max-pixels"] ?? DEFAULT_LIMITS.maxPixels,
  };
  const server = await startServer({
    models,
    encoderFiles,
    state,
    dataRoots,
    allowedHosts,
    backend: flags.backend,
    workers: flags.workers,
    memory: flags.memory,
    jobs: jobsPlace(flags),
    kinds: flags.kinds,
    limits,
    log,
  });
  try {
    log("info", "working", { kinds: (flags.kinds ?? SERVED_KINDS).join() });
    await untilStopped(stop);
    log("info", "stopping");
    await Promise.race([server.drain(), pause(limits.drainMs)]);
    log("info", "stopped");
  } finally {
    server.close(true);
  }
  return 0;
}

/** @throws {UsageError} If a flag is wrong. */
async function share(flags: FlagValues<typeof FLAGS>): Promise<number> {
  const unused = UNUSED.find((name) =>
    flags[name] !== undefined && flags[name].length > 0
  );
  if (unused) {
    throw new UsageError(
      `--${unused} has no effect with --kinds ${SHARE}: leave it out`,
    );
  }
  const dataRoots = await Promise.all(
    flags["data-root"].map((root) => folderOf(root, "data-root")),
  );
  const log = processLog();
  const stop = interruptSignal();
  logBugs(log);
  await shareTrainings({
    jobs: jobsPlace(flags)!,
    dataRoots,
    allowedHosts: flags["allow-host"].map(allowableHost),
    maxPixels: flags["max-pixels"] ?? DEFAULT_LIMITS.maxPixels,
    workers: flags.workers,
    memory: flags.memory,
    backend: flags.backend,
    log,
  }, stop);
  return 0;
}

function modelsOf({ models }: FlagValues<typeof FLAGS>): string {
  if (models !== undefined) return models;
  throw new UsageError("Missing flag: give --models DIR");
}

function parseKinds(text: string): JobKind[] | typeof SHARE | undefined {
  if (text === SHARE) return SHARE;
  const words = text.split(",");
  const kinds = SERVED_KINDS.filter((kind) => words.includes(kind));
  return kinds.length === words.length ? kinds : undefined;
}

async function untilStopped(stop: AbortSignal): Promise<void> {
  if (stop.aborted) return;
  await new Promise<void>((done) =>
    stop.addEventListener("abort", () => done())
  );
}
