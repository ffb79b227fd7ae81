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
  /** Most bytes of the JSON of an image's objects. */
  objectsBytes: number;
  /** Most bytes of JSON of all requests that are being answered. */
  heldBytes: number;
  /** Longest that a large JSON body waits for room among them, ms. */
  bodyWaitMs: number;
  /** Most pixels of an image that must be decoded whole. */
  maxPixels: number;
  /**
   * Most blocks from which the view of a whole image may be read, while a
   * caller waits and for a job.
   */
  viewBlocks: { waited: number; ofJob: number };
  /** Most pictures of images that wait or are being cut. */
  pictures: number;
  /** Uploads that are kept: bytes of all, and time after the last use, ms. */
  keptBytes: number;
  keptMs: number;
  /** Most classifications that wait or run; more are refused with 429. */
  pending: number;
  /** Time for which a refusal of a full queue is held back, ms. */
  refusalMs: number;
  /** Most jobs that wait; more are refused with 429. */
  queuedJobs: number;
  /** The same of jobs that several hosts share. */
  sharedQueuedJobs: number;
  /** A larger file becomes a job even if the caller did not ask for one. */
  jobBytes: number;
  /** Time limit of a synchronous classification, ms. */
  timeoutMs: number;
  /** Time limit of one image of a job, ms. */
  jobImageMs: number;
  /**
   * Longest that a job which may be what crashes the server keeps callers out,
   * ms; twice as long after each further crash.
   */
  aloneMs: number;
  /** Slowest pace of a body. */
  pace: Pace;
  /**
   * Longest that an engine or a training step may run on after its work was
   * given up, ms.
   */
  stopMs: number;
  /** Longest that a stop waits for requests under way, ms. */
  drainMs: number;
  /** Most connections; more are closed at once. */
  connections: number;
  /** Longest that the headers of a request may take, ms. */
  headersMs: number;
  /** Longest that a connection may idle between requests, ms. */
  idleMs: number;
}

/** Default limits. */
export const DEFAULT_LIMITS: Limits = {
  uploadBytes: 4 * 2 ** 30, // a slide is gigabytes; it goes to disk
  jsonBytes: 16 * 2 ** 20,
  requestBytes: 256 * 2 ** 10,
  objectsBytes: 2 * 2 ** 20, // 10,000 boxes with long numbers and names
  heldBytes: 64 * 2 ** 20,
  bodyWaitMs: 10_000,
  maxPixels: 2 ** 26, // 256 MiB as RGBA
  viewBlocks: { waited: 2 ** 14, ofJob: 2 ** 18 }, // JPEG: 40 s, 10 min
  pictures: 256, // a page asks for those of one screen at a time
  keptBytes: 8 * 2 ** 30,
  keptMs: 30 * 60_000,
  pending: 64,
  refusalMs: 1000,
  queuedJobs: 100,
  sharedQueuedJobs: 100_000,
  jobBytes: 64 * 2 ** 20,
  timeoutMs: 60_000,
  jobImageMs: 15 * 60_000,
  aloneMs: 10_000,
  // 0.5 Mbit/s, because a body that arrives holds a place in the queue.
  pace: { stallMs: 30_000, leastBytesPerSecond: 64 * 2 ** 10 },
  stopMs: 10_000,
  drainMs: 30_000,
  connections: 1024,
  headersMs: 30_000,
  idleMs: 60_000,
};
