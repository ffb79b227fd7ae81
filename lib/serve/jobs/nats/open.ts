/**
 * The jobs of all hosts: their store and their folders.
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
): Promise<{ store: JobStore; shared: SharedFolders }> {
  const store = await NatsJobStore.open(options);
  return { store, shared: new NatsFolders(store.nats) };
}
