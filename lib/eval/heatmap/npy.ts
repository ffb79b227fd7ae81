/**
 * A heat map as a NumPy array: float32, `[height, width]`.
 *
 * Format: NumPy Enhancement Proposal 1, version 1.0.
 *
 * @module
 */
import type { Heatmap } from "./heatmap.ts";

const MAGIC = "\x93NUMPY\x01\x00";
const ALIGNMENT = 64; // bytes, of the data in the file

/** The file of `heat`, which `numpy.load` reads. */
export function npyFile(
  { values, width, height }: Heatmap,
): Uint8Array<ArrayBuffer> {
  const facts =
    `{'descr': '<f4', 'fortran_order': False, 'shape': (${height}, ${width}), }`;
  const before = MAGIC.length + 2; // and the length of the header
  const length =
    Math.ceil((before + facts.length + 1) / ALIGNMENT) * ALIGNMENT - before;
  const header = `${facts.padEnd(length - 1)}\n`;
  const file = new Uint8Array(before + length + values.length * 4);
  const view = new DataView(file.buffer);
  const put = (text: string, at: number) =>
    file.set(Uint8Array.from(text, (sign) => sign.charCodeAt(0)), at);
  put(MAGIC, 0);
  view.setUint16(MAGIC.length, length, true);
  put(header, before);
  values.forEach((value, i) =>
    view.setFloat32(before + length + i * 4, value, true)
  );
  return file;
}
