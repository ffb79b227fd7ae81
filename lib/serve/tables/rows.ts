/**
 * The images of a manifest, as a page lists them.
 *
 * @module
 */
import type { ManifestEntry } from "../../data/manifest.ts";
import { isUrl } from "../../image/bytes/source.ts";
import { allowedRois } from "../annotations/rois.ts";
import type { TableRowDocument, TableRowsDocument } from "../documents.ts";
import type { Sources } from "../intake/allowed_sources.ts";

const MAX_ROWS = 1000;

/** The first images of the manifest `path`. @throws {DataError} */
export async function rowsOf(
  path: string,
  sources: Sources,
): Promise<TableRowsDocument> {
  const manifest = await sources.readManifest(path);
  const { entries } = manifest;
  const rois = await allowedRois(manifest, [], sources);
  const rows: TableRowDocument[] = [];
  for (const entry of entries.slice(0, MAX_ROWS)) {
    const { image, label, split } = entry;
    rows.push({
      image,
      label,
      ...(split !== undefined && { split }),
      ...await placeOf(entry, sources),
      annotated: await rois.has(entry),
    });
  }
  return { rows, isCut: entries.length > MAX_ROWS };
}

/** The URLs of the first images of a manifest that are not shown, by their names. */
export async function urlsOf(
  path: string,
  sources: Sources,
): Promise<Map<string, string>> {
  const { entries } = await sources.readManifest(path);
  return new Map(
    entries.slice(0, MAX_ROWS)
      .filter(({ image, path }) => isUrl(path) && image !== path)
      .map(({ image, path }) => [image, path]),
  );
}

async function placeOf(
  { image, path }: ManifestEntry,
  sources: Sources,
): Promise<Pick<TableRowDocument, "path" | "uri">> {
  return isUrl(path)
    ? { uri: image }
    : { path: await sources.requestPath(path) };
}
