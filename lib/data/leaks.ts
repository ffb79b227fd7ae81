/**
 * Leaks: a patient or an image on both sides of a split.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { DataError } from "../errors.ts";
import { isUrl } from "../image/bytes/source.ts";
import { inTurns } from "./in_turns.ts";
import type { ManifestEntry } from "./manifest.ts";

// More would scroll the first one off the screen.
const LEAKS_SHOWN = 20;

/**
 * Checks that no patient and no image is on two sides of a split or in two
 * folds, because a test on it would be a leak. The entries may come from
 * several manifests.
 *
 * @throws {DataError} With every leak, each by the files and lines it joins.
 */
export async function checkLeaks(
  entries: readonly ManifestEntry[],
): Promise<void> {
  const leaks = [
    ...leaksWithin(
      Map.groupBy(entries, ({ group }) => group),
      (group) => `group "${group}" is on both sides: keep it on one`,
    ),
    ...leaksWithin(
      await groupByContent(entries, isOnTwoSides),
      () => "the same image is on both sides: remove one",
    ),
  ];
  if (leaks.length === 0) return;
  const shown = leaks.slice(0, LEAKS_SHOWN);
  if (leaks.length > shown.length) {
    shown.push(`and ${leaks.length - shown.length} more`);
  }
  throw new DataError(
    `Cannot keep training and test data apart:\n${shown.join("\n")}`,
  );
}

/** Describes the groups with members on different sides. */
function leaksWithin(
  groups: ReadonlyMap<string | undefined, ManifestEntry[]>,
  describe: (key: string) => string,
): string[] {
  const leaks: string[] = [];
  for (const [key, members] of groups) {
    if (key === undefined) continue;
    const [first] = members;
    const other = members.find((entry) => side(entry) !== side(first!));
    if (other === undefined) continue;
    leaks.push(`${place(first!)} and ${place(other)}: ${describe(key)}`);
  }
  return leaks;
}

function side({ split, fold }: ManifestEntry): string {
  const parts = [];
  if (split !== undefined) parts.push(`split ${split}`);
  if (fold !== undefined) parts.push(`fold ${fold}`);
  return parts.join(", ") || "no split";
}

function place(entry: ManifestEntry): string {
  return `${entry.manifest}:${entry.line} (${entry.image}, ${side(entry)})`;
}

/** The images that are the same, byte for byte, group by group. */
export async function sameImages(
  entries: readonly ManifestEntry[],
): Promise<ManifestEntry[][]> {
  const isSeveral = (group: readonly ManifestEntry[]) => group.length > 1;
  return [...(await groupByContent(entries, isSeveral)).values()]
    .filter(isSeveral);
}

/**
 * The images of `entries` that are also among `others`, by their paths or byte for
 * byte.
 */
export async function imagesAmong(
  entries: readonly ManifestEntry[],
  others: readonly ManifestEntry[],
): Promise<ManifestEntry[]> {
  const known = new Set(others.map(({ path }) => path));
  const elsewhere = entries.filter(({ path }) => !known.has(path));
  const groups = await groupByContent([
    ...elsewhere.map((entry) => ({ ...entry, split: "test" as const })),
    ...others.map((entry) => ({ ...entry, split: "train" as const })),
  ], isOnTwoSides);
  const same = new Set(
    [...groups.values()].filter(isOnTwoSides).flat().map(({ path }) => path),
  );
  return entries.filter(({ path }) => known.has(path) || same.has(path));
}

function isOnTwoSides(group: readonly ManifestEntry[]): boolean {
  return new Set(group.map(side)).size > 1;
}

/**
 * Groups local images by content: by SHA-256, but only those of groups that are
 * `suspect` and whose size and middle agree, because all images of a scanner
 * that does not compress have one size.
 */
async function groupByContent(
  entries: readonly ManifestEntry[],
  suspect: (group: readonly ManifestEntry[]) => boolean,
): Promise<Map<string, ManifestEntry[]>> {
  const keys = new Map<ManifestEntry, string>();
  let groups = new Map([["", entries.filter(({ path }) => !isUrl(path))]]);
  for (const keyOf of [sizeOf, middleOf, sha256]) {
    const suspects = [...groups.values()].filter(suspect).flat();
    await inTurns(suspects, async (entry) => {
      const key = await keyOf(entry.path);
      keys.set(entry, `${keys.get(entry) ?? ""} ${key}`);
    });
    groups = Map.groupBy(suspects, (entry) => keys.get(entry)!);
  }
  return groups;
}

/** Its size; a folder, or a file that is not there, is like no other. */
async function sizeOf(path: string): Promise<string> {
  return await Deno.stat(path).then(
    ({ size, isFile }) => isFile ? String(size) : path,
    () => path,
  );
}

const MIDDLE_BYTES = 4096;

/** Bytes in the middle, where two scans of white margins differ. */
async function middleOf(path: string): Promise<string> {
  using file = await Deno.open(path);
  const { size } = await file.stat();
  await file.seek(Math.floor(size / 2), Deno.SeekMode.Start);
  const bytes = new Uint8Array(MIDDLE_BYTES);
  const count = await file.read(bytes) ?? 0;
  return createHash("sha256").update(bytes.subarray(0, count)).digest("hex");
}

/** Streams the file: a slide does not fit in memory. */
async function sha256(path: string): Promise<string> {
  const hash = createHash("sha256");
  using file = await Deno.open(path);
  for await (const chunk of file.readable) hash.update(chunk);
  return hash.digest("hex");
}
