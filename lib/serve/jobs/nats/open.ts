/**
 * The jobs of all hosts: their stores and their folders.
 *
 * @module
 */
import type { Priority } from "../priority.ts";
import type { SharedFolders } from "../shared_folders.ts";
import type { JobStore } from "../store.ts";
import type { Workers } from "../workers.ts";
import { NatsFolders } from "./folders.ts";
import { GpuPriority } from "./priority.ts";
import { NatsJobStore, type NatsJobStoreOptions } from "./store.ts";
import { NatsWorkers } from "./workers.ts";

/** What the processes of all hosts share. */
export interface SharedJobs {
  store: JobStore;
  /** Pieces of batches. */
  pieces: JobStore;
  shared: SharedFolders;
  workers: Workers;
  priority: Priority;
}

/**
 * @param hasGpu tells if the engine of this process is on a GPU.
 * @throws {UsageError | DataError} See {@linkcode NatsJobStore.open}.
 */
export async function openNatsJobs(
  options: NatsJobStoreOptions,
  hasGpu: () => boolean,
): Promise<SharedJobs> {
  const store = await NatsJobStore.open(options);
  const { nats } = store;
  try {
    return {
      store,
      pieces: await NatsJobStore.open({ ...options, part: "-pieces" }),
      shared: new NatsFolders(nats),
      workers: await NatsWorkers.open(nats),
      priority: new GpuPriority(nats, hasGpu),
    };
  } catch (error) {
    await store.close();
    throw error;
  }
}
