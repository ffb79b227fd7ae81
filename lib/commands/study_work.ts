/**
 * `deno task study work`: do the runs of studies that other hosts ask for.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { withoutTest } from "../data/folds.ts";
import { type Manifest, readManifest } from "../data/manifest.ts";
import { type Engine, startEngine } from "../engine/select.ts";
import { DataError } from "../errors.ts";
import { Sources } from "../serve/intake/allowed_sources.ts";
import { Isolation } from "../serve/jobs/isolation.ts";
import { JobRunner, type JobWork } from "../serve/jobs/runner.ts";
import type { NatsPlace } from "../serve/jobs/nats/place.ts";
import { jobFolderName } from "../serve/jobs/shared_folders.ts";
import { DEFAULT_LIMITS } from "../serve/limits.ts";
import type { Log } from "../serve/logging.ts";
import { Messages } from "../serve/redaction.ts";
import { STUDIES } from "../study/studies.ts";
import { FEATURES_FOLDER } from "../train/runs/folds_folder.ts";
import {
  allowableHost,
  folderOf,
  logBugs,
  processLog,
  SERVE_FLAGS,
} from "./serve.ts";
import { COMMON_FLAGS, workers } from "./shared/common_flags.ts";
import { parseFlags, required, text } from "./shared/flags.ts";
import { JOBS_FLAGS, jobsPlace } from "./shared/jobs_flags.ts";
import { announceEngine, interruptSignal } from "./shared/terminal.ts";
import { finishCell, tableHash } from "./study_cell.ts";
import {
  type CellImages,
  type CellRequest,
  openStudyJobs,
  type StudyJobs,
} from "./study_jobs.ts";

/** Flags of `study work`. */
export const WORK_FLAGS = {
  ...JOBS_FLAGS,
  jobs: required(JOBS_FLAGS.jobs),
  state: required(
    text(
      "DIR",
      "folder of the runs at work, of images that studies draw, and of frozen features",
      { paths: "folders" },
    ),
  ),
  "data-root": SERVE_FLAGS["data-root"],
  "allow-host": SERVE_FLAGS["allow-host"],
  workers: workers("runs in parallel (one a core)"),
  backend: COMMON_FLAGS.backend,
};

const CLAIM_MS = 1000, BEAT_MS = 1000;
const TIDY_EVERY_MS = 600_000, KEEP_JOBS_MS = 7 * 24 * 3600 * 1000;

/**
 * Does runs until Ctrl-C or SIGTERM, which give them back with what they have
 * done.
 *
 * @throws {UsageError} If a flag is wrong.
 */
export async function work(argv: readonly string[]): Promise<number> {
  const { values: flags } = parseFlags(argv, WORK_FLAGS);
  const state = resolve(await folderOf(flags.state, "state"));
  const roots = await Promise.all(
    flags["data-root"].map((root) => folderOf(root, "data-root")),
  );
  const stop = interruptSignal();
  const log = processLog();
  logBugs(log);
  const engine = await announceEngine(
    flags.backend,
    () => startEngine("auto"), // no run is known yet that could be timed
  );
  const place = jobsPlace(flags)!; // --jobs is required
  const jobs = await openStudyJobs(place, CLAIM_MS);
  const hosts = flags["allow-host"].map(allowableHost);
  const data = new HostData(state, await Sources.open({ roots, hosts }));
  const count = flags.workers ?? navigator.hardwareConcurrency;
  const cell = cellWork({ engine, state, data, place });
  const folder = join(state, "jobs");
  await mkdir(folder, { recursive: true });
  const runners = Array.from(
    { length: count },
    () => runnerOf(cell, { ...jobs, folder, log }),
  );
  await tidy(folder, jobs, log);
  const tidying = setInterval(() => tidy(folder, jobs, log), TIDY_EVERY_MS);
  for (const runner of runners) runner.start();
  log("info", "working", { workers: count });
  if (!stop.aborted) {
    await new Promise<void>((done) =>
      stop.addEventListener("abort", () => done())
    );
  }
  log("info", "stopping");
  clearInterval(tidying);
  const drained = Promise.all(runners.map((runner) => runner.drain()));
  await Promise.race([drained, pause(DEFAULT_LIMITS.drainMs)]);
  await jobs.close();
  log("info", "stopped");
  return 0;
}

/** Does one run after the other. */
function runnerOf(
  cell: JobWork,
  { pieces, shared, folder, log }: StudyJobs & { folder: string; log: Log },
): JobRunner {
  return new JobRunner({
    store: pieces,
    shared,
    folder,
    works: { cell },
    // A run is a process of its own: it crashes alone.
    isCoordinator: () => true,
    isolation: new Isolation({ store: pieces, busy: () => 0, aloneMs: 0 }),
    isReady: () => true,
    onEnd() {},
    messages: new Messages([]),
    log,
    beatMs: BEAT_MS,
  });
}

/** Does a run in the folder of its job, which has what another host has done. */
function cellWork(
  { engine, state, data, place }: {
    engine: Engine;
    state: string;
    data: HostData;
    place: NatsPlace;
  },
): JobWork {
  return async function cellJob({ job, folder, signal, report }) {
    const { cell, folds, images } = job.request as CellRequest;
    let epochs = 0;
    await finishCell(cell, {
      manifest: await data.of(cell.variant.data, images),
      engine,
      folder,
      folds: folds ?? undefined,
      featureFolder: join(state, FEATURES_FOLDER),
      hostedBy: place,
      signal,
      onEpoch: () => report({ epochs: ++epochs }),
    });
  };
}

/** The images of runs on this host: drawn, or read from its folders of data. */
class HostData {
  readonly #state: string;
  readonly #sources: Sources;
  readonly #manifests = new Map<string, Promise<Manifest>>();

  constructor(state: string, sources: Sources) {
    this.#state = state;
    this.#sources = sources;
  }

  /**
   * @throws {DataError} If this host has others.
   * @throws {ForbiddenError} If they are outside of its folders of data.
   */
  of(name: string, images: CellImages): Promise<Manifest> {
    const key = createHash("sha256").update(JSON.stringify([name, images]))
      .digest("hex").slice(0, 16);
    let manifest = this.#manifests.get(key);
    if (!manifest) {
      manifest = this.#prepare(name, images, join(this.#state, "data", key));
      this.#manifests.set(key, manifest);
      manifest.catch(() => this.#manifests.delete(key)); // it may be mended
    }
    return manifest;
  }

  async #prepare(
    name: string,
    { study, quick, manifest, hash }: CellImages,
    folder: string,
  ): Promise<Manifest> {
    if (manifest !== null) {
      await this.#sources.readManifest(await this.#sources.file(manifest));
    }
    const { data } = STUDIES[study].make({
      manifest: manifest ?? undefined,
      quick,
    });
    const path = await data[name]!.prepare(folder);
    if (await tableHash(path) !== hash) {
      throw new DataError(
        `The images of this host are not those of the study: ${
          manifest ?? "it draws others"
        } differs from the study's; give all hosts the same table and the same zoomin`,
      );
    }
    const read = await readManifest(path);
    return { ...read, entries: withoutTest(read.entries) };
  }
}

/** Removes jobs that ended long ago, and folders of runs that were collected. */
async function tidy(
  folder: string,
  { pieces, shared }: StudyJobs,
  log: Log,
): Promise<void> {
  try {
    for (const id of await pieces.prune(new Date(Date.now() - KEEP_JOBS_MS))) {
      await shared.remove(jobFolderName(id));
    }
    await shared.sweep();
    for await (const { name } of Deno.readDir(folder)) {
      if (await pieces.get(name)) continue;
      await Deno.remove(join(folder, name), { recursive: true });
    }
  } catch (error) {
    log("error", "tidy", { error: (error as Error).message });
  }
}
