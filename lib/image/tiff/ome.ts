/**
 * OME-XML in the description of a TIFF: the size of a pixel and the objective
 * of one of its images.
 *
 * Schema: https://www.openmicroscopy.org/Schemas/OME/2016-06
 *
 * @module
 */
import { SaxesParser, type SaxesTagPlain } from "saxes";
import { ImageError } from "../../errors.ts";
import type { Size } from "../geometry.ts";
import { micrometres, type PixelSize } from "../mpp.ts";

/** An image of the file according to its XML. */
interface OmeImage {
  /** Attributes of its Pixels, by name. */
  pixels: Record<string, string>;
  pages: OmePages[];
  /** ID of its objective. */
  objective?: string | undefined;
}

/** Pages of a file, from 0, that hold planes of an image. */
interface OmePages {
  first: number;
  count: number;
  /** UUID of the file, if it is one of several. */
  uuid?: string;
}

interface Ome {
  uuid: string | undefined;
  images: OmeImage[];
  /** Magnification by the objective's ID. */
  objectives: Map<string, number>;
}

/** Facts that OME-XML states about an image. */
export interface OmeFacts {
  pixelSize: PixelSize;
  magnification?: number | undefined;
  warnings: string[];
}

export function isOme(description: string): boolean {
  return /<([\w.-]+:)?OME[\s>]/.test(description);
}

/**
 * Reads the facts of the image that is stored on page `page`, from 0, with
 * `size`.
 *
 * @throws {ImageError} With the reason only, if it is not well-formed or too
 *   long.
 */
export function readOme(
  xml: string,
  { page, size }: { page: number; size: Size },
): OmeFacts {
  const ome = parse(xml);
  const image = imageOf(ome, page, size);
  if (image === undefined) return { pixelSize: {}, warnings: [] };
  const warnings: string[] = [];
  if (sizeFits(image, size) === false) {
    warnings.push(
      `OME-XML describes no image of ${size.width} x ${size.height} px: um per px are taken from another`,
    );
  }
  return {
    pixelSize: {
      x: physicalSize(image, "PhysicalSizeX", warnings),
      y: physicalSize(image, "PhysicalSizeY", warnings),
    },
    magnification: magnificationOf(ome, image),
    warnings,
  };
}

// Maximum characters, parsed within two seconds; a slide has some thousand.
const MAX_LENGTH = 2 ** 22;

// Maximum nesting of elements; the schema has about ten.
const MAX_DEPTH = 100;

/**
 * The images of `xml`. The parser expands only XML's predefined entities, so
 * its output is no longer than its input.
 */
function parse(xml: string): Ome {
  if (xml.length > MAX_LENGTH) {
    throw new ImageError(
      `it has ${xml.length} characters; at most ${MAX_LENGTH} are parsed`,
    );
  }
  const ome: Ome = { uuid: undefined, images: [], objectives: new Map() };
  const path: string[] = [];
  const parser = new SaxesParser();
  parser.on("opentag", (tag) => {
    path.push(localName(tag));
    if (path.length > MAX_DEPTH) throw new Error("its elements nest too deep");
    readElement(ome, path.join("/"), tag.attributes);
  });
  parser.on("closetag", () => void path.pop());
  parser.on("text", (text) => {
    if (path.join("/") !== "OME/Image/Pixels/TiffData/UUID") return;
    ome.images.at(-1)!.pages.at(-1)!.uuid = text.trim();
  });
  try {
    parser.write(xml).close();
  } catch (cause) {
    throw new ImageError((cause as Error).message, { cause });
  }
  return ome;
}

function localName({ name }: SaxesTagPlain): string {
  return name.slice(name.indexOf(":") + 1);
}

function readElement(
  ome: Ome,
  path: string,
  attributes: Record<string, string>,
): void {
  const image = ome.images.at(-1); // the open one, within "OME/Image"
  switch (path) {
    case "OME":
      ome.uuid = attributes.UUID;
      break;
    case "OME/Image":
      ome.images.push({ pixels: {}, pages: [] });
      break;
    case "OME/Image/Pixels":
      image!.pixels = attributes;
      break;
    case "OME/Image/Pixels/TiffData":
      image!.pages.push(pagesOf(attributes));
      break;
    case "OME/Image/ObjectiveSettings":
    case "OME/Image/ObjectiveRef": // before 2012
      image!.objective = attributes.ID;
      break;
    case "OME/Instrument/Objective":
      ome.objectives.set(
        attributes.ID ?? "",
        Number(attributes.NominalMagnification),
      );
  }
}

/** Without an IFD or a count, all pages of the file. */
function pagesOf({ IFD, PlaneCount }: Record<string, string>): OmePages {
  const count = PlaneCount ?? (IFD === undefined ? Infinity : 1);
  return { first: Number(IFD ?? 0), count: Number(count) };
}

/** The image that is stored on a page: by its pages, then by its size. */
function imageOf(
  { images, uuid }: Ome,
  page: number,
  size: Size,
): OmeImage | undefined {
  const isHere = (pages: OmePages) =>
    page >= pages.first && page < pages.first + pages.count &&
    (pages.uuid === undefined || uuid === undefined || pages.uuid === uuid);
  const score = (image: OmeImage) =>
    (image.pages.some(isHere) ? 2 : 0) + (sizeFits(image, size) ? 1 : 0);
  const most = images.reduce((most, image) => Math.max(most, score(image)), 0);
  return images.find((image) => score(image) === most);
}

/** The image has `size`; undefined if it does not state its own. */
function sizeFits(
  { pixels: { SizeX, SizeY } }: OmeImage,
  { width, height }: Size,
): boolean | undefined {
  if (SizeX === undefined || SizeY === undefined) return undefined;
  return Number(SizeX) === width && Number(SizeY) === height;
}

/** Micrometres of an attribute with a unit; um if the unit is omitted. */
function physicalSize(
  { pixels }: OmeImage,
  name: "PhysicalSizeX" | "PhysicalSizeY",
  warnings: string[],
): number | undefined {
  const size = Number(pixels[name]);
  if (!(size > 0)) return undefined;
  const unit = pixels[`${name}Unit`] ?? "µm";
  const factor = micrometres(unit);
  if (factor !== undefined) return size * factor;
  warnings.push(
    `OME-XML gives ${name} in "${unit}", which is not a unit of length`,
  );
  return undefined;
}

function magnificationOf(
  { objectives }: Ome,
  { objective }: OmeImage,
): number | undefined {
  const only = objectives.size === 1 ? [...objectives.values()][0] : undefined;
  const magnification = objective === undefined
    ? only
    : objectives.get(objective);
  return magnification !== undefined && magnification > 0
    ? magnification
    : undefined;
}
