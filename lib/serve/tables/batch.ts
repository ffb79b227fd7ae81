/**
 * Reads a table of images to classify.
 *
 * @module
 */
import { type Columns, Faults, readTable } from "../../data/table.ts";
import { DataError, shortened } from "../../errors.ts";
import { isPlausibleMpp, MPP_WORDS } from "../../image/mpp.ts";
import type { BatchImage } from "./protocol.ts";

// A manifest's columns: a table that was trained on can be classified.
const COLUMNS: Columns = {
  required: ["image"],
  optional: ["label", "split", "fold", "group", "mpp", "rois"],
};

/** The images of a table. @throws {DataError} With every fault, by its line. */
export async function readBatch(path: string): Promise<BatchImage[]> {
  const faults = new Faults(path);
  const { rows } = await readTable(path, COLUMNS, faults);
  const images: BatchImage[] = [];
  for (const { line, fields: { image, mpp } } of rows) {
    if (image === undefined) faults.add(line, "empty image: fill it in");
    if (mpp !== undefined && !isPlausibleMpp(Number(mpp))) {
      faults.add(
        line,
        `mpp is "${shortened(mpp)}": write a number ${MPP_WORDS}`,
      );
    }
    if (image === undefined) continue;
    images.push({ image, ...(mpp !== undefined && { mpp: Number(mpp) }) });
  }
  faults.throwIfAny();
  if (images.length > 0) return images;
  throw new DataError(`${path}: no rows: add one line an image`);
}
