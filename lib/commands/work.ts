/**
 * `deno task work`: do the jobs that servers accept.
 *
 * @module
 */
import { setTimeout as pause } from "node:timers/promises";
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
  parseFlags,
  parsing,
  required,
  text,
  type Usage,
} from "./shared/flags.ts";
import { JOBS_FLAGS, jobsPlace } from "./shared/jobs_flags.ts";
import { interruptSignal } from "./shared/terminal.ts";

export const summary = "Do the jobs that servers of other hosts accept";

const FLAGS = {
  ...JOBS_FLAGS,
  jobs: required(JOBS_FLAGS.jobs),
  kinds: parsing(
    "LIST",
    `kinds of jobs to do, of ${
      SERVED_KINDS.join(", ")
    }; train does the folds of cross-validations, too (all)`,
    `one or more of ${SERVED_KINDS.join(",")}`,
    parseKinds,
  ),
  models: required(
    text("DIR", "folder for models, which come with the jobs that name them", {
      paths: "folders",
    }),
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

export const usage: Usage = {
  synopsis: ["deno task work --jobs nats://HOST:PORT --models DIR"],
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
  const models = await folderOf(flags.models, "models");
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

function parseKinds(text: string): JobKind[] | undefined {
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
