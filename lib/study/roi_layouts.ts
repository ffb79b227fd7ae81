/**
 * Where the data sets of the studies keep their annotations, and which of them
 * make an image's label.
 *
 * @module
 */
import { join, parse } from "node:path";
import {
  perImage,
  perSet,
  type Relevance,
  type RoiLayout,
} from "../data/rois.ts";
import { exists } from "../files.ts";

// GTSDB numbers the kinds of signs; of our subset's labels, 0 is "none of
// these". Checked with signs.csv: each image of label 1 to 3 holds at least
// one sign of its kind, and no image holds a sign of another label's kind.
const SIGN_OF_LABEL: Record<string, string> = {
  1: "2", // 50 km/h
  2: "4", // 70 km/h
  3: "5", // 80 km/h
};

const isSignOfLabel: Relevance = ({ label }, { type }) =>
  type !== undefined && SIGN_OF_LABEL[label] === type;

// Label 1 means "at least one epithelial nucleus" (SOURCE.md of the set).
const isEpithelial: Relevance = (_, { type }) => type === "epithelial";

/** GTSDB: boxes of road signs of all images, in `signs.csv`. */
const roadSigns: RoiLayout = async (folder, entries) => {
  const path = join(folder, "signs.csv");
  return await exists(path)
    ? await perSet(path, entries, isSignOfLabel)
    : undefined;
};

/** CRCHistoPhenotypes: points of nuclei, in `nuclei/NAME.csv`. */
const nuclei: RoiLayout = async (folder) => {
  const place = join(folder, "nuclei");
  return await exists(place)
    ? perImage(
      ({ path }) => join(place, `${parse(path).name}.csv`),
      isEpithelial,
    )
    : undefined;
};

/** The layouts of all studies. */
export const STUDY_LAYOUTS: readonly RoiLayout[] = [roadSigns, nuclei];
