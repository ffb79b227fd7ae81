/**
 * Atomic writes: a file is either the old one or the new one, never a mixture.
 *
 * @module
 */
import { basename, dirname, join, parse } from "node:path";

/**
 * Writes `data` to `path` atomically: a crash, a full disk or a concurrent
 * reader never sees a part of it. Writes a temporary file beside `path`, then
 * renames it.
 */
export async function writeFileAtomically(
  path: string,
  data: Uint8Array | string,
): Promise<void> {
  const bytes = typeof data === "string"
    ? new TextEncoder().encode(data)
    : data;
  const temporary = temporaryBeside(path);
  try {
    await writeAndSync(temporary, bytes);
    await moveIntoPlace(temporary, path);
  } catch (cause) {
    await Deno.remove(temporary).catch(() => {}); // report the first error
    throw cause;
  }
}

/** Writes `value` as indented JSON by {@linkcode writeFileAtomically}. */
export async function writeJson(path: string, value: unknown): Promise<void> {
  await writeFileAtomically(path, `${JSON.stringify(value, null, 2)}\n`);
}

/**
 * A hidden temporary name for `path`, in the same folder: a rename across file
 * systems is a copy, so not atomic.
 */
export function temporaryBeside(path: string): string {
  return join(
    dirname(path),
    `.${basename(path)}.${crypto.randomUUID()}.tmp`,
  );
}

/** Renames `temporary`, complete and synced, to `path`, and syncs the folder. */
export async function moveIntoPlace(
  temporary: string,
  path: string,
): Promise<void> {
  await Deno.rename(temporary, path);
  await syncFolder(dirname(path));
}

/**
 * Moves a folder, complete and synced, to `to`, on another disk by a copy: it
 * is there whole or not at all.
 */
export async function moveFolder(from: string, to: string): Promise<void> {
  try {
    await moveIntoPlace(from, to);
  } catch (error) {
    const isElsewhere = error instanceof Error && "code" in error &&
      error.code === "EXDEV";
    if (!isElsewhere) throw error;
    await copyFolder(from, to);
    await Deno.remove(from, { recursive: true });
  }
}

/** Copies a folder; the copy is there whole or not at all. */
export async function copyFolder(from: string, to: string): Promise<void> {
  const temporary = temporaryBeside(to);
  try {
    await copyInto(from, temporary);
    await moveIntoPlace(temporary, to);
  } catch (error) {
    await Deno.remove(temporary, { recursive: true }).catch(() => {}); // none
    throw error;
  }
}

async function copyInto(from: string, to: string): Promise<void> {
  await makeFolder(to);
  for await (const { name, isDirectory } of Deno.readDir(from)) {
    const source = join(from, name), target = join(to, name);
    if (isDirectory) await copyInto(source, target);
    else {
      await Deno.copyFile(source, target);
      using file = await Deno.open(target, { write: true });
      await file.sync();
    }
  }
  await syncFolder(to);
}

/** There is a file or a folder at `path`. */
export async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}

// Unicode forms of accents: one character, or a letter and a mark, as in names
// on macOS.
const FORMS = ["NFC", "NFD"] as const;

/**
 * `path` with the spelling of its folders and file on the disk, composed or
 * decomposed; `path` itself if there is no such file.
 */
export async function spelled(path: string): Promise<string> {
  const isOneWay = FORMS.every((form) => path.normalize(form) === path);
  if (isOneWay || await exists(path)) return path;
  const { root, dir, base } = parse(path);
  const folder = dir === root ? dir : await spelled(dir);
  for (const form of FORMS) {
    const candidate = join(folder, base.normalize(form));
    if (await exists(candidate)) return candidate;
  }
  return path;
}

/** Syncs a file and moves it to `path` by {@linkcode moveIntoPlace}. */
export async function keepFile(file: string, path: string): Promise<void> {
  using handle = await Deno.open(file, { write: true });
  await handle.sync();
  await moveIntoPlace(file, path);
}

/** Creates a folder whose name survives a power cut. */
export async function makeFolder(path: string): Promise<void> {
  await Deno.mkdir(path);
  await syncFolder(dirname(path));
}

/** Creates a file, writes `bytes` and syncs it. */
export async function writeAndSync(
  path: string,
  bytes: Uint8Array,
): Promise<void> {
  using file = await Deno.open(path, { write: true, createNew: true });
  await writeAll(file, bytes);
  await file.sync();
}

/** Writes all of `bytes` at the file's position. */
export async function writeAll(
  file: Pick<Deno.FsFile, "write">,
  bytes: Uint8Array,
): Promise<void> {
  for (let written = 0; written < bytes.length;) {
    written += await file.write(bytes.subarray(written));
  }
}

/**
 * Syncs a folder, so that its names, such as after a rename, survive a power
 * cut.
 */
export async function syncFolder(folder: string): Promise<void> {
  if (Deno.build.os === "windows") return; // cannot open a folder as a file
  using handle = await Deno.open(folder);
  await handle.sync();
}
