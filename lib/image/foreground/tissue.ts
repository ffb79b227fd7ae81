/**
 * Finds the foreground of an image at low resolution: tissue on glass by its
 * colour, or the area of a mask image or GeoJSON polygons.
 *
 * @module
 */
import { ImageError } from "../../errors.ts";
import { spelled } from "../../files.ts";
import { Foreground, type Mask } from "./foreground.ts";
import { boundedSize, type Size } from "../geometry.ts";
import { openImage } from "../open.ts";
import { readOverview } from "../overview.ts";
import { fillPolygons, readPolygons } from "./polygons.ts";
import type { Pyramid } from "../pyramid.ts";
import type { Rgb } from "../pyramids/rgb.ts";

/**
 * Foreground rule: `none` takes the whole image, `tissue` its coloured parts
 * (Otsu's threshold on saturation), `mask` the parts where a mask image is
 * bright and opaque, `polygons` the inside of a GeoJSON file's polygons, in
 * level-0 px.
 */
export type ForegroundChoice =
  | { kind: "none" }
  | { kind: "tissue" }
  | { kind: "mask"; path: string }
  | { kind: "polygons"; path: string };

/**
 * The rule for a file: polygons if it is JSON, else a mask.
 *
 * @throws {ImageError} If it cannot be read.
 */
export async function fileForeground(path: string): Promise<ForegroundChoice> {
  const head = new Uint8Array(64);
  try {
    using file = await Deno.open(await spelled(path));
    await file.read(head);
  } catch (cause) {
    const reason = cause instanceof Deno.errors.NotFound
      ? "no such file"
      : (cause as Error).message;
    throw new ImageError(`Cannot read the foreground ${path}: ${reason}`, {
      cause,
    });
  }
  const isJson = /^\s*[{[]/.test(new TextDecoder().decode(head));
  return { kind: isJson ? "polygons" : "mask", path };
}

// Longest side of a mask, px. Polygons need no pixels, so theirs is finer.
const MASK_SIDE = 1024;
const POLYGON_SIDE = 4096;

/**
 * The foreground of `pyramid`; undefined if it is the whole image.
 *
 * @throws {ImageError} If nothing is foreground, or a file cannot be read or
 *   does not fit; the message names the file.
 */
export async function foregroundOf(
  pyramid: Pyramid,
  choice: ForegroundChoice,
  signal?: AbortSignal,
): Promise<Foreground | undefined> {
  switch (choice.kind) {
    case "none":
      return undefined;
    case "tissue":
      return await tissueOf(pyramid, signal);
    case "mask":
      return await brightOf(pyramid, choice.path, signal);
    case "polygons":
      return await insideOf(pyramid, choice.path);
    default:
      return choice satisfies never;
  }
}

async function tissueOf(
  pyramid: Pyramid,
  signal: AbortSignal | undefined,
): Promise<Foreground> {
  const saturation = saturations(
    await readOverview(pyramid, MASK_SIDE, signal),
  );
  const threshold = Math.max(otsuThreshold(saturation.cells), GLASS_SATURATION);
  const mask = tidied({
    ...saturation,
    cells: saturation.cells.map((value) => value > threshold ? 1 : 0),
  });
  return checkedForeground(
    mask,
    pyramid,
    "no part of it has colour; look everywhere, or give a mask or polygons",
  );
}

async function brightOf(
  pyramid: Pyramid,
  path: string,
  signal: AbortSignal | undefined,
): Promise<Foreground> {
  // Transparent parts are unmarked.
  const image = await openImage(path, {
    backdrop: "black",
    ...signal && { signal },
  });
  try {
    checkShape(pyramid, image);
    const { data, width, height } = await readOverview(
      image,
      MASK_SIDE,
      signal,
    );
    const cells = Uint8Array.from({ length: width * height }, (_, i) => {
      const sum = data[3 * i]! + data[3 * i + 1]! + data[3 * i + 2]!;
      return sum >= 3 * 128 ? 1 : 0;
    });
    return checkedForeground(
      { cells, rows: height, columns: width },
      pyramid,
      `the mask ${path} is dark or transparent everywhere; paint white where to look`,
    );
  } finally {
    image.close();
  }
}

async function insideOf(pyramid: Pyramid, path: string): Promise<Foreground> {
  const polygons = await readPolygons(path);
  const { width, height } = boundedSize(pyramid, POLYGON_SIDE);
  const image = pyramid.stored ?? pyramid; // the image that they were drawn on
  return checkedForeground(
    fillPolygons(polygons, { rows: height, columns: width }, image),
    pyramid,
    `no polygon of ${path} lies in its ${image.width} x ${image.height} px; draw them in px of the full resolution`,
  );
}

function checkedForeground(
  mask: Mask,
  pyramid: Pyramid,
  reason: string,
): Foreground {
  if (!mask.cells.includes(1)) {
    throw new ImageError(
      `Cannot find the foreground of ${pyramid.source}: ${reason}`,
    );
  }
  return new Foreground(mask, pyramid);
}

// Tolerance of a mask's proportions: its own rounding, and that of a few
// pyramid levels.
const SHAPE_TOLERANCE = 0.02;

/** Refuses a mask with other proportions: it belongs to another image. */
function checkShape(image: Pyramid, mask: Size & { source: string }): void {
  const expected = mask.width / image.width * image.height;
  const most = Math.max(1, SHAPE_TOLERANCE * expected);
  if (Math.abs(mask.height - expected) > most) {
    throw new ImageError(
      `Cannot use ${mask.source} as a mask of ${image.source}: ${mask.width} x ${mask.height} px do not have the proportions of ${image.width} x ${image.height} px; take the mask of this image`,
    );
  }
}

// Maximum saturation of glass, of 255: white balance and JPEG leave a tint.
const GLASS_SATURATION = 13;

/** Saturation of HSV, 0 to 255. */
function saturations({ data, width, height }: Rgb): Mask {
  const cells = Uint8Array.from({ length: width * height }, (_, i) => {
    const r = data[3 * i]!, g = data[3 * i + 1]!, b = data[3 * i + 2]!;
    const most = Math.max(r, g, b), least = Math.min(r, g, b);
    return most === 0 ? 0 : Math.round(255 * (most - least) / most);
  });
  return { cells, rows: height, columns: width };
}

/**
 * The threshold that best separates `values`: the two parts differ most in
 * their means. 0 if all are equal.
 *
 * Otsu, "A threshold selection method from gray-level histograms", IEEE
 * Transactions on Systems, Man, and Cybernetics 9(1), 1979.
 */
export function otsuThreshold(values: Uint8Array): number {
  const histogram = new Float64Array(256);
  for (const value of values) histogram[value]!++;
  const total = histogram.reduce((sum, count, value) => sum + count * value, 0);
  let best = { threshold: 0, variance: 0 };
  for (let threshold = 0, count = 0, sum = 0; threshold < 255; threshold++) {
    count += histogram[threshold]!;
    sum += histogram[threshold]! * threshold;
    const above = values.length - count;
    if (count === 0 || above === 0) continue;
    const difference = (total - sum) / above - sum / count;
    const variance = count * above * difference ** 2;
    if (variance > best.variance) best = { threshold, variance };
  }
  return best.threshold;
}

// Specks and holes of fewer cells are dust and gaps between cells.
const MIN_CELLS = 16;

/** `mask` without specks, and with its small holes filled. */
function tidied(mask: Mask): Mask {
  const cells = mask.cells.slice();
  for (const value of [1, 0]) flipSpecks({ ...mask, cells }, value);
  return { ...mask, cells };
}

/** Flips small connected groups of cells of `value`. */
function flipSpecks({ rows, columns, cells }: Mask, value: number): void {
  const seen = new Uint8Array(cells.length);
  const group = new Int32Array(cells.length);
  let length = 0;
  const visit = (cell: number) => {
    if (cells[cell] !== value || seen[cell]) return;
    seen[cell] = 1;
    group[length++] = cell;
  };
  for (let start = 0; start < cells.length; start++) {
    length = 0;
    visit(start);
    for (let i = 0; i < length; i++) {
      const cell = group[i]!, column = cell % columns;
      if (column > 0) visit(cell - 1);
      if (column < columns - 1) visit(cell + 1);
      if (cell >= columns) visit(cell - columns);
      if (cell < (rows - 1) * columns) visit(cell + columns);
    }
    if (length >= MIN_CELLS) continue;
    for (const cell of group.subarray(0, length)) cells[cell] = 1 - value;
  }
}
