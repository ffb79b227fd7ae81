/**
 * The jobs of all hosts: their stores and their folders.
 *
 * @module
 */
import type { SharedFolders } from "../shared_folders.ts";
import type { JobStore } from "../store.ts";
import { NatsFolders } from "./folders.ts";
import { NatsJobStore, type NatsJobStoreOptions } from "./store.ts";

/** @throws {UsageError | DataError} See {@linkcode NatsJobStore.open}. */
export async function openNatsJobs(
  options: NatsJobStoreOptions,
): Promise<{ store: JobStore; pieces: JobStore; shared: SharedFolders }> {
  const store = await NatsJobStore.open(options);
  try {
    const pieces = await NatsJobStore.open({ ...options, part: "-pieces" });
    return { store, pieces, shared: new NatsFolders(store.nats) };
  } catch (error) {
    await store.close();
    throw error;
  }
}
