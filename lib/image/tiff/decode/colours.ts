/**
 * The meaning of a TIFF's samples, and their conversion to opaque RGBA.
 *
 * Format: TIFF 6.0, sections 3 to 6 and 18.
 *
 * @module
 */
import { ImageError } from "../../../errors.ts";
import type { Interleaved } from "./jpeg2000.ts";
import type { Backdrop } from "../../pyramid.ts";
import { readYcbcrRules, type YcbcrRules } from "./ycbcr.ts";
import type { TiffDirectory } from "../parser.ts";
import { TAG } from "../tags.ts";

/** The meaning of a pixel's first samples; further ones are not shown. */
export type Colours =
  | { kind: "grey"; whiteIsZero: boolean }
  | { kind: "rgb"; assumed: boolean } // assumed: the file calls it grey
  | { kind: "ycbcr"; rules: YcbcrRules }
  | { kind: "palette"; map: Uint8Array }; // RGB by index

/** The sample that holds the opacity of a pixel. */
export interface Alpha {
  sample: number;
  premultiplied: boolean;
}

/**
 * Pixels of a kind that our block decoder lacks, and that libvips decodes
 * whole.
 */
export class ForVipsError extends ImageError {
  /** @param kind such as CMYK. */
  constructor(readonly kind: string) {
    super(`${kind} is not decoded in blocks`);
  }
}

const REFUSED: Record<number, string> = {
  4: "a mask",
  32803: "a colour filter array",
  32844: "LogL",
  32845: "LogLuv",
};

// Numbers of PhotometricInterpretation.
const WHITE_IS_ZERO = 0, BLACK_IS_ZERO = 1, RGB = 2, PALETTE = 3;
const CMYK = 5, YCBCR = 6, LAB = 8, ICC_LAB = 9;

/** Number of samples that are not extra samples, if it is not 1. */
const OWN_SAMPLES: Record<number, number> = {
  [RGB]: 3,
  [CMYK]: 4,
  [YCBCR]: 3,
  [LAB]: 3,
};

/** Samples of a pixel that are colours. */
export function colourSamples({ kind }: Colours): number {
  return kind === "rgb" || kind === "ycbcr" ? 3 : 1;
}

/** The samples that are shown: colours, then opacity. */
export function shownSamples(
  { colours, alpha }: { colours: Colours; alpha: Alpha | undefined },
): number[] {
  const own = Array.from({ length: colourSamples(colours) }, (_, i) => i);
  return alpha ? [...own, alpha.sample] : own;
}

/** The colours are YCbCr with subsampled chroma. */
export function sharesColours(colours: Colours): boolean {
  if (colours.kind !== "ycbcr") return false;
  const { rows, columns } = colours.rules.shared;
  return rows * columns > 1;
}

/** @throws {ImageError} With the reason only. */
export async function readColours(
  directory: TiffDirectory,
  { samples, alpha, ownColours }: {
    samples: number;
    alpha: Alpha | undefined;
    /** Pieces declare YCbCr themselves, and are decoded to RGB. */
    ownColours: boolean;
  },
): Promise<Colours> {
  const photometric = await directory.number(TAG.photometric, BLACK_IS_ZERO);
  const colours = alpha?.sample ?? samples; // samples before the opacity
  switch (photometric) {
    case BLACK_IS_ZERO: // GDAL writes RGB of 16 bits so
      return colours >= 3
        ? { kind: "rgb", assumed: true }
        : { kind: "grey", whiteIsZero: false };
    case WHITE_IS_ZERO:
      if (colours < 3) return { kind: "grey", whiteIsZero: true };
      break;
    case RGB:
      if (colours >= 3) return { kind: "rgb", assumed: false };
      break;
    case PALETTE:
      return { kind: "palette", map: await readColorMap(directory) };
    case YCBCR:
      if (colours < 3) break;
      if (ownColours) return { kind: "rgb", assumed: false };
      return { kind: "ycbcr", rules: await readYcbcrRules(directory) };
    case CMYK:
    case LAB:
      await refuseForVips(directory, photometric, { samples, alpha });
  }
  throw new ImageError(
    photometric in REFUSED || photometric === ICC_LAB
      ? `its pixels are ${
        REFUSED[photometric] ?? "ICC Lab"
      }, not grey, RGB or a palette`
      : `its ${samples} channels are not grey, RGB or a palette (PhotometricInterpretation ${photometric})`,
  );
}

/**
 * libvips takes any sample after the inks for opacity, and any four inks for
 * CMYK.
 */
async function refuseForVips(
  directory: TiffDirectory,
  photometric: number,
  { samples, alpha }: { samples: number; alpha: Alpha | undefined },
): Promise<never> {
  const own = OWN_SAMPLES[photometric]!;
  const isPlain = samples === own ||
    samples === own + 1 && alpha?.sample === own;
  const name = photometric === CMYK ? "CMYK" : "Lab";
  const inks = await directory.number(TAG.inkSet, 1);
  if (photometric === CMYK && inks !== 1) {
    throw new ImageError(`its inks are not CMYK (InkSet ${inks})`);
  }
  if (isPlain) throw new ForVipsError(name);
  throw new ImageError(`${name} of ${samples} channels is not supported`);
}

/** RGB by index, 8 bits: the map has all reds, then greens, then blues. */
async function readColorMap(
  directory: TiffDirectory,
): Promise<Uint8Array> {
  const bits = await directory.number(TAG.bitsPerSample, 1);
  if (bits === 16) throw new ForVipsError("a palette of 16 bits");
  const values = await directory.numbers(TAG.colorMap);
  const size = Math.floor(values.length / 3);
  if (bits > 8 || size < 2 ** bits) {
    throw new ImageError("it is damaged: its palette is too short");
  }
  // Some writers store 8-bit values in the 16-bit entries.
  const shift = values.some((value) => value > 255) ? 8 : 0;
  const map = new Uint8Array(256 * 3);
  for (let i = 0; i < Math.min(256, size); i++) {
    for (let c = 0; c < 3; c++) map[i * 3 + c] = values[c * size + i]! >> shift;
  }
  return map;
}

/**
 * The first extra sample that is declared as opacity. An unspecified one, such
 * as near infrared beside RGB, is not.
 */
export async function readAlpha(
  directory: TiffDirectory,
  samples: number,
): Promise<Alpha | undefined> {
  const extra = await directory.numbers(TAG.extraSamples);
  const at = extra.findIndex((meaning) => meaning === 1 || meaning === 2);
  if (at < 0) return undefined;
  const photometric = await directory.number(TAG.photometric, BLACK_IS_ZERO);
  const own = OWN_SAMPLES[photometric] ?? 1;
  const unnamed = samples - extra.length; // RGB that is called grey, and alpha
  const sample = (own === 1 && unnamed >= 3 ? unnamed : own) + at;
  return sample < samples
    ? { sample, premultiplied: extra[at] === 1 }
    : undefined;
}

/**
 * Opaque RGBA: grey and palettes expanded, transparent pixels over `backdrop`,
 * which is white if omitted.
 */
export function toRgba(
  { data, channels, width, height }: Interleaved,
  { colours, alpha, backdrop }: {
    colours: Colours;
    alpha: Alpha | undefined;
    backdrop?: Backdrop;
  },
): Uint8Array<ArrayBuffer> {
  const own = colourSamples(colours);
  if (channels < own) throw new ImageError(`it has ${channels} channels`);
  const pixels = new Uint32Array(width * height); // a pixel a number
  if (own === 3) {
    for (let i = 0, from = 0; i < pixels.length; i++, from += channels) {
      pixels[i] = OPAQUE | data[from + 2]! << 16 | data[from + 1]! << 8 |
        data[from]!;
    }
  } else {
    const table = colourTable(colours);
    for (let i = 0, from = 0; i < pixels.length; i++, from += channels) {
      pixels[i] = table[data[from]!]!;
    }
  }
  const out = new Uint8Array(pixels.buffer);
  if (alpha) {
    const behind = backdrop === "black" ? 0 : 255;
    composite(out, data, { channels, behind, ...alpha });
  }
  return out;
}

const OPAQUE = 0xff000000;

/** The opaque pixel of each value of one sample. */
function colourTable(colours: Colours): Uint32Array {
  return Uint32Array.from({ length: 256 }, (_, value) => {
    if (colours.kind === "palette") {
      const [red, green, blue] = colours.map.subarray(3 * value);
      return OPAQUE | blue! << 16 | green! << 8 | red!;
    }
    const isInverted = colours.kind === "grey" && colours.whiteIsZero;
    const grey = isInverted ? 255 - value : value;
    return OPAQUE | grey << 16 | grey << 8 | grey;
  });
}

/** Composites pixels over a grey, `behind`. */
function composite(
  out: Uint8Array,
  data: Uint8Array,
  { channels, behind, sample, premultiplied }: Alpha & {
    channels: number;
    behind: number;
  },
): void {
  for (let from = sample, to = 0; to < out.length; from += channels, to += 4) {
    const opacity = data[from]!;
    if (opacity === 255) continue;
    for (let c = to; c < to + 3; c++) {
      const value = premultiplied
        ? out[c]!
        : Math.round(out[c]! * opacity / 255);
      const shown = behind * (255 - opacity) / 255; // whole: 0 or all of it
      out[c] = Math.min(255, value + shown);
    }
  }
}
