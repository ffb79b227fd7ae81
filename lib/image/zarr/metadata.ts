/**
 * The metadata of an OME-Zarr image: its levels, axes and scale.
 *
 * Format: https://ngff.openmicroscopy.org/0.4/ and /0.5/, "multiscales".
 *
 * @module
 */
import { ImageError, oneLine, shortened } from "../../errors.ts";
import { micrometres, type PixelSize } from "../mpp.ts";

/** A value of JSON that nothing is known of. */
type Json = unknown;

/** An image of several levels. */
export interface Multiscale {
  /** Path of each level's array, from the largest. */
  paths: readonly string[];
  /** Names of the axes of all arrays, such as t, c, z, y, x. */
  axes: readonly string[];
  /** Micrometres per px of the first level, if their unit is a length. */
  size: PixelSize;
}

// More halve an image of MAX_SIDE to a pixel.
const MAX_LEVELS = 32;

/** The members of an object, of anything else none. */
export function membersOf(value: Json): Record<string, Json> {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? value as Record<string, Json>
    : {};
}

/** The attributes of version 0.5 lie under "ome", earlier ones at the top. */
export function omeOf(attributes: Json): Record<string, Json> {
  const members = membersOf(attributes);
  return "ome" in members ? membersOf(members.ome) : members;
}

/** Converters put the image of a file into the first of its folders. */
export function isConverted(attributes: Json): boolean {
  return "bioformats2raw.layout" in omeOf(attributes);
}

/**
 * The first image of a group.
 *
 * @throws {ImageError} With the reason only.
 */
export function readMultiscale(attributes: Json): Multiscale {
  const [first] = listOf(omeOf(attributes).multiscales);
  if (first === undefined) {
    throw new ImageError(
      'it is Zarr, but no image of OME-Zarr: its attributes have no "multiscales"',
    );
  }
  const image = membersOf(first);
  const axes = listOf(image.axes).map((axis) =>
    typeof axis === "string" ? { name: axis } : membersOf(axis) // 0.3
  );
  const names = axes.map(({ name }) =>
    shortened(oneLine(String(name ?? "unnamed"))).toLowerCase()
  );
  const datasets = listOf(image.datasets).map(membersOf);
  if (datasets.length === 0 || datasets.length > MAX_LEVELS) {
    throw new ImageError(
      `it has ${datasets.length} levels: from 1 to ${MAX_LEVELS} are read`,
    );
  }
  return {
    paths: datasets.map(({ path }) => {
      if (typeof path === "string" && path !== "") return path;
      throw new ImageError("it is damaged: a level of it has no path");
    }),
    axes: names.length > 0 ? names : ["t", "c", "z", "y", "x"], // before 0.3
    size: sizeOf(
      axes,
      scalesOf(datasets[0]!.coordinateTransformations),
      scalesOf(image.coordinateTransformations),
    ),
  };
}

function listOf(value: Json): readonly Json[] {
  return Array.isArray(value) ? value : [];
}

/** Units per px of each axis; 1 where the metadata says nothing. */
function scalesOf(transformations: Json): (axis: number) => number {
  const scales = listOf(transformations).map((transformation) =>
    listOf(membersOf(transformation).scale)
  );
  return (axis) =>
    scales.reduce((product, scale) => product * Number(scale[axis] ?? 1), 1);
}

function sizeOf(
  axes: readonly Record<string, Json>[],
  own: (axis: number) => number,
  common: (axis: number) => number,
): PixelSize {
  const of = (name: string) => {
    const axis = axes.findIndex((axis) => axis.name === name);
    const unit = axes[axis]?.unit;
    const um = typeof unit === "string" ? micrometres(unit) : undefined;
    const size = um && um * own(axis) * common(axis);
    return size && Number.isFinite(size) && size > 0 ? size : undefined;
  };
  return { x: of("x"), y: of("y") };
}

const RGB = ["FF0000", "00FF00", "0000FF"];

/**
 * Refuses three channels that are not red, green and blue, as of a fluorescence
 * microscope, if the metadata says what they are.
 *
 * @throws {ImageError} With the reason only.
 */
export function refuseOtherColours(attributes: Json): void {
  const channels = listOf(membersOf(omeOf(attributes).omero).channels)
    .map(membersOf);
  const colours = channels.map(({ color }) =>
    String(color ?? "").toUpperCase()
  );
  const isSaid = colours.length === 3 && new Set(colours).size > 1;
  if (!isSaid || colours.every((colour, i) => colour === RGB[i])) return;
  const names = channels.map(({ label, color }) =>
    shortened(oneLine(String(label ?? color ?? "unnamed")))
  );
  throw new ImageError(
    `its three channels are ${
      names.join(", ")
    }, not red, green and blue: convert it to RGB`,
  );
}
