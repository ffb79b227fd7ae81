/**
 * `deno task serve`: classify and train over HTTP.
 *
 * @module
 */
import { setTimeout as pause } from "node:timers/promises";
import { NamedError, UsageError } from "../errors.ts";
import { createApp } from "../../routes/app.ts";
import { isLoopback } from "../serve/addresses.ts";
import { readToken } from "../serve/auth.ts";
import { isAllowable } from "../serve/guarded_fetch.ts";
import { DEFAULT_LIMITS, type Limits } from "../serve/limits.ts";
import { jsonLog, type Log } from "../serve/logging.ts";
import { type Server, startServer } from "../serve/server.ts";
import { DEFAULT_MEMORY_BYTES } from "../memory.ts";
import { Flags } from "./flags.ts";
import { interruptSignal } from "./terminal.ts";

export const summary = "Serve models over HTTP: classify, train, jobs";

const MIB = 2 ** 20;

export const usage = `deno task serve --models DIR

  --models DIR       folder of runs and checkpoints; trained ones appear in it
  --host ADDRESS     address to listen on (127.0.0.1)
  --port N           port to listen on; 0 takes a free one (8000)
  --data-root DIR    folder whose files requests may name; may be repeated
  --allow-host HOST  host, or host:port, that images may be fetched from; may
                     be repeated
  --token-file FILE  the token that requests must bear; needed on any address
                     but this machine's own
  --max-upload MIB   largest image that is taken (${
  DEFAULT_LIMITS.uploadBytes / MIB
})
  --max-pixels N     largest image that is decoded whole (${DEFAULT_LIMITS.maxPixels})
  --queue N          classifications that wait or run at a time (${DEFAULT_LIMITS.pending})
  --timeout S        longest synchronous classification (${
  DEFAULT_LIMITS.timeoutMs / 1000
})
  --workers N        engines side by side (one a core; one on webgpu)
  --memory SIZE      bound on tensors and caches of each engine (${
  DEFAULT_MEMORY_BYTES / 1e6
}MB)
  --backend NAME     auto, webgpu or wasm (auto)

Prints its address; logs JSON lines to stderr. SIGTERM lets requests end and
gives jobs back to the queue, from where the next start goes on.`;

const DEFAULT_HOST = "127.0.0.1", DEFAULT_PORT = 8000;

/** Where to listen. */
interface Address {
  hostname: string;
  port: number;
}

/** The address cannot be listened on: exit code 1. */
class AddressError extends NamedError {
  override name = "AddressError";
}

/** What the command line asks for. */
interface Request extends Address {
  tokenFile: string | undefined;
  limits: Limits;
}

/**
 * Serves until Ctrl-C or SIGTERM.
 *
 * @throws {UsageError} If a flag is wrong, or strangers could get in.
 * @throws {AddressError} If that address cannot be listened on.
 */
export async function run(argv: string[]): Promise<number> {
  const flags = new Flags(argv, {
    models: { type: "string" },
    host: { type: "string" },
    port: { type: "string" },
    "data-root": { type: "string", multiple: true },
    "allow-host": { type: "string", multiple: true },
    "token-file": { type: "string" },
    "max-upload": { type: "string" },
    "max-pixels": { type: "string" },
    queue: { type: "string" },
    timeout: { type: "string" },
    workers: { type: "string" },
    memory: { type: "string" },
    backend: { type: "string" },
  });
  const models = await folderOf(flags.required("models", "DIR"), "models");
  const { hostname, port, tokenFile, limits } = readRequest(flags);
  const token = tokenFile === undefined
    ? undefined
    : await readToken(tokenFile);
  const dataRoots = await Promise.all(
    flags.texts("data-root").map((root) => folderOf(root, "data-root")),
  );
  const allowedHosts = flags.texts("allow-host").map(allowableHost);
  assertFree({ hostname, port }); // engines take a while to start
  const stop = interruptSignal();
  const log = jsonLog((line) => console.error(line));
  logBugs(log);
  const server = await startServer({
    models,
    dataRoots,
    allowedHosts,
    token,
    backend: flags.backend(),
    workers: flags.workers(),
    memory: flags.memory(),
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

function readRequest(flags: Flags): Request {
  const hostname = flags.text("host") ?? DEFAULT_HOST;
  const tokenFile = flags.text("token-file");
  if (tokenFile === undefined && !isLoopback(hostname)) {
    throw new UsageError(
      `Cannot listen on ${hostname} without a token, as others could get in: give --token-file FILE`,
    );
  }
  const { uploadBytes, maxPixels, pending, timeoutMs } = DEFAULT_LIMITS;
  const least = 1;
  const megabytes = flags.integer("max-upload", { least, most: 2 ** 24 });
  const seconds = flags.integer("timeout", { least, most: 86_400 });
  return {
    hostname,
    port: flags.integer("port", { most: 65_535 }) ?? DEFAULT_PORT,
    tokenFile,
    limits: {
      ...DEFAULT_LIMITS,
      uploadBytes: megabytes === undefined ? uploadBytes : megabytes * MIB,
      maxPixels: flags.integer("max-pixels", { least }) ?? maxPixels,
      pending: flags.integer("queue", { least, most: 10_000 }) ?? pending,
      timeoutMs: seconds === undefined ? timeoutMs : seconds * 1000,
    },
  };
}

async function folderOf(path: string, flag: string): Promise<string> {
  const info = await Deno.stat(path).catch(() => undefined);
  if (info?.isDirectory) return path;
  throw new UsageError(
    `Cannot take --${flag} ${path}: there is no such folder`,
  );
}

/** @throws {UsageError} If no URL could ever be of that host. */
function allowableHost(host: string): string {
  if (isAllowable(host)) return host;
  throw new UsageError(
    `Cannot take --allow-host "${host}": no address matches it; write it as host or host:port, such as example.org or [2001:db8::1]:8080`,
  );
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

/** Notes what nobody caught: one bad request must not end the others. */
function logBugs(log: Log): void {
  globalThis.addEventListener("unhandledrejection", (event) => {
    event.preventDefault();
    log("error", "bug", { stack: String(event.reason?.stack ?? event.reason) });
  });
  globalThis.addEventListener("error", (event) => {
    event.preventDefault();
    log("error", "bug", { stack: String(event.error?.stack ?? event.message) });
  });
}

/**
 * Answers requests until `stop`, then lets those under way end, within the
 * server's limit.
 */
export async function listen(
  server: Server,
  { hostname, port, stop }: Address & { stop: AbortSignal },
): Promise<void> {
  const app = createApp(server);
  const http = Deno.serve({
    hostname,
    port,
    onListen(address) {
      console.log(`http://${textOf(address)}`);
    },
  }, app.fetch);
  if (!stop.aborted) { // while the server started
    await new Promise((done) => stop.addEventListener("abort", done));
  }
  server.log("info", "stopping");
  // What is new is told so for as long as jobs are being given back.
  const done = server.drain().then(() => http.shutdown());
  const { drainMs } = server.limits;
  await Promise.race([done, pause(drainMs)]);
  server.log("info", "stopped");
}
