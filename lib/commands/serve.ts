/**
 * `deno task serve`: classify and train over HTTP.
 *
 * @module
 */
import { setTimeout as pause } from "node:timers/promises";
import { NamedError, UsageError } from "../errors.ts";
import { spelled } from "../files.ts";
import { createApp } from "../../routes/app.ts";
import { viewerAssets } from "../../routes/viewer.ts";
import {
  bucketAddress,
  type CloudBucket,
  environment,
} from "../image/bytes/cloud.ts";
import {
  CLOUD_VARIABLES,
  CREDENTIALS,
  signerOf,
} from "../image/bytes/credentials.ts";
import { isLoopback } from "../serve/intake/addresses.ts";
import { Tokens } from "../serve/auth.ts";
import { filesLeft } from "../serve/http/files_left.ts";
import { ListenerError, serveHttp } from "../serve/http/server.ts";
import { isAllowable } from "../serve/intake/guarded_fetch.ts";
import { DEFAULT_LIMITS, type Limits } from "../serve/limits.ts";
import { jsonLog, type Log } from "../serve/logging.ts";
import { type Server, startServer } from "../serve/server.ts";
import { isExporting } from "../serve/tracing.ts";
import { DEFAULT_MEMORY_BYTES } from "../memory.ts";
import {
  COMMON_FLAGS,
  ENCODERS,
  memory,
  workers,
} from "./shared/common_flags.ts";
import {
  type FlagValues,
  integer,
  parseFlags,
  required,
  text,
  texts,
  type Usage,
} from "./shared/flags.ts";
import { JOBS_FLAGS, jobsPlace } from "./shared/jobs_flags.ts";
import { interruptSignal } from "./shared/terminal.ts";

export const summary = "Serve models over HTTP: classify, train, jobs";

const MIB = 2 ** 20;

/** Flags of the server. */
export const SERVE_FLAGS = {
  models: required(
    text(
      "DIR",
      "folder of runs and checkpoints; trained models are added to it",
      { paths: "folders" },
    ),
  ),
  encoder: ENCODERS,
  state: text(
    "DIR",
    "folder of jobs, uploads and the default model (.server in that of models)",
    { paths: "folders" },
  ),
  ...JOBS_FLAGS,
  host: text("ADDRESS", "address to listen on (127.0.0.1)"),
  port: integer("N", "port to listen on; 0 takes a free one (8000)", {
    max: 65_535,
  }),
  "data-root": texts("DIR", "folder whose files requests may name", {
    paths: "folders",
  }),
  "allow-host": texts(
    "HOST",
    "host or host:port from which images may be fetched; s3://, gs:// or az://BUCKET: with the server's credentials",
  ),
  "token-file": text(
    "FILE",
    "file with the bearer tokens of requests; required unless --host is this machine only",
    { paths: "files" },
  ),
  "max-upload": integer(
    "MIB",
    `largest accepted image (${DEFAULT_LIMITS.uploadBytes / MIB})`,
    { min: 1, max: 2 ** 24 },
  ),
  "max-pixels": integer(
    "N",
    `largest image that is decoded whole (${DEFAULT_LIMITS.maxPixels})`,
    { min: 1 },
  ),
  queue: integer(
    "N",
    `most classifications that wait or run at a time (${DEFAULT_LIMITS.pending})`,
    { min: 1, max: 10_000 },
  ),
  timeout: integer(
    "S",
    `longest synchronous classification (${DEFAULT_LIMITS.timeoutMs / 1000})`,
    { min: 1, max: 86_400 },
  ),
  workers: workers("engines in parallel (one a core; one on webgpu)"),
  memory: memory(
    `bound on tensors and caches of each engine (${
      DEFAULT_MEMORY_BYTES / 1e6
    }MB)`,
  ),
  backend: COMMON_FLAGS.backend,
};

export const usage: Usage = {
  synopsis: ["deno task serve --models DIR"],
  groups: [{ flags: SERVE_FLAGS }],
  notes:
    "Prints its address; logs JSON lines to stderr. SIGTERM lets requests end and returns jobs to the queue, which the next start continues.",
};

// Files beside connections: models, jobs, and what images are read from.
const SPARED_FILES = 64;
const MIN_CONNECTIONS = 16;

const DEFAULT_HOST = "127.0.0.1", DEFAULT_PORT = 8000;

/** Address to listen on. */
interface Address {
  hostname: string;
  port: number;
}

/** The address is not available: exit code 1. */
class AddressError extends NamedError {
  override name = "AddressError";
}

/** Options from the command line. */
interface Request extends Address {
  tokenFile: string | undefined;
  limits: Limits;
}

/**
 * Serves until Ctrl-C or SIGTERM.
 *
 * @throws {UsageError} If a flag is wrong, or the server would be open to others.
 * @throws {AddressError} If the address is not available.
 */
export async function run(argv: string[]): Promise<number> {
  const { values: flags } = parseFlags(argv, SERVE_FLAGS);
  const models = await folderOf(flags.models, "models");
  const state = flags.state === undefined
    ? undefined
    : await folderOf(flags.state, "state");
  const { hostname, port, tokenFile, limits } = readRequest(flags);
  const jobs = jobsPlace(flags);
  const tokens = tokenFile === undefined
    ? undefined
    : await Tokens.read(tokenFile);
  const dataRoots = await Promise.all(
    flags["data-root"].map((root) => folderOf(root, "data-root")),
  );
  const encoderFiles = await Promise.all(flags.encoder.map(encoderFile));
  const allowedHosts = flags["allow-host"].map(allowableHost);
  assertFree({ hostname, port }); // before the engines, which take a while to start
  const stop = interruptSignal();
  const log = processLog();
  logBugs(log);
  const server = await startServer({
    models,
    encoderFiles,
    state,
    dataRoots,
    allowedHosts,
    tokens,
    backend: flags.backend,
    workers: flags.workers,
    memory: flags.memory,
    jobs,
    limits,
    log,
  });
  try {
    await listen(server, { hostname, port, stop });
  } finally {
    server.close(true);
  }
  return 0;
}

function readRequest(flags: FlagValues<typeof SERVE_FLAGS>): Request {
  const hostname = flags.host ?? DEFAULT_HOST;
  const tokenFile = flags["token-file"];
  if (tokenFile === undefined && !isLoopback(hostname)) {
    throw new UsageError(
      `Without a token the server on ${hostname} would be open to others: give --token-file FILE`,
    );
  }
  const { uploadBytes, maxPixels, pending, timeoutMs } = DEFAULT_LIMITS;
  const { "max-upload": megabytes, timeout: seconds } = flags;
  return {
    hostname,
    port: flags.port ?? DEFAULT_PORT,
    tokenFile,
    limits: {
      ...DEFAULT_LIMITS,
      uploadBytes: megabytes === undefined ? uploadBytes : megabytes * MIB,
      maxPixels: flags["max-pixels"] ?? maxPixels,
      pending: flags.queue ?? pending,
      timeoutMs: seconds === undefined ? timeoutMs : seconds * 1000,
    },
  };
}

/** @throws {UsageError} If there is no such folder. */
export async function folderOf(path: string, flag: string): Promise<string> {
  const info = await Deno.stat(path).catch(() => undefined);
  if (info?.isDirectory) return path;
  throw new UsageError(
    `--${flag} ${path} does not exist or is not a folder: create it first`,
  );
}

/** Path of an encoder, absolute. @throws {UsageError} If there is none. */
export async function encoderFile(path: string): Promise<string> {
  const found = await Deno.realPath(await spelled(path)).catch(() => {});
  if (found !== undefined) return found;
  throw new UsageError(`--encoder ${path} does not exist: name a file`);
}

/**
 * @throws {UsageError} If no URL could match the host, or the credentials of a
 *   bucket are missing.
 */
export function allowableHost(host: string): string {
  const bucket = bucketAddress(host);
  if (bucket) assertSigned(host, bucket);
  if (isAllowable(host)) return host;
  throw new UsageError(
    `--allow-host "${host}" matches no URL: write host or host:port, such as example.org or [2001:db8::1]:8080, or s3://BUCKET`,
  );
}

/** @throws {UsageError} If the server has no credentials for the bucket. */
function assertSigned(name: string, { service }: CloudBucket): void {
  const names = CLOUD_VARIABLES[service];
  const hidden = names.filter((variable) =>
    Deno.permissions.querySync({ name: "env", variable }).state !== "granted"
  );
  if (hidden.length > 0) {
    throw new UsageError(
      `--allow-host ${name} needs credentials, and the server may not read ${
        hidden.join(",")
      }: add them to its --allow-env (docs/deploy.md)`,
    );
  }
  if (signerOf(service, environment) === undefined) {
    throw new UsageError(
      `--allow-host ${name} needs credentials: set ${CREDENTIALS[service]}`,
    );
  }
}

/** @throws {AddressError} */
function assertFree(address: Address): void {
  try {
    Deno.listen(address).close();
  } catch (cause) {
    const reason = cause instanceof Deno.errors.AddrInUse
      ? "another program listens there; give another --port"
      : `${(cause as Error).message}; give another --host or --port`;
    throw new AddressError(`Cannot serve on ${textOf(address)}: ${reason}`, {
      cause,
    });
  }
}

function textOf({ hostname, port }: Address): string {
  return `${hostname.includes(":") ? `[${hostname}]` : hostname}:${port}`;
}

/**
 * The log on stderr. Deno exports what the console prints, with the severity of
 * its method, which for "info" is one that prints to stdout.
 */
export function processLog(): Log {
  return jsonLog((line, level) => console[isExporting ? level : "error"](line));
}

/** Logs uncaught errors, so that one bad request does not end the others. */
export function logBugs(log: Log): void {
  globalThis.addEventListener("unhandledrejection", (event) => {
    event.preventDefault();
    log("error", "bug", { stack: stackOf(event.reason) });
  });
  globalThis.addEventListener("error", (event) => {
    event.preventDefault();
    log("error", "bug", { stack: String(event.error?.stack ?? event.message) });
  });
}

function stackOf(error: unknown): string {
  return String(error instanceof Error ? error.stack : error);
}

/**
 * Answers requests until `stop`, then lets running ones end within the server's
 * limit.
 *
 * @throws {ListenerError} If the listener fails; the server has stopped then.
 */
export async function listen(
  server: Server,
  { hostname, port, stop }: Address & { stop: AbortSignal },
): Promise<void> {
  const { limits, log } = server;
  const http = await serveHttp(createApp(server).fetch, {
    hostname,
    port,
    limits: {
      ...limits,
      stallMs: limits.pace.stallMs,
      connections: connectionsOf(limits, log),
    },
    onError: (error) => log("error", "bug", { stack: stackOf(error) }),
    onReopened: () =>
      log("warn", "listener reopened", {
        reason: "it accepted no more, as without files left (ulimit -n)",
      }),
  });
  console.log(`http://${textOf({ hostname, port: http.port })}`);
  viewerAssets().catch(() => {}); // who opens the page is told
  let failure: Error | undefined;
  if (!stop.aborted) { // stopped while the server was starting
    const stopped = new Promise<void>((done) =>
      stop.addEventListener("abort", () => done())
    );
    await Promise.race([stopped, http.failed])
      .catch((error) => failure = error);
  }
  log("info", "stopping");
  // New requests still get a 503 while jobs are returned to the queue.
  const done = server.drain().then(() => http.shutdown());
  await Promise.race([done, pause(limits.drainMs)]);
  log("info", "stopped");
  if (failure) throw failure;
}

/** Most connections, with files to spare for images, uploads and models. */
function connectionsOf({ connections, pending }: Limits, log: Log): number {
  const spared = pending + SPARED_FILES;
  const left = filesLeft(connections + spared) - spared;
  if (left < MIN_CONNECTIONS) {
    throw new ListenerError(
      `Cannot serve with so few open files: raise the limit by ${
        MIN_CONNECTIONS - left
      } (ulimit -n)`,
    );
  }
  if (left < connections) {
    log("warn", "fewer connections", {
      connections: left,
      reason: "the limit of open files (ulimit -n) is low",
    });
  }
  return Math.min(left, connections);
}
