/**
 * The processes that do jobs: what each tells of itself, and which hosts are
 * drained.
 *
 * @module
 */
import type { JobEnd, JobKind } from "./store.ts";

/** What a process that does jobs tells of itself. */
export interface WorkerStatus {
  host: string;
  pid: number;
  /** Version of the program. */
  version: string;
  /** The engine and why it was chosen; null while there is none. */
  engine: string | null;
  hasGpu: boolean;
  /** Bound on tensors and caches of each engine. */
  memoryBytes: number;
  kinds: readonly JobKind[];
  /** Most jobs at a time. */
  lanes: number;
  /** Jobs and pieces of batches that it does now. */
  running: readonly { id: string; kind: JobKind }[];
  /** It takes no jobs, because its host is drained. */
  isDrained: boolean;
  /** Jobs and pieces that it has ended since it started. */
  ended: Record<JobEnd["state"], number>;
  /** Images that it has classified since it started, for jobs and callers. */
  images: number;
  /** Mean of about the last minute. */
  imagesPerSecond: number;
  startedAt: string;
}

/** The processes that share jobs. */
export interface Workers {
  /** Tells the others of this process, which must be told again soon. */
  tell(status: WorkerStatus): Promise<void>;
  /** Tells that this process ends. */
  leave(): Promise<void>;
  /** The processes that live, by host and number. */
  list(): Promise<WorkerStatus[]>;
  /** True if a host must do no jobs. */
  isDrained(host: string): Promise<boolean>;
  /** Calls `listener` when a host is drained, or no longer. */
  onDrain(listener: (host: string) => void): void;
}

/** Of a server whose jobs are its own. */
export function ownWorkers(): Workers {
  let own: WorkerStatus | undefined;
  return {
    tell(status) {
      own = status;
      return Promise.resolve();
    },
    async leave() {},
    list: () => Promise.resolve(own ? [own] : []),
    isDrained: () => Promise.resolve(false),
    onDrain() {},
  };
}

/** Name of a process among all: its host's, and its number there. */
export function workerName(
  { host, pid }: Pick<WorkerStatus, "host" | "pid">,
): string {
  return `${host}:${pid}`;
}

/** Order of workers in lists. */
export function byName(a: WorkerStatus, b: WorkerStatus): number {
  return a.host === b.host ? a.pid - b.pid : a.host < b.host ? -1 : 1;
}
