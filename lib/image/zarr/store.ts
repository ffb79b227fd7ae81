/**
 * Objects as zarrita reads them, within bounds, and its errors as those of an
 * image.
 *
 * @module
 */
import type { Array as ZarrArray, DataType } from "zarrita";
import { ImageError, oneLine, shortened } from "../../errors.ts";
import type { ObjectRange, Objects } from "../bytes/objects.ts";

// Bytes of a file of metadata, and of a chunk, compressed or not.
export const METADATA = { maxBytes: 2 ** 22 };
export const MAX_CHUNK_BYTES = 2 ** 26;

// Chunks of a shard: 16 bytes of its index each.
const MAX_INDEX_BYTES = 2 ** 24;

/** An array of Zarr. */
export type AnyArray = ZarrArray<DataType, ZarrStore>;

/** What zarrita reads from. */
export class ZarrStore {
  readonly #objects: Objects;
  readonly #closed: AbortSignal;

  constructor(objects: Objects, closed: AbortSignal) {
    this.#objects = objects;
    this.#closed = closed;
  }

  async get(
    key: string,
    { signal }: { signal?: AbortSignal } = {},
  ): Promise<Uint8Array | undefined> {
    const isMetadata = /\/(zarr\.json|\.z[a-z]+)$/.test(key);
    return await this.#objects.read(key.slice(1), {
      maxBytes: isMetadata ? METADATA.maxBytes : MAX_CHUNK_BYTES,
      signal: this.#or(signal),
    });
  }

  async getRange(
    key: string,
    range: ObjectRange,
    { signal }: { signal?: AbortSignal } = {},
  ): Promise<Uint8Array | undefined> {
    // Several chunks wait for the index of a shard: one that is given up must
    // not take it from the others.
    const isIndex = "suffixLength" in range;
    const isSound = Object.values(range).every((value) =>
      Number.isSafeInteger(value) && value >= 0
    );
    if (!isSound) {
      throw new ImageError("it is damaged: a shard of it has no such chunk");
    }
    return await this.#objects.read(key.slice(1), {
      range,
      maxBytes: isIndex ? MAX_INDEX_BYTES : MAX_CHUNK_BYTES,
      signal: this.#or(isIndex ? undefined : signal),
    });
  }

  #or(signal: AbortSignal | undefined): AbortSignal {
    return signal ? AbortSignal.any([signal, this.#closed]) : this.#closed;
  }
}

/** What zarrita throws of its own, as an error of the image. */
export async function damagedIfNot<T>(
  reading: Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  try {
    return await reading;
  } catch (cause) {
    signal?.throwIfAborted();
    const reason = reasonOf(cause as Error);
    throw reason instanceof ImageError ? reason : new ImageError(
      `it is damaged or truncated (${told(reason)})`,
      { cause },
    );
  }
}

/** The innermost error: zarrita wraps those of its codecs. */
function reasonOf(error: Error): Error {
  return error instanceof ImageError || !(error.cause instanceof Error)
    ? error
    : reasonOf(error.cause);
}

/** An error in one line; one of the runtime's own says nothing to a user. */
function told(reason: Error): string {
  if (reason instanceof SyntaxError) return "its metadata is not JSON";
  const text = shortened(oneLine(reason.message));
  return reason instanceof TypeError || /undefined|\[object/.test(text)
    ? "its metadata is not that of a Zarr array"
    : text;
}
