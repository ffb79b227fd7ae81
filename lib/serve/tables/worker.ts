/**
 * Reads one table in a Worker of its own. See tables.ts.
 *
 * @module
 */
import { checkLabels } from "../../data/labels.ts";
import { formatTable } from "../../data/table.ts";
import { checkPlan, planFolds } from "../../train/runs/fold_plan.ts";
import { checkReference } from "../../train/runs/run_data.ts";
import { answerCalls } from "../../workers/calls.ts";
import { allowedRois } from "../annotations/rois.ts";
import { Sources } from "../intake/allowed_sources.ts";
import { readBatch } from "./batch.ts";
import type { BatchImage, TableMethods } from "./protocol.ts";
import { rowsOf, urlsOf } from "./rows.ts";

// A point has no width and height.
const BOX_COLUMNS = ["image", "left", "top", "right", "bottom", "type"];

let images: BatchImage[] = [];

answerCalls<TableMethods, never>({
  async checkTraining(
    { path, config, choice, labelsAsTheyAre, roots, hosts },
  ) {
    const sources = await Sources.open({ roots, hosts });
    const manifest = await sources.readManifest(path, config.target);
    if (!labelsAsTheyAre) checkLabels(manifest, 'send "labelsAsTheyAre": true');
    checkReference(config, manifest);
    if (choice) checkPlan(planFolds(manifest, choice));
  },
  async rowsOf({ path, ...allowed }) {
    return await rowsOf(path, await Sources.open(allowed));
  },
  async urlsOf({ path, ...allowed }) {
    return await urlsOf(path, await Sources.open(allowed));
  },
  async objectsOf({ path, image, ...allowed }) {
    const sources = await Sources.open(allowed);
    const manifest = await sources.readManifest(path);
    const entry = manifest.entries.find((entry) => entry.image === image);
    return entry && await (await allowedRois(manifest, [], sources)).of(entry);
  },
  async boxesOf({ path, drawn, ...allowed }) {
    const sources = await Sources.open(allowed);
    const manifest = await sources.readManifest(path);
    const rois = await allowedRois(manifest, drawn, sources);
    const rows: (string | number | undefined)[][] = [];
    for (const entry of manifest.entries) {
      for (const { x, y, width, height, type } of await rois.of(entry)) {
        rows.push([entry.image, x, y, x + width, y + height, type]);
      }
    }
    return formatTable(BOX_COLUMNS, rows);
  },
  async readBatch({ path }) {
    images = await readBatch(path);
    return images.length;
  },
  imagesOf: ({ from, count }) => images.slice(from, from + count),
});
