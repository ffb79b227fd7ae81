/**
 * The changes that decoding makes to a TIFF's pixels, as `Pyramid.warnings`,
 * worded as for other formats.
 *
 * @module
 */
import { colourSamples } from "./colours.ts";
import { TAG } from "../tags.ts";
import type { TiffPage } from "../page.ts";
import type { SampleType } from "./samples.ts";

/** A warning for each change. */
export function conversions(page: TiffPage): string[] {
  const { colours, type, alpha, directory, nodata, backdrop = "white" } = page;
  return [
    ...colours.kind === "palette" ? ["palette expanded to RGB"] : [],
    ...colours.kind === "grey" ? ["grey expanded to RGB"] : [],
    ...colours.kind === "rgb" && colours.assumed
      ? ["its channels have no names: the first three read as RGB"]
      : [],
    ...channelsLeftOut(page),
    ...directory.has(TAG.iccProfile) ? ["colour profile not applied"] : [],
    ...scaled(type),
    ...alpha === undefined ? [] : [`has alpha: composited over ${backdrop}`],
    ...nodata === undefined ? [] : [
      `nodata value ${nodata}: shown as stored, and used for omitted blocks`,
    ],
  ];
}

/**
 * Warnings of samples that are neither colours nor opacity, such as near
 * infrared.
 */
function channelsLeftOut({ samples, colours, alpha }: TiffPage): string[] {
  const own = colourSamples(colours);
  const left = Array.from({ length: samples - own }, (_, i) => own + i)
    .filter((sample) => sample !== alpha?.sample)
    .map((sample) => sample + 1);
  if (left.length === 0) return [];
  return [
    left.length === 1
      ? `channel ${left[0]} ignored: neither a colour nor alpha`
      : `channels ${left.join(", ")} ignored: neither colours nor alpha`,
  ];
}

/** Warnings of samples that were scaled to 8 bits. */
function scaled({ bits, kind, range }: SampleType): string[] {
  if (range === undefined) {
    return bits > 8 ? [`${bits}-bit samples scaled to 8`] : [];
  }
  const { min, max } = range;
  return [
    `${bits}-bit samples (${kind}) scaled to 8: ${min} is black, ${max} white`,
  ];
}
