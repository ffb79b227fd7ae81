/**
 * The shared library of OpenSlide: one of the system, or one that was taken out
 * of the openslide-bin wheel of PyPI and lies beside the code.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { NamedError } from "../../errors.ts";

/** Where the library of a wheel is put, and looked for first. */
export const OPENSLIDE_FOLDER = fileURLToPath(
  new URL("../../../.openslide", import.meta.url),
);

const NAMES: Record<string, string[]> = {
  darwin: ["libopenslide.1.dylib", "libopenslide.0.dylib"],
  windows: ["libopenslide-1.dll", "libopenslide-0.dll"],
};
const UNIX_NAMES = ["libopenslide.so.1", "libopenslide.so.0"];

/** Names of the library on this system, the newest version first. */
export const LIBRARY_NAMES: readonly string[] = NAMES[Deno.build.os] ??
  UNIX_NAMES;

/** A wheel is of no use; the message names its file. */
export class WheelError extends NamedError {
  /** The name of the class. */
  override name = "WheelError";
}

// Bytes of a wheel, and of a library: ten times those of version 4.0.1.
const MAX_WHEEL_BYTES = 2 ** 26;
const MAX_LIBRARY_BYTES = 2 ** 27;

const PACKAGE = "openslide_bin";

/**
 * Puts the library of an openslide-bin wheel into `folder`, once `check` has
 * passed it.
 *
 * @param check returns the version of the library at a path, or throws.
 * @returns the path of the library, and its version.
 * @throws {WheelError} If the file is no such wheel, is damaged, or is for
 *   another system.
 */
export async function takeFromWheel(
  wheel: string,
  { folder = OPENSLIDE_FOLDER, check }: {
    folder?: string;
    check: (path: string) => string;
  },
): Promise<{ path: string; version: string }> {
  const library = await libraryOf(wheel);
  await Deno.mkdir(folder, { recursive: true });
  const path = join(folder, LIBRARY_NAMES[0]!);
  const temporary = `${path}.${crypto.randomUUID()}.partial`;
  try {
    await Deno.writeFile(temporary, library);
    const version = checked(wheel, () => check(temporary));
    await Deno.rename(temporary, path);
    return { path, version };
  } catch (error) {
    await Deno.remove(temporary).catch(() => {});
    await Deno.remove(folder).catch(() => {}); // unless it holds an earlier one
    throw error;
  }
}

function checked(wheel: string, check: () => string): string {
  try {
    return check();
  } catch (cause) {
    if (cause instanceof Deno.errors.NotCapable) throw cause;
    const [line] = (cause as Error).message.split("\n", 1);
    throw faulty(
      wheel,
      `its library does not load here (${line}); download the wheel on this machine`,
      cause,
    );
  }
}

/** The bytes of the library, as the wheel's own list of hashes has it. */
async function libraryOf(wheel: string): Promise<Uint8Array> {
  const name = `${PACKAGE}/${LIBRARY_NAMES[0]}`;
  const files = await filesOf(wheel, name);
  const record = Object.keys(files).find((path) => path.endsWith("/RECORD"));
  const library = files[name];
  if (record === undefined || library === undefined) {
    const { os, arch } = Deno.build;
    throw faulty(
      wheel,
      `it has no ${name}: it must be a wheel of openslide-bin for ${os} on ${arch} (pip download --no-deps openslide-bin)`,
    );
  }
  const hash = createHash("sha256").update(library).digest("base64url");
  const lines = new TextDecoder().decode(files[record]).split(/\r?\n/);
  if (lines.includes(`${name},sha256=${hash},${library.length}`)) {
    return library;
  }
  throw faulty(
    wheel,
    "it is damaged: its library is not the one of its RECORD",
  );
}

async function filesOf(
  wheel: string,
  name: string,
): Promise<Record<string, Uint8Array>> {
  const { size, isFile } = await Deno.stat(wheel).catch((cause) => {
    if (!(cause instanceof Deno.errors.NotFound)) throw cause;
    throw faulty(wheel, "there is no such file", cause);
  });
  if (!isFile || size > MAX_WHEEL_BYTES) {
    throw faulty(wheel, "it is not a file of at most 64 MiB, as wheels are");
  }
  const { unzipSync } = await import("fflate");
  try {
    return unzipSync(await Deno.readFile(wheel), {
      filter: (file) =>
        file.originalSize <= MAX_LIBRARY_BYTES &&
        (file.name === name || basename(file.name) === "RECORD"),
    });
  } catch (cause) {
    throw faulty(wheel, `it is no wheel (${(cause as Error).message})`, cause);
  }
}

function faulty(wheel: string, reason: string, cause?: unknown): WheelError {
  return new WheelError(
    `Cannot take OpenSlide out of ${wheel}: ${reason}`,
    { cause },
  );
}
