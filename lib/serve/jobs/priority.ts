/**
 * Which host a job should go to, of those that wait for one.
 *
 * @module
 */
import type { JobKind } from "./store.ts";

/** Kinds that a GPU does many times faster, and that last. */
export const GPU_KINDS: readonly JobKind[] = ["train", "fold"];

/** What processes that wait for jobs know of each other. */
export interface Priority {
  /** Tells whether this process waits for a job of a kind. */
  wait(kind: JobKind, isWaiting: boolean): void;
  /** True if another process should have the next job of a kind. */
  yields(kind: JobKind): Promise<boolean>;
}

/** Of a server whose jobs are its own. */
export const NO_PRIORITY: Priority = {
  wait() {},
  yields: () => Promise.resolve(false),
};
