/**
 * Where an image's bytes come from: a local file, or a server that gives
 * ranges. Readers of formats see no difference.
 *
 * @module
 */

/** Bytes read so far, and the reads (requests, if remote) it took. */
export interface Traffic {
  bytes: number;
  requests: number;
}

/** Bytes of a file, local or remote, read by range. */
export interface ByteSource {
  /** The path or URL as it was given: what messages name. */
  readonly name: string;
  /** Differs from that of every other file, and of this one once it changed. */
  readonly identity: string;
  /** Where it is on this machine, if it is. */
  readonly path?: string;
  /** Bytes of the whole file. */
  readonly size: number;
  readonly traffic: Readonly<Traffic>;
  /** Bytes that are worth reading ahead; none, if left out. */
  readonly aheadBytes?: number;
  /** What a user should know of how the bytes come. */
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

/** Whether an image is named by a URL rather than a path. */
export function isUrl(path: string): boolean {
  return /^(https?|s3):\/\//i.test(path);
}
