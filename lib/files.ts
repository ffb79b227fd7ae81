/**
 * Files that are either the old one or the new one, never half of either.
 *
 * @module
 */
import { basename, dirname, join } from "node:path";

/**
 * Writes `data` to `path` so that a crash, a full disk or a reader at the same
 * time never meets a part of it: written beside `path`, then renamed over it.
 */
export async function writeFileAtomically(
  path: string,
  data: Uint8Array | string,
): Promise<void> {
  const bytes = typeof data === "string"
    ? new TextEncoder().encode(data)
    : data;
  const folder = dirname(path);
  // The same folder: a rename across file systems is a copy, so not atomic.
  const temporary = join(
    folder,
    `.${basename(path)}.${crypto.randomUUID()}.tmp`,
  );
  try {
    await writeAndSync(temporary, bytes);
    await Deno.rename(temporary, path);
  } catch (cause) {
    await Deno.remove(temporary).catch(() => {}); // the cause is the news
    throw cause;
  }
  await syncFolder(folder);
}

async function writeAndSync(path: string, bytes: Uint8Array): Promise<void> {
  using file = await Deno.open(path, { write: true, createNew: true });
  for (let written = 0; written < bytes.length;) {
    written += await file.write(bytes.subarray(written));
  }
  await file.sync();
}

/** Makes the rename itself survive a power cut. */
async function syncFolder(folder: string): Promise<void> {
  if (Deno.build.os === "windows") return; // cannot open a folder as a file
  using handle = await Deno.open(folder);
  await handle.sync();
}
