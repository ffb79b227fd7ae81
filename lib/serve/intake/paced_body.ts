/**
 * Bodies of requests, read as a stream with bounds on size and pace.
 *
 * @module
 */
import {
  BrokenBodyError,
  InputError,
  MediaTypeError,
  RefusalError,
  StalledError,
  TooLargeError,
} from "../errors.ts";

import type { Peer } from "../http/exchange.ts";
import type { HeldBody } from "./body_room.ts";

/** Slowest allowed pace of a body. */
export interface Pace {
  /** Longest pause, ms. */
  stallMs: number;
  /** Lowest mean rate once the body has taken `stallMs`. */
  leastBytesPerSecond: number;
}

/** Bounds of one body. */
export interface BodyOptions {
  /** Most bytes. */
  mostBytes: number;
  pace: Pace;
  /** Error message for too many bytes. */
  tooLarge: string;
  signal: AbortSignal;
}

/**
 * Reads the chunks of a body. Only the time spent waiting for them counts
 * against the sender, not the time that the server itself takes.
 *
 * @throws {TooLargeError | StalledError | BrokenBodyError}
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
        whole(reader.read(), signal),
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
    reader.cancel().catch(() => {}); // the sender may be gone
  }
}

/**
 * Waits until a body begins to arrive: until then it must hold nothing that
 * others wait for.
 *
 * @throws {StalledError | BrokenBodyError}
 */
export async function bodyBegins(
  { bodyBegins }: Pick<Peer, "bodyBegins">,
  { pace, signal }: Pick<BodyOptions, "pace" | "signal">,
): Promise<void> {
  const { stallMs } = pace;
  await inTime(
    whole(bodyBegins(), signal),
    stallMs,
    () => tooSlow(pace, 0, stallMs),
  );
}

/**
 * Reads a whole body into memory.
 *
 * @throws {BusyError} If `held` has no room for it.
 */
export async function readBody(
  chunks: AsyncIterable<Uint8Array>,
  held: HeldBody,
): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  for await (const chunk of chunks) {
    held.add(chunk.length);
    parts.push(chunk as Uint8Array<ArrayBuffer>);
  }
  if (parts.length === 1) return parts[0]!.slice();
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

/** Reads a body piece by piece. */
export class BodyReader implements AsyncDisposable {
  readonly #chunks: AsyncGenerator<Uint8Array>;
  readonly #held: HeldBody;
  #rest: Uint8Array = new Uint8Array(); // received but not consumed

  /** @param held counts the pieces that are taken whole. */
  constructor(chunks: AsyncGenerator<Uint8Array>, held: HeldBody) {
    this.#chunks = chunks;
    this.#held = held;
  }

  /** Abandons the rest of the body. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#chunks.return(undefined);
  }

  /**
   * Streams the next `count` bytes.
   *
   * @throws {InputError} If the body ends too early.
   */
  async *pieces(count: number): AsyncGenerator<Uint8Array> {
    for (let left = count; left > 0;) {
      if (this.#rest.length === 0 && !await this.#more()) {
        throw new InputError(
          "body",
          `The body ends ${left} bytes too early: check the sizes that the request gives`,
        );
      }
      const piece = this.#rest.subarray(0, left);
      this.#rest = this.#rest.subarray(piece.length);
      left -= piece.length;
      yield piece;
    }
  }

  /** Reads the next `count` bytes in one piece; for small counts. */
  async take(count: number): Promise<Uint8Array<ArrayBuffer>> {
    return await readBody(this.pieces(count), this.#held);
  }

  /** @throws {InputError} If more follows. */
  async assertEnd(): Promise<void> {
    while (this.#rest.length === 0) {
      if (!await this.#more()) return;
    }
    throw new InputError(
      "body",
      "The body has more bytes after the last tensor: check the sizes that the request gives",
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

// One byte unpacks to at most 1032 bytes, so this bounds the bytes held at a
// time.
const PACKED_BYTES = 4096;

/**
 * Decompresses a body; the reader bounds the decompressed size.
 *
 * @param encoding the Content-Encoding header.
 * @throws {MediaTypeError} If the compression is not supported.
 */
export function unpackedBody(
  body: ReadableStream<Uint8Array>,
  encoding: string,
): ReadableStream<Uint8Array> {
  const format = FORMATS.get(encoding.trim().toLowerCase());
  if (!format) {
    throw new MediaTypeError(
      `The Content-Encoding "${encoding}" is not supported: send the body as gzip, deflate or uncompressed`,
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
    if (!(cause instanceof TypeError)) throw cause; // the client is gone
    throw new InputError(
      "body",
      `The body is not a complete ${format} stream: send it again, or uncompressed`,
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

/** `read`, of which a failure is one of the body. */
function whole<T>(read: Promise<T>, signal: AbortSignal): Promise<T> {
  return read.catch((cause) => {
    signal.throwIfAborted(); // the sender is gone
    throw cause instanceof RefusalError ? cause : broken(cause);
  });
}

function broken(cause: unknown): BrokenBodyError {
  return new BrokenBodyError(
    "The body broke off, or its chunks are malformed: send the request again",
    { cause },
  );
}

function tooSlow(
  { stallMs, leastBytesPerSecond }: Pace,
  bytes: number,
  pauseMs: number,
): StalledError {
  return new StalledError(
    pauseMs >= stallMs
      ? `No bytes arrived for ${stallMs / 1000} s: send the request again`
      : `The body is too slow (${bytes} bytes so far): send at least ${leastBytesPerSecond} bytes a second`,
  );
}
