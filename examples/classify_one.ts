/**
 * Classifies one image and writes its heat map.
 *
 *     deno run -A examples/classify_one.ts demo/run demo/data/images/test_00007.png
 */
import { classifyImage, readCheckpoint, startEngine } from "../lib/mod.ts";

const [run, image] = Deno.args;
if (!run || !image) throw new Error("Give a run and an image");

const engine = await startEngine("auto");
const { model } = await readCheckpoint(run);
const { classification, heatmap } = await classifyImage(image, model, {
  seed: 0,
  heatmap: "over image",
});
const { label, probabilities, subTiles } = classification;
console.log(`${engine.backend}: ${label}`, probabilities);
const [heaviest] = subTiles.toSorted((a, b) => b.weight - a.weight);
console.log("most weight:", heaviest);
await Deno.writeFile("heat.png", heatmap!);
