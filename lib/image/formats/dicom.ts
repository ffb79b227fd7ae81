/**
 * Tells whole-slide images from other DICOM files, which hold images of other
 * devices, reports or indices.
 *
 * Format: DICOM PS3.10, section 7.1 (file meta information), PS3.6, annex A.
 *
 * @module
 */
import { ImageError } from "../../errors.ts";
import type { ByteSource } from "../bytes/source.ts";

const WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6";

/** Other classes that people try to open, by the last numbers of their UID. */
const NAMES: Record<string, string> = {
  "1.3.10": "DICOMDIR, an index of files",
  "5.1.4.1.1.1": "Computed Radiography Image",
  "5.1.4.1.1.1.1": "Digital X-Ray Image",
  "5.1.4.1.1.1.2": "Digital Mammography X-Ray Image",
  "5.1.4.1.1.2": "CT Image",
  "5.1.4.1.1.4": "MR Image",
  "5.1.4.1.1.6.1": "Ultrasound Image",
  "5.1.4.1.1.7": "Secondary Capture Image",
  "5.1.4.1.1.66.4": "Segmentation",
  "5.1.4.1.1.77.1.2": "VL Microscopic Image",
  "5.1.4.1.1.77.1.3": "VL Slide-Coordinates Microscopic Image",
  "5.1.4.1.1.77.1.4": "VL Photographic Image",
  "5.1.4.1.1.91.1": "Microscopy Bulk Simple Annotations",
  "5.1.4.1.1.104.1": "Encapsulated PDF",
  "5.1.4.1.1.128": "PET Image",
};
const ROOT = "1.2.840.10008.";

const PREAMBLE_BYTES = 132; // with "DICM"

// The class is the third element, behind two of 26 bytes together.
const META_BYTES = 4096;

/**
 * Refuses a DICOM file that is not a whole-slide image.
 *
 * @throws {ImageError} With the reason only.
 */
export async function refuseOtherDicom(
  source: ByteSource,
  signal?: AbortSignal,
): Promise<void> {
  const uid = classOf(await source.read(PREAMBLE_BYTES, META_BYTES, signal));
  if (uid === WHOLE_SLIDE) return;
  if (uid === undefined) {
    throw new ImageError(
      "it is a DICOM file without a Media Storage SOP Class; only whole-slide images are read",
    );
  }
  const name = uid.startsWith(ROOT) ? NAMES[uid.slice(ROOT.length)] : undefined;
  throw new ImageError(
    `it is a DICOM file but not a whole-slide image: its class is ${
      name ? `${uid} (${name})` : uid
    }; save it as PNG or TIFF`,
  );
}

// Values of these kinds have a length of 4 bytes, behind two that are zero.
const LONG_VALUES = [
  "OB",
  "OD",
  "OF",
  "OL",
  "OV",
  "OW",
  "SQ",
  "UC",
  "UN",
  "UR",
  "UT",
];

/** Media Storage SOP Class UID, (0002,0002): little-endian, types explicit. */
function classOf(meta: Uint8Array): string | undefined {
  const view = new DataView(meta.buffer, meta.byteOffset, meta.length);
  for (let at = 0; at + 12 <= meta.length;) {
    const group = view.getUint16(at, true);
    const element = view.getUint16(at + 2, true);
    if (group !== 2) return undefined;
    const kind = String.fromCharCode(meta[at + 4]!, meta[at + 5]!);
    const isLong = LONG_VALUES.includes(kind);
    const length = isLong
      ? view.getUint32(at + 8, true)
      : view.getUint16(at + 6, true);
    const start = at + (isLong ? 12 : 8);
    if (element === 2) {
      const text = new TextDecoder().decode(
        meta.subarray(start, start + length),
      );
      return text.replace(/[\0 ]+$/, "") || undefined;
    }
    at = start + length;
  }
  return undefined;
}
