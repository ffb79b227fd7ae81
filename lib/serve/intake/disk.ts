/**
 * The room on the disk of the server's files.
 *
 * @module
 */
import { statfs } from "node:fs/promises";
import { StorageError } from "../errors.ts";

// Kept free by uploads, for jobs and their results.
const RESERVED_BYTES = 2 ** 24;

// Errors of Deno and of SQLite; some cross Workers, which keep the message.
const FULL =
  /No space left on device|Disk quota exceeded|not enough space on the disk|database or disk is full/;

/** Free bytes of the disk that holds `folder`. */
export async function freeBytes(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize;
}

/**
 * Checks that a file of `bytes` fits in `folder`.
 *
 * @throws {StorageError}
 */
export async function assertRoom(folder: string, bytes: number): Promise<void> {
  const free = await freeBytes(folder);
  if (bytes + RESERVED_BYTES <= free) return;
  throw new StorageError(
    `The server's disk has ${free} bytes free, too few for ${bytes} bytes more: free some, or name an image in a folder of data by its path`,
  );
}

/** `error` as it is told, if it or what caused it is a full disk. */
export function storageFault(error: unknown): StorageError | undefined {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (cause instanceof StorageError) return cause;
    if (FULL.test(cause.message)) {
      return new StorageError(
        "The server's disk is full: free some of it, then send the request again",
        { cause: error },
      );
    }
  }
  return undefined;
}
