/**
 * Bodies of requests, as they come: no more bytes than are allowed, and no
 * slower.
 *
 * @module
 */
import { StalledError, TooLargeError } from "./errors.ts";

/** How slowly a body may come. */
export interface Pace {
  /** How long it may pause. */
  stallMs: number;
  /** What it must come to in all, once it has taken that long. */
  leastBytesPerSecond: number;
}

/** Bounds of one body. */
export interface BodyOptions {
  /** Bytes at most. */
  mostBytes: number;
  pace: Pace;
  /** What is said of too many bytes. */
  tooLarge: string;
  signal: AbortSignal;
}

/**
 * The chunks of a body. Only the time spent waiting for them counts against
 * the sender: a server that is slow itself must blame nobody.
 *
 * @throws {TooLargeError | StalledError}
 */
export async function* chunksOf(
  body: ReadableStream<Uint8Array>,
  { mostBytes, pace, tooLarge, signal }: BodyOptions,
): AsyncGenerator<Uint8Array> {
  const { stallMs, leastBytesPerSecond } = pace;
  const reader = body.getReader();
  let bytes = 0, waitedMs = 0;
  try {
    for (;;) {
      signal.throwIfAborted();
      const earnedMs = stallMs + bytes / leastBytesPerSecond * 1000;
      const started = performance.now();
      const { done, value } = await inTime(
        reader.read(),
        Math.min(stallMs, earnedMs - waitedMs),
        () => tooSlow(pace, bytes, performance.now() - started),
      );
      if (done) return;
      waitedMs += performance.now() - started;
      bytes += value.length;
      if (bytes > mostBytes) throw new TooLargeError(tooLarge);
      yield value;
    }
  } finally {
    reader.cancel().catch(() => {}); // whoever sends may be gone
  }
}

async function inTime<T>(
  work: Promise<T>,
  mostMs: number,
  late: () => Error,
): Promise<T> {
  const { promise: end, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(late()), mostMs);
  try {
    return await Promise.race([work, end]);
  } finally {
    clearTimeout(timer);
  }
}

function tooSlow(
  { stallMs, leastBytesPerSecond }: Pace,
  bytes: number,
  pauseMs: number,
): StalledError {
  return new StalledError(
    pauseMs >= stallMs
      ? `No byte came for ${stallMs / 1000} s`
      : `The body comes too slowly: ${bytes} bytes so far; send at least ${leastBytesPerSecond} a second`,
  );
}
