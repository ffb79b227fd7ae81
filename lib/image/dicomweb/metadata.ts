/**
 * The levels of a slide, from the metadata of its instances.
 *
 * Format: DICOM PS3.18, annex F (JSON), PS3.3, A.32.8 and C.8.12 (VL Whole Slide
 * Microscopy Image).
 *
 * @module
 */
import { ImageError, shortened } from "../../errors.ts";
import type { Size } from "../geometry.ts";
import type { PixelSize } from "../mpp.ts";
import type { BlockLevel } from "../pyramids/block_pyramid.ts";
import { refuseImmense } from "../pyramids/raster.ts";

/** Frames of an instance, in the order of their level. */
export interface Part {
  /** UID of the instance. */
  instance: string;
  /** Index of its first frame in the level. */
  first: number;
  frames: number;
}

/** A level, whose blocks are frames. */
export interface DicomLevel extends BlockLevel {
  parts: readonly Part[];
  /**
   * Frame of each block, from 0, if they are not in the order of the blocks; a
   * block without one was not scanned.
   */
  frameOf?: ReadonlyMap<number, number>;
  /** Colours of its pixels as stored. */
  photometric: string;
  size: PixelSize;
  magnification: number | undefined;
}

/** An instance as JSON: values by tag. */
type Instance = Record<string, unknown>;

const TAG = {
  imageType: "00080008",
  sopClass: "00080016",
  sopInstance: "00080018",
  organization: "00209311",
  concatenation: "00209161",
  frameOffset: "00209228",
  samples: "00280002",
  photometric: "00280004",
  planar: "00280006",
  frames: "00280008",
  rows: "00280010",
  columns: "00280011",
  spacing: "00280030",
  bits: "00280100",
  measures: "00289110",
  totalColumns: "00480006",
  totalRows: "00480007",
  optics: "00480105",
  power: "00480112",
  position: "0048021A",
  column: "0048021E",
  row: "0048021F",
  shared: "52009229",
  perFrame: "52009230",
} as const;

const WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6";

// Pixels of a frame, and of a level in frames: 2 GiB of pixels' places.
const MAX_FRAME_PIXELS = 2 ** 24;
const MAX_FRAMES = 2 ** 24;

/**
 * The levels of a series, the largest first.
 *
 * @throws {ImageError} With the reason only.
 */
export function readLevels(series: unknown): DicomLevel[] {
  const instances = Array.isArray(series) ? series.map(membersOf) : [];
  const slides = instances.filter((instance) =>
    textOf(instance, TAG.sopClass) === WHOLE_SLIDE
  );
  const volumes = slides.filter((instance) =>
    valuesOf(instance, TAG.imageType)[2] === "VOLUME"
  );
  if (volumes.length === 0) {
    const kinds = new Set(
      instances.map((instance) =>
        shortened(textOf(instance, TAG.sopClass) ?? "none")
      ),
    );
    throw new ImageError(
      slides.length > 0
        ? "its series has no image of the slide, but only its label or an overview"
        : `its series has no whole-slide image; its classes are ${
          [...kinds].slice(0, 4).join(", ") || "none"
        }`,
    );
  }
  const groups = Map.groupBy(volumes, levelKey);
  return [...groups.values()].map(levelOf)
    .sort((a, b) => b.width - a.width || b.height - a.height);
}

/** Instances of one level: those of one size that belong together. */
function levelKey(instance: Instance): string {
  const { width, height } = matrixOf(instance);
  return `${width}x${height}`;
}

function levelOf(instances: readonly Instance[]): DicomLevel {
  const sorted = instances.toSorted((a, b) =>
    numberOf(a, TAG.frameOffset, 0) - numberOf(b, TAG.frameOffset, 0)
  );
  const [first] = sorted as [Instance];
  const { width, height } = matrixOf(first);
  refuseImmense({ width, height });
  refuseOtherPixels(first, `${width} x ${height} px`);
  const block = {
    width: numberOf(first, TAG.columns),
    height: numberOf(first, TAG.rows),
  };
  const parts = partsOf(sorted);
  const frames = parts.reduce((sum, part) => sum + part.frames, 0);
  const blocks = Math.ceil(width / block.width) *
    Math.ceil(height / block.height);
  if (
    block.width * block.height > MAX_FRAME_PIXELS || blocks > MAX_FRAMES ||
    frames > 2 * MAX_FRAMES
  ) {
    throw new ImageError(
      `its level of ${width} x ${height} px is in ${blocks} frames of ${block.width} x ${block.height} px: at most ${MAX_FRAMES} of ${MAX_FRAME_PIXELS} px are read`,
    );
  }
  const isSparse = textOf(first, TAG.organization) !== "TILED_FULL";
  // Those of other focal planes and optical paths follow.
  if (!isSparse && frames < blocks) {
    throw new ImageError(
      `it is damaged: its level of ${width} x ${height} px has ${frames} of ${blocks} frames`,
    );
  }
  const spacing = measureOf(first);
  return {
    width,
    height,
    block,
    parts,
    ...isSparse && { frameOf: framesOf(sorted, { width, height, block }) },
    photometric: textOf(first, TAG.photometric)!,
    size: { x: spacing[1], y: spacing[0] },
    magnification: powerOf(first),
  };
}

function matrixOf(instance: Instance): Size {
  return {
    width: numberOf(instance, TAG.totalColumns),
    height: numberOf(instance, TAG.totalRows),
  };
}

/** Parts of a concatenation, or the one instance of a level. */
function partsOf(instances: readonly Instance[]): Part[] {
  const uid = (instance: Instance) => textOf(instance, TAG.concatenation);
  const isOne = instances.length === 1 || uid(instances[0]!) !== undefined &&
      instances.every((instance) => uid(instance) === uid(instances[0]!));
  if (!isOne) {
    const { width, height } = matrixOf(instances[0]!);
    throw new ImageError(
      `its series has ${instances.length} images of ${width} x ${height} px, as of several slides or focal planes: name a series of one slide`,
    );
  }
  let first = 0;
  return instances.map((instance) => {
    const frames = numberOf(instance, TAG.frames, 1);
    const part = { instance: uidOf(instance), first, frames };
    first += frames;
    return part;
  });
}

/** @throws {ImageError} Unless they are RGB of 8 bits. */
function refuseOtherPixels(instance: Instance, size: string): void {
  const samples = numberOf(instance, TAG.samples);
  const bits = numberOf(instance, TAG.bits);
  const photometric = textOf(instance, TAG.photometric) ?? "none";
  const isPlanar = numberOf(instance, TAG.planar, 0, 0) !== 0;
  const isColour = /^(RGB|YBR_(FULL|FULL_422|ICT|RCT))$/.test(photometric);
  if (samples === 3 && bits === 8 && isColour && !isPlanar) return;
  throw new ImageError(
    `its level of ${size} has ${samples} samples of ${bits} bits, ${
      shortened(photometric)
    }${isPlanar ? " in planes" : ""}: 3 of 8 bits (RGB) are read`,
  );
}

/** Frames of the blocks of a sparse level. */
function framesOf(
  instances: readonly Instance[],
  { width, height, block }: Size & { block: Size },
): Map<number, number> {
  const columns = Math.ceil(width / block.width);
  const frames = new Map<number, number>();
  const places = instances.flatMap((instance) =>
    valuesOf(instance, TAG.perFrame)
  );
  for (const [frame, place] of places.entries()) {
    const [position] = valuesOf(membersOf(place), TAG.position);
    const x = numberOf(membersOf(position), TAG.column) - 1;
    const y = numberOf(membersOf(position), TAG.row) - 1;
    if (
      x % block.width !== 0 || y % block.height !== 0 || x >= width ||
      y >= height
    ) {
      throw new ImageError(
        `its frames overlap or leave gaps (one is at ${x}, ${y}): only those on a grid are read`,
      );
    }
    const index = y / block.height * columns + x / block.width;
    if (!frames.has(index)) frames.set(index, frame); // the first focal plane
  }
  if (frames.size === 0) {
    throw new ImageError(
      "its metadata does not say where the frames lie (TILED_SPARSE without positions)",
    );
  }
  return frames;
}

const UM_PER_MM = 1000;

/** Micrometres between rows and between columns. */
function measureOf(instance: Instance): (number | undefined)[] {
  const [shared] = valuesOf(instance, TAG.shared);
  const [measures] = valuesOf(membersOf(shared), TAG.measures);
  return valuesOf(membersOf(measures), TAG.spacing).map((value) => {
    const um = Number(value) * UM_PER_MM;
    return um > 0 && Number.isFinite(um) ? um : undefined;
  });
}

function powerOf(instance: Instance): number | undefined {
  const [optics] = valuesOf(instance, TAG.optics);
  const power = Number(valuesOf(membersOf(optics), TAG.power)[0]);
  return power > 0 && Number.isFinite(power) ? power : undefined;
}

function membersOf(value: unknown): Instance {
  return typeof value === "object" && value !== null ? value as Instance : {};
}

function valuesOf(instance: Instance, tag: string): readonly unknown[] {
  const { Value: values } = membersOf(instance[tag]);
  return Array.isArray(values) ? values : [];
}

function textOf(instance: Instance, tag: string): string | undefined {
  const [value] = valuesOf(instance, tag);
  return typeof value === "string" ? value : undefined;
}

function uidOf(instance: Instance): string {
  const uid = textOf(instance, TAG.sopInstance) ?? "";
  if (/^[0-9.]{1,64}$/.test(uid)) return uid;
  throw new ImageError("it is damaged: an instance of it has no UID");
}

/** A whole number from `least` on; of JSON some servers write text. */
function numberOf(
  instance: Instance,
  tag: string,
  otherwise?: number,
  least = tag === TAG.frameOffset ? 0 : 1,
): number {
  const [value] = valuesOf(instance, tag);
  const number = value === undefined ? otherwise : Number(value);
  if (Number.isSafeInteger(number) && number! >= least) return number!;
  throw new ImageError(
    `it is damaged: element ${tag} of its metadata is ${
      shortened(JSON.stringify(value) ?? "missing")
    }`,
  );
}
