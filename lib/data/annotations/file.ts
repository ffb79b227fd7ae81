/**
 * Files of annotated objects: CSV, GeoJSON (QuPath), COCO JSON and ASAP XML,
 * recognised by their content.
 *
 * @module
 */
import { DataError, oneLine } from "../../errors.ts";
import { spelled } from "../../files.ts";
import { asapObjects, LineError } from "./asap.ts";
import { cocoImages, isCoco, isCocoResults } from "./coco.ts";
import { readCsv } from "./csv.ts";
import { geoJsonObjects, isGeoJson } from "./geojson.ts";
import type { Annotations } from "./object.ts";

// Room for a million cells; bounded because parsed JSON takes ten times the
// memory, and XML is parsed at 2 million characters a second.
const MAX_JSON_BYTES = 2 ** 27, MAX_XML_BYTES = 2 ** 25;

// Bytes in which the first mark is looked for.
const HEAD_BYTES = 1024;

/**
 * The annotated objects in the file at `path`, in px of their images.
 *
 * @throws {DataError} If it cannot be read, naming the fault by line or field.
 */
export async function readAnnotations(path: string): Promise<Annotations> {
  const file = await spelled(path);
  switch (await firstMark(file)) {
    case "{":
    case "[":
      return ofJson(path, await readText(file, path, MAX_JSON_BYTES));
    case "<":
      return ofXml(path, await readText(file, path, MAX_XML_BYTES));
    default:
      return await readCsv(path);
  }
}

/** The first character but white space; undefined if it cannot be read. */
async function firstMark(file: string): Promise<string | undefined> {
  try {
    const { isFile } = await Deno.stat(file);
    if (!isFile) return undefined; // reading a pipe might never end
    using handle = await Deno.open(file);
    const head = new Uint8Array(HEAD_BYTES);
    const length = await handle.read(head) ?? 0;
    const text = new TextDecoder().decode(head.subarray(0, length)); // no BOM
    return text.trimStart()[0];
  } catch {
    return undefined; // told by the reader of tables
  }
}

async function readText(
  file: string,
  path: string,
  most: number,
): Promise<string> {
  const { size } = await Deno.stat(file);
  if (size > most) {
    throw new DataError(
      `Cannot read ${path} as annotations: it has ${size} bytes, at most ${most} are read; export fewer objects`,
    );
  }
  try {
    return new TextDecoder("utf-8", { fatal: true })
      .decode(await Deno.readFile(file));
  } catch (cause) {
    throw new DataError(
      `Cannot read ${path} as annotations: it is not UTF-8; save it as UTF-8`,
      { cause },
    );
  }
}

function ofJson(path: string, text: string): Annotations {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw refusal(path, "JSON", `${reason(cause)}; export it again`);
  }
  if (isCoco(value)) {
    return named(path, "COCO", () => ({ images: cocoImages(value) }));
  }
  if (isGeoJson(value)) {
    return named(path, "GeoJSON", () => ({ objects: geoJsonObjects(value) }));
  }
  throw refusal(
    path,
    "annotations",
    isCocoResults(value)
      ? "it is a list of detections without its images; give COCO's file with images, annotations and categories"
      : "it is JSON, but neither a list of GeoJSON features nor COCO with images and annotations; export it as one of them",
  );
}

function ofXml(path: string, text: string): Annotations {
  try {
    return { objects: asapObjects(text) };
  } catch (cause) {
    if (!(cause instanceof LineError)) throw cause;
    throw new DataError(`${path}:${cause.line}: ${oneLine(cause.message)}`, {
      cause,
    });
  }
}

/** `read`, whose faults are told with the file and its format. */
function named(
  path: string,
  format: string,
  read: () => Annotations,
): Annotations {
  try {
    return read();
  } catch (cause) {
    throw refusal(path, format, reason(cause), cause);
  }
}

function refusal(
  path: string,
  format: string,
  why: string,
  cause?: unknown,
): DataError {
  const as = format === "annotations" ? format : `${format} annotations`;
  return new DataError(`Cannot read ${path} as ${as}: ${why}`, { cause });
}

function reason(cause: unknown): string {
  return oneLine((cause as Error).message);
}
