/**
 * Leaks: a patient or an image on both sides of a split.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { DataError } from "../errors.ts";
import { isUrl } from "../image/bytes/source.ts";
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
      await groupByContent(entries),
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
  groups: Map<string | undefined, ManifestEntry[]>,
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

/** Groups local images by SHA-256, hashing only where sizes agree. */
async function groupByContent(
  entries: readonly ManifestEntry[],
): Promise<Map<string | undefined, ManifestEntry[]>> {
  const local = entries.filter(({ path }) => !isUrl(path));
  const sizes = new Map<ManifestEntry, number>();
  await Promise.all(local.map(async (entry) => {
    sizes.set(entry, (await Deno.stat(entry.path)).size);
  }));
  const groups = new Map<string, ManifestEntry[]>();
  for (
    const alike of Map.groupBy(local, (entry) => sizes.get(entry)).values()
  ) {
    if (new Set(alike.map(side)).size === 1) continue; // all on one side
    for (const entry of alike) {
      const digest = await sha256(entry.path);
      groups.set(digest, [...groups.get(digest) ?? [], entry]);
    }
  }
  return groups;
}

/** Streams the file: a slide does not fit in memory. */
async function sha256(path: string): Promise<string> {
  const hash = createHash("sha256");
  using file = await Deno.open(path);
  for await (const chunk of file.readable) hash.update(chunk);
  return hash.digest("hex");
}
