/**
 * Opens OME-Zarr images, from a folder and from servers: zarrita reads Zarr 2
 * and 3, chunks alone and in shards.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { ImageError, shortened } from "../../errors.ts";
import { FolderObjects, WebObjects } from "../bytes/objects.ts";
import { isUrl } from "../bytes/source.ts";
import { plausibleMpp } from "../mpp.ts";
import type { Pyramid } from "../pyramid.ts";
import { refuseImmense } from "../pyramids/raster.ts";
import { defaultCache, type OpenOptions } from "../whole.ts";
import { boundCodecs } from "./codecs.ts";
import {
  isConverted,
  membersOf,
  type Multiscale,
  omeOf,
  readMultiscale,
  refuseOtherColours,
} from "./metadata.ts";
import { type ZarrLevel, ZarrPyramid } from "./pyramid.ts";
import {
  type AnyArray,
  damagedIfNot,
  MAX_CHUNK_BYTES,
  METADATA,
  ZarrStore,
} from "./store.ts";

/** The address is that of a Zarr image, or the folder holds its metadata. */
export async function isZarr(address: string): Promise<boolean> {
  if (isUrl(address)) return /\.zarr(\/[^?]*)?(\?.*)?$/i.test(address);
  const info = await Deno.stat(address).catch(() => undefined);
  if (!info?.isDirectory) return false;
  const objects = new FolderObjects(address);
  for (const key of ["zarr.json", ".zgroup", ".zattrs"]) {
    const found = await objects.read(key, METADATA)
      .catch(() => "which the opening tells");
    if (found !== undefined) return true;
  }
  return false;
}

/**
 * Opens an OME-Zarr image.
 *
 * @throws {ImageError} With the reason only.
 */
export async function openZarr(
  address: string,
  { fetch, signal, cache = defaultCache() }: OpenOptions,
): Promise<Pyramid> {
  const objects = isUrl(address)
    ? new WebObjects(address, fetch)
    : new FolderObjects(address);
  const closed = new AbortController();
  const store = new ZarrStore(objects, closed.signal);
  const { prefix, attributes, version, text } = await imageGroup(store, signal);
  const image = readMultiscale(attributes);
  refuseOtherColours(attributes);
  const { open, root } = await loadZarrita();
  const arrays: AnyArray[] = [];
  for (const path of image.paths) {
    const place = root(store).resolve(`${prefix}${path}`);
    const how = { kind: "array", ...signal && { signal } } as const;
    const opening = version === "v2"
      ? open.v2(place, { ...how, attrs: false })
      : open.v3(place, how);
    arrays.push(await damagedIfNot(opening, signal));
  }
  const levels = arrays.map((array, i) => levelOf(array, image, i));
  levels.forEach(refuseGrowing);
  const warnings: string[] = [];
  const { traffic } = objects;
  const hash = createHash("sha256").update(text).digest("hex");
  return new ZarrPyramid({
    name: address,
    // A version is not known of so many files: their metadata is the best.
    identity: `${address}|${hash}`,
    traffic,
    warnings: [],
    close: () => closed.abort(new TypeError(`${address} was closed`)),
  }, {
    levels,
    facts: { mpp: plausibleMpp("OME-Zarr metadata", image.size, warnings) },
    warnings,
    cache,
  });
}

/** Of many modules, so loaded when it is needed. */
async function loadZarrita(): Promise<typeof import("zarrita")> {
  const zarr = await import("zarrita");
  if (zarr.registry.has("json2")) boundCodecs(zarr.registry); // not yet bound
  return zarr;
}

/** The group of an image: its place in the store, and what it says. */
interface ImageGroup {
  prefix: string;
  attributes: unknown;
  version: "v2" | "v3";
  /** As stored. */
  text: Uint8Array;
}

async function imageGroup(
  store: ZarrStore,
  signal: AbortSignal | undefined,
): Promise<ImageGroup> {
  const root = await groupAt(store, "", signal);
  const isImage = "multiscales" in omeOf(root.attributes);
  return isConverted(root.attributes) && !isImage
    ? await groupAt(store, "0/", signal)
    : root;
}

async function groupAt(
  store: ZarrStore,
  prefix: string,
  signal: AbortSignal | undefined,
): Promise<ImageGroup> {
  const options = signal && { signal };
  const group = await store.get(`/${prefix}zarr.json`, options);
  if (group) {
    const attributes = membersOf(parsed(group)).attributes;
    return { prefix, attributes, version: "v3", text: group };
  }
  const text = await store.get(`/${prefix}.zattrs`, options);
  if (!text) {
    throw new ImageError(
      `it has neither ${prefix}zarr.json nor ${prefix}.zattrs: name the folder that holds the levels of an OME-Zarr image`,
    );
  }
  return { prefix, attributes: parsed(text), version: "v2", text };
}

function parsed(text: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(text));
  } catch (cause) {
    throw new ImageError("it is damaged: its metadata is not JSON", { cause });
  }
}

/** @throws {ImageError} If it is no RGB of 8 bits, or is too large to decode. */
function levelOf(
  array: AnyArray,
  { axes, paths }: Multiscale,
  index: number,
): ZarrLevel {
  const { shape, chunks, dtype } = array;
  const name = `level ${JSON.stringify(shortened(paths[index]!))}`;
  const isSound = [shape, chunks].every((sides) =>
    Array.isArray(sides) && sides.length === axes.length &&
    sides.every((side) => Number.isSafeInteger(side) && side > 0)
  );
  if (!isSound) {
    throw new ImageError(
      `it is damaged: ${name} has not a size and a chunk along each of its axes ${
        axes.join(", ")
      }`,
    );
  }
  const sides = (name: string, of: readonly number[]) => {
    const axis = axes.indexOf(name);
    return axis < 0 ? undefined : of[axis];
  };
  const width = sides("x", shape), height = sides("y", shape);
  const isRgb = sides("c", shape) === 3 && dtype === "uint8" &&
    axes.every((axis, i) =>
      ["c", "y", "x"].includes(axis) ||
      ["t", "z"].includes(axis) && shape[i] === 1
    );
  if (width === undefined || height === undefined || !isRgb) {
    throw new ImageError(
      `${name} is ${dtype} of ${
        axes.map((axis, i) => `${axis} ${shape[i]}`).join(", ")
      }: OME-Zarr is read if it is uint8 of 3 channels (RGB) in one plane and at one time`,
    );
  }
  refuseImmense({ width, height });
  const bytes = chunks.reduce((product, side) => product * side, 1);
  if (bytes > MAX_CHUNK_BYTES) {
    throw new ImageError(
      `${name} has chunks of ${bytes} bytes: at most ${MAX_CHUNK_BYTES} are read at a time; write it with smaller ones`,
    );
  }
  const block = { width: sides("x", chunks)!, height: sides("y", chunks)! };
  return { array, axes, width, height, block };
}

function refuseGrowing(
  { width, height }: ZarrLevel,
  index: number,
  levels: readonly ZarrLevel[],
): void {
  const finer = levels[index - 1];
  if (!finer || width <= finer.width && height <= finer.height) return;
  throw new ImageError(
    `it is damaged: its level ${index} of ${width} x ${height} px is larger than the one before, of ${finer.width} x ${finer.height} px`,
  );
}
