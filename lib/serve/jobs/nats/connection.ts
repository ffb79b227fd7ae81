/**
 * The connection to NATS, and what zoomin keeps there: a stream of jobs to do, a
 * key-value bucket of their records, and a bucket of files. Their names begin
 * with a prefix, so that several installations share a server.
 *
 * @module
 */
import {
  DeliverPolicy,
  jetstream,
  JetStreamApiError,
  type JetStreamClient,
  type JetStreamManager,
  jetstreamManager,
  RetentionPolicy,
} from "@nats-io/jetstream";
import { type KV, Kvm } from "@nats-io/kv";
import { type ObjectStore, Objm } from "@nats-io/obj";
import {
  connect,
  credsAuthenticator,
  nanos,
  type NatsConnection,
} from "@nats-io/transport-node";
import { setTimeout as pause } from "node:timers/promises";
import { DataError, UsageError } from "../../../errors.ts";
import { NotReadyError } from "../../errors.ts";
import { JOB_KINDS, type JobKind } from "../store.ts";
import { type NatsPlace, parsePlace } from "./place.ts";

/** Options of {@linkcode openNats}. */
export interface NatsOptions extends NatsPlace {
  /** Lifetime of a lease without a heartbeat, ms. */
  leaseMs: number;
  /** Behind the prefix of all names: jobs of another sort. */
  part?: string;
}

/** What a process has of NATS. */
export interface Nats {
  connection: NatsConnection;
  js: JetStreamClient;
  jsm: JetStreamManager;
  /** Records of jobs, and what points at them. */
  records: KV;
  /** Files of jobs and models, by content. */
  objects: ObjectStore;
  names: Names;
  /** Copies of what is kept. */
  replicas: number;
}

/** Names of what is kept. */
export interface Names {
  stream: string;
  bucket: string;
  objects: string;
  /** Object store of frozen features, made when the first are shared. */
  features: string;
  /** Subject of the messages of a job. */
  subjectOf(kind: JobKind, id: string): string;
  /** Durable consumer of a kind. */
  consumerOf(kind: JobKind): string;
  /** Bucket of what workers tell of themselves. */
  workers: string;
  /** Subject of messages between processes, which nothing keeps. */
  noticesOf(topic: string): string;
}

/** Version of all that is kept; a newer program's is refused. */
const VERSION = 1;
const VERSION_KEY = "version";

// Objects that nothing has pointed at for so long are gone; a result is kept
// for a week after its job ended.
const KEEP_OBJECTS_MS = 60 * 24 * 3600 * 1000;
const CONNECT_MS = 10_000;
// A node whose network is cut falls silent: two pings without an answer, and the
// next node is tried. By default that takes some minutes.
const PING_EVERY_MS = 3000, MAX_PINGS_OUT = 2;
// Longest that calls are tried again. A cluster that lost a node chooses the
// leaders of its streams in 10 s, and a call that was on its way waits for 5.
const PATIENCE_MS = 30_000;
const FIRST_PAUSE_MS = 50, MAX_PAUSE_MS = 1000;

/**
 * Connects, and creates what is missing.
 *
 * @throws {UsageError} If the URL is wrong.
 * @throws {DataError} If there is no such server, it has no JetStream, or a
 *   newer program keeps its jobs there.
 */
export async function openNats(options: NatsOptions): Promise<Nats> {
  const { prefix } = parsePlace(options.url);
  let connection: NatsConnection | undefined;
  try {
    connection = await connected(options);
    return await prepared(connection, prefix + (options.part ?? ""), options);
  } catch (cause) {
    await connection?.close();
    throw unreachable(cause, options, "keep jobs", " with --jetstream");
  }
}

/**
 * Connects to NATS alone, which needs no JetStream.
 *
 * @throws {UsageError} If the URL is wrong.
 * @throws {DataError} If there is no such server.
 */
export async function connectNats(
  place: NatsPlace,
): Promise<{ connection: NatsConnection; prefix: string }> {
  const { prefix } = parsePlace(place.url);
  try {
    return { connection: await connected(place), prefix };
  } catch (cause) {
    throw unreachable(cause, place, "share images");
  }
}

async function connected(place: NatsPlace): Promise<NatsConnection> {
  const { servers, prefix: _, ...login } = parsePlace(place.url);
  forgiveResets();
  return await connect({
    servers,
    name: "zoomin",
    timeout: CONNECT_MS,
    pingInterval: PING_EVERY_MS,
    maxPingOut: MAX_PINGS_OUT,
    maxReconnectAttempts: -1,
    ...login,
    ...await security(place),
  });
}

/** Why NATS cannot be used, in one line. */
function unreachable(
  cause: unknown,
  { url }: NatsPlace,
  act: string,
  how = "",
): unknown {
  if (cause instanceof DataError || cause instanceof UsageError) return cause;
  const { servers } = parsePlace(url);
  const reason = (cause as Error).message.replaceAll(/\s+/g, " ");
  return new DataError(
    `Cannot ${act} at ${
      servers.join(",")
    }: ${reason}; start nats-server there${how}, and check --jobs, its credentials and certificate`,
    { cause },
  );
}

let areResetsForgiven = false;

/**
 * Lets the process live when a server closes a connection that the client has
 * already let go of: the client has told why, and Deno tells it once more to
 * nobody, which ends a process.
 */
function forgiveResets(): void {
  if (areResetsForgiven) return;
  areResetsForgiven = true;
  globalThis.addEventListener("error", (event) => {
    if (event.error?.code === "ECONNRESET") event.preventDefault();
  });
}

async function security({ credentials, authority }: NatsPlace) {
  const read = (path: string) =>
    Deno.readFile(path).catch((cause) => {
      throw new UsageError(`Cannot read ${path}: name a file`, { cause });
    });
  return {
    ...(credentials !== undefined && {
      authenticator: credsAuthenticator(await read(credentials)),
    }),
    ...(authority !== undefined && {
      tls: { ca: new TextDecoder().decode(await read(authority)) },
    }),
  };
}

async function prepared(
  connection: NatsConnection,
  prefix: string,
  { leaseMs }: NatsOptions,
): Promise<Nats> {
  const js = jetstream(connection);
  const jsm = await patiently(() => jetstreamManager(connection));
  const names = namesOf(prefix);
  const replicas = replicasOf(connection);
  const records = await patiently(() =>
    new Kvm(js).create(names.bucket, {
      history: 1,
      replicas,
      // By the leader: a copy that lags would show a lease that is lost.
      allow_direct: false,
    })
  );
  await checkVersion(records, prefix);
  const objects = await patiently(() =>
    new Objm(js).create(names.objects, {
      replicas,
      ttl: nanos(KEEP_OBJECTS_MS),
    })
  );
  await patiently(() => addStream(jsm, names, prefix, replicas));
  for (const kind of JOB_KINDS) {
    await patiently(() => addConsumer(jsm, names, kind, leaseMs));
  }
  return { connection, js, jsm, records, objects, names, replicas };
}

/** Copies of what is kept: a cluster keeps three, because one node may die. */
export function replicasOf({ info }: NatsConnection): number {
  return info?.cluster === undefined ? 1 : 3;
}

function namesOf(prefix: string): Names {
  return {
    stream: `${prefix}-jobs`,
    bucket: `${prefix}-jobs`,
    objects: `${prefix}-files`,
    features: `${prefix}-features`,
    subjectOf: (kind, id) => `${prefix}.jobs.${kind}.${id}`,
    consumerOf: (kind) => `${prefix}-${kind}`,
    workers: `${prefix}-workers`,
    noticesOf: (topic) => `${prefix}.notices.${topic}`,
  };
}

/** @throws {DataError} */
async function checkVersion(records: KV, prefix: string): Promise<void> {
  const entry = await patiently(() => records.get(VERSION_KEY));
  if (entry === null) {
    await patiently(() => records.create(VERSION_KEY, String(VERSION)))
      .catch(ignoreWrongRevision); // another process was first
    return;
  }
  const version = Number(entry.string());
  if (version <= VERSION) return;
  throw new DataError(
    `Cannot share the jobs of "${prefix}" in NATS: a newer zoomin keeps them (version ${version}, this one knows ${VERSION}); update zoomin, or give another prefix`,
  );
}

async function addStream(
  jsm: JetStreamManager,
  { stream }: Names,
  prefix: string,
  replicas: number,
): Promise<void> {
  const known = await jsm.streams.info(stream).catch(ignoreMissing);
  if (known) return;
  await jsm.streams.add({
    name: stream,
    subjects: [`${prefix}.jobs.>`],
    retention: RetentionPolicy.Workqueue,
    num_replicas: replicas,
  });
}

/** Creates the consumer of a kind, or gives it the lease of this process. */
async function addConsumer(
  jsm: JetStreamManager,
  { stream, consumerOf, subjectOf }: Names,
  kind: JobKind,
  leaseMs: number,
): Promise<void> {
  const known = await jsm.consumers.info(stream, consumerOf(kind))
    .catch(ignoreMissing);
  if (known?.config.ack_wait === nanos(leaseMs)) return;
  await jsm.consumers.add(stream, {
    durable_name: consumerOf(kind),
    filter_subject: subjectOf(kind, "*"),
    deliver_policy: DeliverPolicy.All,
    ack_policy: "explicit",
    ack_wait: nanos(leaseMs),
    max_deliver: -1,
    max_ack_pending: -1,
  });
}

const MISSING = [10014, 10059]; // a consumer, a stream

/** Takes an error that says that there is none for no error. */
export function ignoreMissing(error: unknown): undefined {
  const isMissing = error instanceof JetStreamApiError &&
    MISSING.includes(error.code);
  if (!isMissing) throw error;
}

const WRONG_REVISION = [10071, 10164];

/** True if a write expected another revision than the last. */
export function isWrongRevision(error: unknown): boolean {
  return error instanceof JetStreamApiError &&
    WRONG_REVISION.includes(error.code);
}

/** Takes an error of {@linkcode isWrongRevision} for no error. */
export function ignoreWrongRevision(error: unknown): undefined {
  if (!isWrongRevision(error)) throw error;
}

// Errors of a server that is away, or of a cluster without a leader.
const PASSING = [
  "TimeoutError",
  "NoRespondersError",
  "ConnectionError",
  "ClosedConnectionError",
  "RequestError",
  "JetStreamNotEnabled",
];
const JETSTREAM_AWAY = [10008, 10023, 10076];

function isPassing(error: unknown): boolean {
  if (error instanceof JetStreamApiError) {
    return JETSTREAM_AWAY.includes(error.code) || error.status === 503;
  }
  return error instanceof Error && PASSING.includes(error.name);
}

/** An error of NATS as callers are told it: away, or a fault. */
export function toldOf(error: unknown): unknown {
  if (!isPassing(error)) return error;
  return new NotReadyError(
    "The store of jobs does not answer: try again later",
    { cause: error },
  );
}

// Longest that a stream of objects or keys may stand still.
const STALL_MS = 10_000;

/**
 * `part` of what NATS sends without being asked for each: what a node was about
 * to send when it died never comes.
 *
 * @throws {NotReadyError} If it does not come.
 */
export async function inTime<T>(part: Promise<T>): Promise<T> {
  const over = new AbortController();
  const late = pause(STALL_MS, undefined, { signal: over.signal }).then(() => {
    throw new NotReadyError("The store of jobs stopped in an answer");
  });
  late.catch(() => {}); // it was in time
  try {
    return await Promise.race([part, late]);
  } finally {
    over.abort();
  }
}

/**
 * Calls `work` again while NATS is away, for some seconds.
 *
 * @throws {NotReadyError} If it stays away.
 */
export async function patiently<T>(work: () => Promise<T>): Promise<T> {
  const until = performance.now() + PATIENCE_MS;
  for (let ms = FIRST_PAUSE_MS;; ms = Math.min(2 * ms, MAX_PAUSE_MS)) {
    try {
      return await work();
    } catch (cause) {
      const told = toldOf(cause);
      if (!(told instanceof NotReadyError) || performance.now() > until) {
        throw told;
      }
      await pause(ms);
    }
  }
}
