/**
 * Limits of the server. docs/server.md states the defaults.
 *
 * @module
 */

import type { Pace } from "./intake/paced_body.ts";

/** Limits of requests and queues. */
export interface Limits {
  /** Most bytes of an uploaded image. */
  uploadBytes: number;
  /** Most bytes of the JSON of an inference, which may hold images. */
  jsonBytes: number;
  /** Most bytes of any other JSON body: names, options, a configuration. */
  requestBytes: number;
  /** Most bytes of JSON of all requests that are being answered. */
  heldBytes: number;
  /** Most pixels of an image that must be decoded whole. */
  maxPixels: number;
  /** Most classifications that wait or run; more are refused with 429. */
  pending: number;
  /** Most jobs that wait; more are refused with 429. */
  queuedJobs: number;
  /** A larger file becomes a job even if the caller did not ask for one. */
  jobBytes: number;
  /** Time limit of a synchronous classification, ms. */
  timeoutMs: number;
  /** Slowest pace of a body. */
  pace: Pace;
  /**
   * Longest that a training step may run after its job was asked to stop, ms.
   */
  stopMs: number;
  /** Longest that a stop waits for requests under way, ms. */
  drainMs: number;
}

/** Default limits. */
export const DEFAULT_LIMITS: Limits = {
  uploadBytes: 4 * 2 ** 30, // a slide is gigabytes; it goes to disk
  jsonBytes: 16 * 2 ** 20,
  requestBytes: 256 * 2 ** 10,
  heldBytes: 64 * 2 ** 20,
  maxPixels: 2 ** 26, // 256 MiB as RGBA
  pending: 64,
  queuedJobs: 100,
  jobBytes: 64 * 2 ** 20,
  timeoutMs: 60_000,
  // 0.5 Mbit/s, because a body that arrives holds a place in the queue.
  pace: { stallMs: 30_000, leastBytesPerSecond: 64 * 2 ** 10 },
  stopMs: 10_000,
  drainMs: 30_000,
};
