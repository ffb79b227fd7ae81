/**
 * Assembles the parts of the server, and starts and stops them.
 *
 * @module
 */
import { mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import project from "../../deno.json" with { type: "json" };
import type { BackendChoice } from "../engine/select.ts";
import { Memory } from "../memory.ts";
import { Annotations } from "./annotations/annotations.ts";
import { AnnotationStore } from "./annotations/store.ts";
import type { Tokens } from "./auth.ts";
import { batchWork } from "./jobs/batch.ts";
import { classifyWork } from "./jobs/classify.ts";
import { EnginePool } from "./engine/pool.ts";
import { JsonReader } from "./inference/json_reader.ts";
import { BodyRoom } from "./intake/body_room.ts";
import { freeBytes } from "./intake/disk.ts";
import { Images } from "./intake/images.ts";
import { KeptUploads } from "./intake/kept_uploads.ts";
import { Isolation } from "./jobs/isolation.ts";
import { JobRunner, type JobWork } from "./jobs/runner.ts";
import { cutBatchWork, pieceWork } from "./jobs/cut_batch.ts";
import {
  type CutFoldsOptions,
  cutFoldsWork,
  foldWork,
} from "./jobs/cut_folds.ts";
import { Presence } from "./jobs/presence.ts";
import { NO_PRIORITY } from "./jobs/priority.ts";
import { type Job, type JobKind, SERVED_KINDS } from "./jobs/store.ts";
import { Jobs } from "./jobs/jobs.ts";
import { idleCollector } from "./idle_collector.ts";
import type { Limits } from "./limits.ts";
import type { Log } from "./logging.ts";
import { Messages } from "./redaction.ts";
import { ServerMetrics } from "./prometheus.ts";
import { ModelRegistry } from "./models.ts";
import { Predictor } from "./predictor.ts";
import { Sources } from "./intake/allowed_sources.ts";
import { type NatsPlace, SHARED_LEASE_MS } from "./jobs/nats/place.ts";
import type { SharedJobs } from "./jobs/nats/open.ts";
import { jobFolderName, OWN_FOLDERS } from "./jobs/shared_folders.ts";
import { SharedModels } from "./jobs/shared_models.ts";
import { SqliteJobStore } from "./jobs/sqlite_store.ts";
import { ownWorkers, type Workers } from "./jobs/workers.ts";
import { Tables } from "./tables/tables.ts";
import { Tiles } from "./tiles/tiles.ts";
import {
  isOfFolds,
  Trainings,
  trainWork,
  type TrainWorkOptions,
} from "./jobs/train.ts";
import { Uploads } from "./intake/uploads.ts";

/** Options of {@linkcode startServer}. */
export interface ServerOptions {
  /** Folder of the models. */
  models: string;
  /**
   * Files of encoders that are no longer where they were in training, absolute,
   * without symbolic links.
   */
  encoderFiles?: readonly string[];
  /** Folder of jobs, uploads and the default; if omitted, in that of models. */
  state?: string | undefined;
  /** Data folders: requests may name files in them. */
  dataRoots: readonly string[];
  /** Hosts that images may be fetched from. */
  allowedHosts: readonly string[];
  /** Tokens of requests; none if only this machine has access. */
  tokens?: Tokens | undefined;
  backend: BackendChoice;
  /** Number of engines; if omitted, one a core on wasm and one on a GPU. */
  workers?: number | undefined;
  /** Bound on tensors and caches of each engine; the default if undefined. */
  memory?: Memory | undefined;
  /** Where jobs are shared with other hosts; in the state folder if omitted. */
  jobs?: NatsPlace | undefined;
  /** Kinds of jobs that are done here; all if omitted. */
  kinds?: readonly JobKind[] | undefined;
  limits: Limits;
  log: Log;
  /** Module of the engine's Worker; a test may replace it. */
  engineModule?: URL;
  /** Module of the training Worker; a test may replace it. */
  trainModule?: URL;
}

/** Parts of the server that the routes use. */
export interface Server {
  readonly engine: EnginePool;
  readonly models: ModelRegistry;
  readonly predictor: Predictor;
  readonly images: Images;
  readonly sources: Sources;
  readonly annotations: Annotations;
  readonly uploads: Uploads;
  readonly kept: KeptUploads;
  readonly tiles: Tiles;
  readonly bodies: BodyRoom;
  readonly json: JsonReader;
  readonly jobs: Jobs;
  readonly workers: Workers;
  readonly metrics: ServerMetrics;
  readonly limits: Limits;
  readonly messages: Messages;
  readonly tokens: Tokens | undefined;
  readonly log: Log;
  /** Reason why no work is accepted now; undefined if ready. */
  readonly notReady: string | undefined;
  /** Aborts when the server begins to stop. */
  readonly draining: AbortSignal;
  /** Stops accepting work and returns unfinished jobs to the queue. */
  drain(): Promise<void>;
  /** Frees everything; for `isEnd` see {@linkcode EnginePool.close}. */
  close(isEnd?: boolean): void;
}

// Inside the folder of models, where it is not said to be elsewhere.
const STATE_FOLDER = ".server";
// Inside that of the state: frozen features, which hosts that share jobs share.
const FEATURES_FOLDER = "features";
// Share of the bound of an engine for the pictures of a page: blocks and images
// that are held decoded.
const TILE_SHARE = 1 / 4;
// A heartbeat each second; a lease expires after five seconds without one.
const BEAT_MS = 1000, LEASE_MS = 5000;
// Longest that a lane waits at the queue of all hosts, and a stop for the lane.
const CLAIM_MS = 1000;
const LOOK_EVERY_MS = 5000;
const KEEP_JOBS_MS = 7 * 24 * 3600 * 1000;
const PRUNE_EVERY_MS = 3600 * 1000;

/**
 * Starts the engine, the models and the jobs.
 *
 * @throws {EngineError} If the engine does not start or fails its self-test.
 */
export async function startServer(options: ServerOptions): Promise<Server> {
  const { limits, log, tokens } = options;
  const parts = await putTogether(options);
  const { engine, models, predictor, jobs, runner, store, drawn, isolation } =
    parts;
  const { sharedModels, pieces, pieceRunner, presence } = parts;
  try {
    await engine.start();
    await sharedModels.takeAll();
    await models.refresh();
    await presence.learn();
  } catch (error) {
    engine.close();
    drawn.close();
    await Promise.all([store.close(), pieces?.close()]);
    throw error;
  }
  for (const { name, error } of models.faults) {
    log("warn", "no model", { name, error });
  }
  runner.start();
  pieceRunner?.start();
  presence.start();
  const stopLooking = await lookAfter(parts, log);
  const draining = new AbortController();
  return {
    ...parts,
    limits,
    tokens,
    log,
    get notReady() {
      if (draining.signal.aborted) return "the server is stopping";
      if (engine.status) return models.notReady ?? isolation.notReady;
      return engine.failure ?? "the engine is being started";
    },
    draining: draining.signal,
    async drain() {
      draining.abort();
      predictor.drain();
      jobs.drain();
      await Promise.all([runner.drain(), pieceRunner?.drain()]);
      await presence.leave();
    },
    close(isEnd) {
      presence.stop();
      stopLooking();
      parts.tiles.close();
      parts.kept.close();
      parts.uploads.close();
      parts.json.close();
      engine.close(isEnd);
      parts.drawn.close();
      for (const each of [store, pieces]) {
        each?.close().catch(() => {}); // NATS is away
      }
    },
  };
}

type Parts = Awaited<ReturnType<typeof putTogether>>;

/** Creates the parts; starts none. */
async function putTogether(options: ServerOptions) {
  const { limits, log, allowedHosts, encoderFiles = [] } = options;
  const { bytes: memoryBytes } = options.memory ?? new Memory();
  const modelFolder = await Deno.realPath(options.models);
  const state = options.state === undefined
    ? join(modelFolder, STATE_FOLDER)
    : await Deno.realPath(options.state);
  const jobFolder = join(state, "jobs");
  await mkdir(jobFolder, { recursive: true });
  const sources = await Sources.open({
    roots: options.dataRoots,
    hosts: allowedHosts,
  });
  const tables = new Tables({ roots: sources.roots, hosts: allowedHosts });
  const messages = new Messages([
    ...sources.roots,
    ...encoderFiles.map((file) => dirname(file)),
    modelFolder,
    jobFolder,
  ]);
  const uploads = await Uploads.open(join(state, "uploads"), limits);
  const kept = new KeptUploads(uploads, limits);
  const images = new Images(sources, uploads, kept);
  const tiles = new Tiles({
    allowedHosts,
    memoryBytes: memoryBytes * TILE_SHARE,
    maxPixels: limits.maxPixels,
    maxBlocks: limits.viewBlocks.waited,
    pending: limits.pictures,
    timeoutMs: limits.timeoutMs,
  });
  const { store, pieces, shared, workers, priority } = await openJobs(
    options.jobs,
    { state, limits, hasGpu: () => engine.status?.backend === "webgpu" },
  );
  const engine = new EnginePool({
    backend: options.backend,
    trial: { models: modelFolder, file: join(state, "engines.json") },
    allowedHosts,
    encoderFiles,
    memoryBytes,
    workers: options.workers,
    stopMs: limits.stopMs,
    ...(options.engineModule && { module: options.engineModule }),
    onReady: ({ reason }) => log("info", "engine ready", { engine: reason }),
    onLost(reason) {
      metrics.engineLost();
      log("error", "engine lost", { reason });
    },
  });
  const models = new ModelRegistry({
    folder: modelFolder,
    stateFolder: state,
    engine,
    encoderFiles,
    messages,
    onRemoved: (name) => sharedModels.remove(name),
  });
  const sharedModels: SharedModels = new SharedModels(shared, models);
  const isolation = new Isolation({
    store: {
      // One of them has the job.
      async noteAlone(job, isAlone) {
        await store.noteAlone(job, isAlone);
        await pieces?.noteAlone(job, isAlone);
      },
    },
    busy: () => engine.busy,
    aloneMs: limits.aloneMs,
  });
  const workEnded = idleCollector();
  const predictor = new Predictor({
    engine,
    models,
    isolation,
    limits,
    onClassified: ({ model, timings, bytesRead }) =>
      metrics.classified({ model: model.name, timings, bytesRead }),
    onEnd(model, outcome) {
      metrics.classification(model, outcome);
      if (outcome === "ok") presence.noteImage();
      workEnded();
    },
  });
  const metrics = new ServerMetrics({
    pending: () => predictor.pending,
    gpuBytes: () => engine.gpuBytes(),
    engines: () => engine.states,
    jobs: () => store.counts(),
    waiting: async () => ({
      ...await store.waiting(),
      ...(pieces && { piece: (await pieces.waiting()).batch }),
    }),
    workers: () => workers.list(),
    diskFree: () => freeBytes(state),
  }, limits.pending);
  const running = {
    messages,
    log,
    folder: jobFolder,
    shared,
    isolation,
    isReady: (kind: JobKind) =>
      engine.status !== undefined && (!trains(kind) || trainings.isFree),
    priority,
    beatMs: BEAT_MS,
  };
  const trainings = new Trainings();
  const training: TrainWorkOptions = {
    backend: options.backend,
    workers: options.workers,
    allowedHosts,
    roots: sources.roots,
    engine,
    models,
    tables,
    sharedModels,
    trainings,
    features: options.jobs &&
      { folder: join(state, FEATURES_FOLDER), jobs: options.jobs },
    log,
    module: options.trainModule,
    maxPixels: limits.maxPixels,
    stopMs: limits.stopMs,
    memoryBytes,
  };
  const works = worksOf({
    sharedModels,
    engine,
    models,
    tables,
    images,
    predictor,
    messages,
    training,
  });
  const place = pieces && { store, pieces, shared };
  const cut = place && inPieces(works, { ...training, ...place });
  const { kinds } = options;
  const runner = new JobRunner({
    ...running,
    store,
    works: ofKinds(kinds, { ...works, ...cut?.whole }),
    ...(cut && { isCoordinator }),
    onEnd(kind, state) {
      metrics.jobEnded(kind, state);
      presence.noteEnd(state);
    },
  });
  const pieceRunner = cut && new JobRunner({
    ...running,
    store: cut.store,
    // One is computed while another is claimed, or its results are kept.
    lanes: { batch: 2 },
    works: ofKinds(
      kinds?.includes("train") ? [...kinds, "fold"] : kinds,
      cut.works,
    ),
    onEnd: (_, state) => presence.noteEnd(state), // its whole is what ends
  });
  const presence: Presence = new Presence({
    workers,
    // A server alone needs no name, nor the permission to know it.
    host: options.jobs === undefined ? "localhost" : Deno.hostname(),
    runners: pieceRunner ? [runner, pieceRunner] : [runner],
    about: () => ({
      version: project.version,
      engine: engine.status?.reason ?? null,
      hasGpu: engine.status?.backend === "webgpu",
      memoryBytes,
      kinds: kinds ?? SERVED_KINDS,
    }),
    log,
  });
  const drawn = new AnnotationStore(join(state, "annotations.sqlite"));
  const annotations = new Annotations({
    store: drawn,
    sources,
    tables,
    messages,
  });
  const jobs = new Jobs({
    store,
    runner,
    shared,
    sharedModels,
    annotations,
    models,
    sources,
    tables,
    messages,
  });
  return {
    engine,
    models,
    predictor,
    isolation,
    images,
    sources,
    annotations,
    drawn,
    kept,
    tiles,
    uploads,
    bodies: new BodyRoom(limits.heldBytes, limits.bodyWaitMs),
    json: new JsonReader(),
    jobs,
    metrics,
    messages,
    runner,
    pieceRunner,
    presence,
    workers,
    store,
    pieces,
    shared,
    sharedModels,
    jobFolder,
  };
}

/** The jobs of this server alone, or those of all hosts at a place. */
async function openJobs(
  place: NatsPlace | undefined,
  { state, limits, hasGpu }: {
    state: string;
    limits: Limits;
    hasGpu: () => boolean;
  },
): Promise<Omit<SharedJobs, "pieces"> & Partial<SharedJobs>> {
  const { queuedJobs, sharedQueuedJobs } = limits;
  if (place === undefined) {
    const file = join(state, "jobs.sqlite");
    return {
      store: new SqliteJobStore(file, { leaseMs: LEASE_MS, queuedJobs }),
      shared: OWN_FOLDERS,
      workers: ownWorkers(),
      priority: NO_PRIORITY,
    };
  }
  // Loaded only here: most servers are alone.
  const { openNatsJobs } = await import("./jobs/nats/open.ts");
  return await openNatsJobs({
    ...place,
    leaseMs: SHARED_LEASE_MS,
    waitMs: CLAIM_MS,
    queuedJobs: sharedQueuedJobs,
  }, hasGpu);
}

/** Functions that run the jobs of each kind. */
function worksOf(
  {
    models,
    tables,
    images,
    predictor,
    messages,
    engine,
    sharedModels,
    training,
  }:
    & Pick<Server, "models" | "images" | "predictor" | "messages" | "engine">
    & {
      tables: Tables;
      sharedModels: SharedModels;
      training: TrainWorkOptions;
    },
) {
  return {
    classify: withModel(
      sharedModels,
      classifyWork({ images, models, predictor }),
    ),
    batch: withModel(
      sharedModels,
      batchWork({ images, models, predictor, messages, tables, engine }),
    ),
    train: trainWork(training),
  };
}

/** What hosts that share jobs do together, in pieces. */
function inPieces(
  { batch, train }: ReturnType<typeof worksOf>,
  options: CutFoldsOptions,
) {
  return {
    store: options.pieces,
    whole: {
      batch: cutBatchWork(options),
      train: cutFoldsWork(train, options),
    },
    works: { batch: pieceWork(batch, options), fold: foldWork(options) },
  };
}

/** True for a job that is done in pieces. */
function isCoordinator(job: Job): boolean {
  return job.kind === "batch" || isOfFolds(job);
}

function trains(kind: JobKind): boolean {
  return kind === "train" || kind === "fold";
}

/** The works of `kinds`; all if undefined. */
function ofKinds(
  kinds: readonly JobKind[] | undefined,
  works: Partial<Record<JobKind, JobWork>>,
): Partial<Record<JobKind, JobWork>> {
  if (kinds === undefined) return works;
  return Object.fromEntries(
    Object.entries(works).filter(([kind]) => kinds.includes(kind as JobKind)),
  );
}

/** `work` on any host: the model may be on the one that accepted the job. */
function withModel(sharedModels: SharedModels, work: JobWork): JobWork {
  return async function workWithModel(context) {
    const { model } = context.job.request as { model: string };
    await sharedModels.ensure(model);
    await work(context);
  };
}

/** Looks for new models and old jobs at intervals; returns its end. */
async function lookAfter(
  { models, sharedModels, ...parts }: Parts,
  log: Log,
): Promise<() => void> {
  // Another process of the same folder may have trained a model.
  const refresh = () =>
    sharedModels.takeAll().then(() => models.refresh())
      .catch(({ message }) => log("error", "models", { message }));
  const looking = setInterval(refresh, LOOK_EVERY_MS);
  const pruning = setInterval(
    () => prune(parts, log),
    PRUNE_EVERY_MS,
  );
  await prune(parts, log);
  return function stopLooking() {
    clearInterval(looking);
    clearInterval(pruning);
  };
}

/** Removes jobs that ended long ago, and folders without a job. */
async function prune(
  { store, pieces, shared, jobFolder }: Pick<
    Parts,
    "store" | "pieces" | "shared" | "jobFolder"
  >,
  log: Log,
): Promise<void> {
  try {
    const before = new Date(Date.now() - KEEP_JOBS_MS);
    for (const id of await store.prune(before)) {
      await shared.remove(jobFolderName(id));
    }
    for (const id of await pieces?.prune(before) ?? []) {
      await shared.remove(jobFolderName(id));
    }
    await shared.sweep();
    for await (const { name } of Deno.readDir(jobFolder)) {
      const path = join(jobFolder, name);
      const { mtime } = await Deno.stat(path);
      // Not the folder of a job that is just being accepted.
      const isOld = (mtime?.getTime() ?? 0) < Date.now() - PRUNE_EVERY_MS;
      const job = await store.get(name) ?? await pieces?.get(name);
      if (isOld && job === undefined) {
        await Deno.remove(path, { recursive: true });
      }
    }
  } catch (error) {
    log("error", "prune", { error: (error as Error).message });
  }
}
