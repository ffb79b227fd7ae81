/**
 * Source of an image's bytes: a local file, or a server with byte ranges.
 * Readers of formats see no difference.
 *
 * @module
 */

/** Bytes read so far, and the number of reads (requests, if remote). */
export interface Traffic {
  /** Bytes read. */
  bytes: number;
  /** Reads; requests, if remote. */
  requests: number;
}

/** Bytes of a file, local or remote, read by range. */
export interface ByteSource {
  /** The path or URL as given, for messages. */
  readonly name: string;
  /** Unique to this file and its version. */
  readonly identity: string;
  /** Local path, if the file is on this machine. */
  readonly path?: string;
  /** Bytes of the whole file. */
  readonly size: number;
  readonly traffic: Readonly<Traffic>;
  /** Bytes worth prefetching; none if omitted. */
  readonly aheadBytes?: number;
  /** Warnings about the transfer, for the user. */
  readonly warnings: readonly string[];
  /**
   * Bytes `[offset, offset + length)`; fewer only where the file ends. They
   * may be shared with a cache: do not write to them.
   *
   * @throws {ImageError} If they cannot be read.
   */
  read(
    offset: number,
    length: number,
    signal?: AbortSignal,
  ): Promise<Uint8Array<ArrayBuffer>>;
  close(): void;
}

/** What stands for a file once it is open. */
export type OpenSource = Omit<ByteSource, "path" | "size" | "read">;

/** The name of the image is a URL, not a path. */
export function isUrl(path: string): boolean {
  return /^(https?|s3|gs|az):\/\//i.test(path);
}
