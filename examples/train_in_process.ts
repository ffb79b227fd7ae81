/**
 * Trains a run in this process, then scores it on its own test images.
 *
 *     deno run -A examples/train_in_process.ts demo/data/manifest.csv runs/example
 */
import {
  evaluate,
  evaluationReport,
  ImageCache,
  Memory,
  preset,
  readCheckpoint,
  readManifest,
  startEngine,
  trainRun,
  withSettings,
} from "../lib/mod.ts";

const [data, folder, epochs = "1"] = Deno.args;
if (!data || !folder) throw new Error("Give a manifest and a folder");

const engine = await startEngine("auto");
const { bestEpoch } = await trainRun(engine, {
  manifest: await readManifest(data),
  config: withSettings(preset("needle"), [`training.epochs=${epochs}`]),
  seed: 0,
  folder,
  test: 0.2, // if the manifest has no split
  resume: false,
  memory: new Memory(),
  onProgress: ({ epoch, loss }) =>
    console.error(`epoch ${epoch}: loss ${loss}`),
});
console.log(`best epoch: ${bestEpoch}`);

const { model } = await readCheckpoint(folder);
const { classes } = model;
const { entries } = await readManifest(`${folder}/splits.csv`, { classes });
const evaluation = await evaluate(
  model,
  entries.filter(({ split }) => split === "test"),
  { cache: new ImageCache(0), seed: 0 },
);
const { metrics } = await evaluationReport(evaluation, {
  classes,
  rois: undefined,
  seed: 0,
});
console.log("accuracy:", metrics.accuracy);
