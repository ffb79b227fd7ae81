/**
 * Heat maps in a JSON document: their values, compressed.
 *
 * @module
 */
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import type { HeatMaps } from "../eval/heatmap/stages.ts";
import type { Heatmap } from "../eval/heatmap/heatmap.ts";
import type { MapDocument, MapsDocument } from "./documents.ts";

const compress = promisify(gzip);

/** The documents of the heat maps of each stage. */
export async function mapsDocument(
  { stage1, stage2, evidence }: HeatMaps,
): Promise<MapsDocument> {
  return {
    stage1: await mapDocument(stage1!),
    stage2: await mapDocument(stage2!),
    ...(evidence && { evidence: await mapDocument(evidence) }),
  };
}

async function mapDocument(
  { width, height, values }: Heatmap,
): Promise<MapDocument> {
  const bytes = await compress(
    new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
  );
  return { width, height, values: bytes.toString("base64") };
}
