/**
 * Reads the head of a JPEG: size, channels, colours, orientation.
 *
 * Format: ITU-T T.81, annex B; EXIF 2.3, section 4.5.
 *
 * @module
 */
import { ImageError } from "../../errors.ts";
import type { Size } from "../geometry.ts";
import { exifOrientation, type Orientation } from "../pyramids/orientation.ts";

/** The head of a JPEG. */
export interface JpegHead extends Size {
  channels: number;
  /** The three channels are stored as red, green and blue. */
  isRgb: boolean;
  orientation: Orientation;
  hasProfile: boolean;
}

/** A segment: its marker, and the bytes behind its length. */
interface Segment {
  marker: number;
  data: Uint8Array;
}

const EXIF = "Exif\0\0";
const APP1 = 0xe1, APP2 = 0xe2, APP14 = 0xee, START_OF_SCAN = 0xda;
// Markers in the range of frames that are tables or extensions.
const NO_FRAMES = [0xc4, 0xc8, 0xcc];

/** @throws {ImageError} With the reason only, if it has no head. */
export function jpegHead(bytes: Uint8Array): JpegHead {
  const segments = [...segmentsOf(bytes)];
  const frame = segments.find(({ marker }) =>
    marker >= 0xc0 && marker <= 0xcf && !NO_FRAMES.includes(marker)
  )?.data;
  if (!frame || frame.length < 6) {
    throw new ImageError("it is damaged or truncated: it has no frame");
  }
  const channels = frame[5]!;
  const names = Array.from(
    { length: channels },
    (_, i) => String.fromCharCode(frame[6 + 3 * i] ?? 0),
  ).join("");
  const adobe = find(segments, APP14, "Adobe");
  return {
    height: frame[1]! << 8 | frame[2]!,
    width: frame[3]! << 8 | frame[4]!,
    channels,
    isRgb: channels === 3 && (adobe ? adobe[11] === 0 : names === "RGB"),
    orientation: exifOrientation(
      find(segments, APP1, EXIF)?.subarray(EXIF.length),
    ),
    hasProfile: find(segments, APP2, "ICC_PROFILE\0") !== undefined,
  };
}

/** The JPEG has its end marker: decoders fill missing pixels with grey. */
export function isComplete(bytes: Uint8Array): boolean {
  for (let at = bytes.length - 2; at >= 0; at--) {
    if (bytes[at] === 0xff && bytes[at + 1] === 0xd9) return true;
    if (bytes[at] === 0xff && bytes[at + 1] === START_OF_SCAN) return false;
  }
  return false;
}

function find(
  segments: readonly Segment[],
  wanted: number,
  name: string,
): Uint8Array | undefined {
  return segments.find(({ marker, data }) =>
    marker === wanted &&
    [...name].every((character, i) => data[i] === character.charCodeAt(0))
  )?.data;
}

/** The segments before the pixels. */
function* segmentsOf(bytes: Uint8Array): Generator<Segment> {
  for (let at = 2; at + 4 <= bytes.length;) {
    if (bytes[at] !== 0xff) return;
    const marker = bytes[at + 1]!;
    if (marker === 0xff) { // a byte that fills up
      at++;
      continue;
    }
    if (marker === START_OF_SCAN) return;
    const length = bytes[at + 2]! << 8 | bytes[at + 3]!;
    yield { marker, data: bytes.subarray(at + 4, at + 2 + length) };
    at += 2 + Math.max(2, length);
  }
}
