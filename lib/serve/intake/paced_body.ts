/**
 * Bodies of requests, as they come: no more bytes than are allowed, and no
 * slower.
 *
 * @module
 */
import {
  InputError,
  MediaTypeError,
  StalledError,
  TooLargeError,
} from "../errors.ts";

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

/** All of a body, in memory. */
export async function bytesOf(
  chunks: AsyncIterable<Uint8Array>,
): Promise<Uint8Array<ArrayBuffer>> {
  const parts = await Array.fromAsync(chunks) as BlobPart[];
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

/** Takes a body apart as it comes. */
export class BodyReader implements AsyncDisposable {
  readonly #chunks: AsyncGenerator<Uint8Array>;
  #rest: Uint8Array = new Uint8Array(); // has come, and is not taken yet

  constructor(chunks: AsyncGenerator<Uint8Array>) {
    this.#chunks = chunks;
  }

  /** Leaves what has not come yet. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#chunks.return(undefined);
  }

  /**
   * The next `count` bytes, as they come.
   *
   * @throws {InputError} If the body ends before.
   */
  async *pieces(count: number): AsyncGenerator<Uint8Array> {
    for (let left = count; left > 0;) {
      if (this.#rest.length === 0 && !await this.#more()) {
        throw new InputError(
          "body",
          `Cannot read the body: it ends ${left} bytes too early`,
        );
      }
      const piece = this.#rest.subarray(0, left);
      this.#rest = this.#rest.subarray(piece.length);
      left -= piece.length;
      yield piece;
    }
  }

  /** The next `count` bytes in one piece: for few. */
  async take(count: number): Promise<Uint8Array<ArrayBuffer>> {
    return await bytesOf(this.pieces(count));
  }

  /** @throws {InputError} If more follows. */
  async assertEnd(): Promise<void> {
    while (this.#rest.length === 0) {
      if (!await this.#more()) return;
    }
    throw new InputError(
      "body",
      "Cannot read the body: more bytes follow the last tensor",
    );
  }

  async #more(): Promise<boolean> {
    const { done, value } = await this.#chunks.next();
    if (!done) this.#rest = value;
    return !done;
  }
}

// By the names of RFC 9110, section 8.4.1; "deflate" has zlib's header.
const FORMATS: ReadonlyMap<string, CompressionFormat> = new Map([
  ["gzip", "gzip"],
  ["x-gzip", "gzip"],
  ["deflate", "deflate"],
]);

// One byte unpacks to at most 1032: so many are unpacked at a time.
const PACKED_BYTES = 4096;

/**
 * A compressed body as what it unpacks to; whoever reads it bounds that.
 *
 * @param encoding its Content-Encoding.
 * @throws {MediaTypeError} If it is of another compression.
 */
export function unpackedBody(
  body: ReadableStream<Uint8Array>,
  encoding: string,
): ReadableStream<Uint8Array> {
  const format = FORMATS.get(encoding.trim().toLowerCase());
  if (!format) {
    throw new MediaTypeError(
      `Cannot unpack a body of Content-Encoding "${encoding}": send it as gzip, deflate or as it is`,
    );
  }
  return ReadableStream.from(unpacked(body, format));
}

async function* unpacked(
  body: ReadableStream<Uint8Array>,
  format: CompressionFormat,
): AsyncGenerator<Uint8Array> {
  const packed = ReadableStream.from(inPieces(body)) as ReadableStream<
    Uint8Array<ArrayBuffer>
  >;
  try {
    yield* packed.pipeThrough(new DecompressionStream(format));
  } catch (cause) {
    if (!(cause instanceof TypeError)) throw cause; // the caller is gone
    throw new InputError(
      "body",
      `Cannot unpack the body: it is no whole ${format} stream`,
      { cause },
    );
  }
}

async function* inPieces(
  body: ReadableStream<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  for await (const chunk of body) {
    for (let at = 0; at < chunk.length; at += PACKED_BYTES) {
      yield chunk.subarray(at, at + PACKED_BYTES);
    }
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
