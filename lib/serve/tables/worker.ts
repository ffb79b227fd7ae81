/**
 * Reads one table in a Worker of its own. See tables.ts.
 *
 * @module
 */
import { checkReference } from "../../train/runs/run_data.ts";
import { answerCalls } from "../../workers/calls.ts";
import { Sources } from "../intake/allowed_sources.ts";
import { readBatch } from "./batch.ts";
import type { BatchImage, TableMethods } from "./protocol.ts";

let images: BatchImage[] = [];

answerCalls<TableMethods, never>({
  async checkTraining({ path, config, roots, hosts }) {
    const sources = await Sources.open({ roots, hosts });
    checkReference(config, await sources.readManifest(path));
  },
  async readBatch({ path }) {
    images = await readBatch(path);
    return images.length;
  },
  imagesOf: ({ from, count }) => images.slice(from, from + count),
});
