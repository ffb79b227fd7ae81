/**
 * Assembles the parts of the server, and starts and stops them.
 *
 * @module
 */
import { mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
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
import { JobRunner } from "./jobs/runner.ts";
import type { JobStore } from "./jobs/store.ts";
import { Jobs } from "./jobs/jobs.ts";
import { idleCollector } from "./idle_collector.ts";
import type { Limits } from "./limits.ts";
import type { Log } from "./logging.ts";
import { Messages } from "./redaction.ts";
import { ServerMetrics } from "./prometheus.ts";
import { ModelRegistry } from "./models.ts";
import { Predictor } from "./predictor.ts";
import { Sources } from "./intake/allowed_sources.ts";
import { SqliteJobStore } from "./jobs/sqlite_store.ts";
import { Tables } from "./tables/tables.ts";
import { Tiles } from "./tiles/tiles.ts";
import { trainWork } from "./jobs/train.ts";
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
// Share of the bound of an engine for the pictures of a page: blocks and images
// that are held decoded.
const TILE_SHARE = 1 / 4;
// A heartbeat each second; a lease expires after five seconds without one.
const BEAT_MS = 1000, LEASE_MS = 5000;
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
  try {
    await engine.start();
    await models.refresh();
  } catch (error) {
    engine.close();
    drawn.close();
    store.close();
    throw error;
  }
  for (const { name, error } of models.faults) {
    log("warn", "no model", { name, error });
  }
  runner.start();
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
      await runner.drain();
    },
    close(isEnd) {
      stopLooking();
      parts.tiles.close();
      parts.kept.close();
      parts.uploads.close();
      parts.json.close();
      engine.close(isEnd);
      parts.drawn.close();
      store.close();
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
  const store = new SqliteJobStore(join(state, "jobs.sqlite"), {
    leaseMs: LEASE_MS,
    queuedJobs: limits.queuedJobs,
  });
  const engine = new EnginePool({
    backend: options.backend,
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
  });
  const isolation = new Isolation({
    store,
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
      workEnded();
    },
  });
  const metrics = new ServerMetrics({
    pending: () => predictor.pending,
    gpuBytes: () => engine.gpuBytes(),
    engines: () => engine.states,
    jobs: () => store.counts(),
    diskFree: () => freeBytes(state),
  }, limits.pending);
  const runner = new JobRunner({
    store,
    messages,
    log,
    folder: jobFolder,
    isolation,
    works: worksOf({ ...options, memoryBytes }, {
      engine,
      models,
      tables,
      images,
      predictor,
      messages,
      sources,
    }),
    isReady: () => engine.status !== undefined,
    onEnd: (kind, state) => metrics.jobEnded(kind, state),
    beatMs: BEAT_MS,
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
    store,
    jobFolder,
  };
}

/** Functions that run the jobs of each kind. */
function worksOf(
  { backend, workers, allowedHosts, limits, memoryBytes, trainModule, log }:
    & ServerOptions
    & { memoryBytes: number },
  { engine, models, tables, images, predictor, messages, sources }:
    & Pick<
      Server,
      "engine" | "models" | "images" | "predictor" | "messages" | "sources"
    >
    & { tables: Tables },
) {
  return {
    classify: classifyWork({ images, models, predictor }),
    batch: batchWork({ images, models, predictor, messages, tables }),
    train: trainWork({
      backend,
      workers,
      allowedHosts,
      roots: sources.roots,
      engine,
      models,
      tables,
      log,
      module: trainModule,
      maxPixels: limits.maxPixels,
      stopMs: limits.stopMs,
      memoryBytes,
    }),
  };
}

/** Looks for new models and old jobs at intervals; returns its end. */
async function lookAfter(
  { models, store, jobFolder }: Parts,
  log: Log,
): Promise<() => void> {
  // Another process of the same folder may have trained a model.
  const refresh = () =>
    models.refresh().catch(({ message }) =>
      log("error", "models", { message })
    );
  const looking = setInterval(refresh, LOOK_EVERY_MS);
  const pruning = setInterval(
    () => prune(store, jobFolder, log),
    PRUNE_EVERY_MS,
  );
  await prune(store, jobFolder, log);
  return function stopLooking() {
    clearInterval(looking);
    clearInterval(pruning);
  };
}

/** Removes jobs that ended long ago, and folders without a job. */
async function prune(store: JobStore, folder: string, log: Log): Promise<void> {
  try {
    const before = new Date(Date.now() - KEEP_JOBS_MS);
    await store.prune(before);
    for await (const { name } of Deno.readDir(folder)) {
      const path = join(folder, name);
      const { mtime } = await Deno.stat(path);
      // Not the folder of a job that is just being accepted.
      const isOld = (mtime?.getTime() ?? 0) < Date.now() - PRUNE_EVERY_MS;
      if (isOld && !await store.get(name)) {
        await Deno.remove(path, { recursive: true });
      }
    }
  } catch (error) {
    log("error", "prune", { error: (error as Error).message });
  }
}
