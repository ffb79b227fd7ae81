/**
 * `deno task work --kinds share`: compute images of the trainings of other hosts.
 *
 * @module
 */
import { UsageError } from "../errors.ts";
import { isUrl } from "../image/bytes/source.ts";
import { Memory } from "../memory.ts";
import { Sources } from "../serve/intake/allowed_sources.ts";
import type { NatsPlace } from "../serve/jobs/nats/place.ts";
import type { Log } from "../serve/logging.ts";
import { type NamedFile, shareRuns } from "../train/hosts/share_runs.ts";
import { CACHE_BYTES } from "./shared/train_setup.ts";

// Opens images as the Workers of a server's training do.
const MODULE = new URL("../serve/jobs/share_worker.ts", import.meta.url);

/** Options of {@linkcode shareTrainings}. */
export interface ShareTrainingsOptions {
  jobs: NatsPlace;
  /** Folders of the images. */
  dataRoots: readonly string[];
  /** Hosts that images may be fetched from. */
  allowedHosts: readonly string[];
  /** Most pixels of an image that must be decoded whole. */
  maxPixels: number;
  /** Workers; one a core if omitted. */
  workers: number | undefined;
  /** Bound of each; if omitted the default, plus a large image cache. */
  memory: Memory | undefined;
  backend: "auto" | "webgpu" | "wasm";
  log: Log;
}

/**
 * Shares trainings until `stop`.
 *
 * @throws {UsageError} If an option does not suit.
 * @throws {DataError} If NATS is not there.
 */
export async function shareTrainings(
  options: ShareTrainingsOptions,
  stop: AbortSignal,
): Promise<void> {
  const { jobs, dataRoots, allowedHosts, maxPixels, backend, log } = options;
  if (backend === "webgpu") {
    throw new UsageError(
      "--kinds share computes on the CPU, where all hosts have the same bits: leave out --backend webgpu",
    );
  }
  if (dataRoots.length === 0 && allowedHosts.length === 0) {
    throw new UsageError(
      "--kinds share reads no image without --data-root DIR or --allow-host HOST: give those of the trainings",
    );
  }
  const sources = await Sources.open({ roots: dataRoots, hosts: allowedHosts });
  const { connectNats } = await import("../serve/jobs/nats/connection.ts");
  const { connection, prefix } = await connectNats(jobs);
  try {
    log("info", "working", { kinds: "share" });
    const { workers = navigator.hardwareConcurrency, memory } = options;
    await shareRuns({
      connection,
      prefix,
      workers,
      memoryBytes: (memory ?? new Memory()).bytes,
      imageBytes: memory?.imageCacheBytes ?? CACHE_BYTES / workers,
      located: (file) => located(sources, file),
      module: MODULE,
      opening: { allowedHosts, maxPixels },
      log: (event, fields) => log("info", event, fields),
    }, stop);
    log("info", "stopped");
  } finally {
    await connection.drain().catch(() => {}); // it was closed
  }
}

/** A file at the same path, or at the same path within a folder of data. */
async function located(
  sources: Sources,
  { path, image }: NamedFile,
): Promise<string> {
  if (isUrl(path)) return path;
  const here = sources.file(path);
  return await (image === undefined
    ? here
    : here.catch(() => sources.file(image, path)));
}
