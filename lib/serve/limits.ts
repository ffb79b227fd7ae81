/**
 * What the server takes at most. The README states the defaults.
 *
 * @module
 */

import type { Pace } from "./intake/paced_body.ts";

/** Bounds of requests and queues. */
export interface Limits {
  /** Bytes of one uploaded or fetched image. */
  uploadBytes: number;
  /** Bytes of a JSON body: it is held in memory. */
  jsonBytes: number;
  /** Pixels of an image that has to be decoded whole. */
  maxPixels: number;
  /** Classifications that wait or run; more are refused with 429. */
  pending: number;
  /** Jobs that wait; more are refused with 429. */
  queuedJobs: number;
  /** A file beyond this is classified as a job, without being asked. */
  jobBytes: number;
  /** How long a synchronous classification may take. */
  timeoutMs: number;
  /** How slowly a body may come. */
  pace: Pace;
  /** How long a step of training may go on once its job is to stop. */
  stopMs: number;
  /** How long a stop waits for what runs. */
  drainMs: number;
}

/** The limits of a server that was told nothing else. */
export const DEFAULT_LIMITS: Limits = {
  uploadBytes: 4 * 2 ** 30, // a slide is gigabytes; it goes to disk
  jsonBytes: 16 * 2 ** 20,
  maxPixels: 2 ** 26, // 256 MiB as RGBA
  pending: 64,
  queuedJobs: 100,
  jobBytes: 64 * 2 ** 20,
  timeoutMs: 60_000,
  // 0.5 Mbit/s: a place in the queue is held while a body comes.
  pace: { stallMs: 30_000, leastBytesPerSecond: 64 * 2 ** 10 },
  stopMs: 10_000,
  drainMs: 30_000,
};
