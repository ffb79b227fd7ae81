/**
 * `deno task classify`: what an image is, and where the network looked.
 *
 * @module
 */
import { basename, extname, join } from "node:path";
import { ImageError, UsageError } from "../errors.ts";
import { heatmapPng } from "../eval/picture.ts";
import { predict, type Prediction } from "../eval/predict.ts";
import { writeFileAtomically } from "../files.ts";
import { openImage } from "../image/open.ts";
import { readCheckpoint } from "../model/checkpoint.ts";
import { disposeParameters } from "../model/parameters.ts";
import type { Model } from "../model/model.ts";
import { Flags } from "./flags.ts";
import { announceEngine, interruptSignal, ProgressLine } from "./terminal.ts";

export const summary = "Classify images and show where the network looked";

export const usage = `deno task classify --checkpoint RUN IMAGE...

  --checkpoint RUN   folder of a run (its best checkpoint), or a checkpoint
  --samples N        sub-tiles to read (the configuration's)
  --draws NAME       seeded or topN (the configuration's)
  --seed N           seed of the draws (0)
  --heatmap OUT.png  attention over the image; a folder for several images
  --backend NAME     auto, webgpu or wasm (auto)
  --json             print one JSON line an image

Exit code 1 if an image could not be classified; the others are.`;

/** What is printed for one image. */
interface Result extends Omit<Prediction, "attention" | "probabilities"> {
  image: string;
  width: number;
  height: number;
  probabilities: Record<string, number>;
  /** Time by stage, ms. */
  timings: Record<string, number>;
  bytesRead: number;
  /** Reads of the file, or requests of the server. */
  requests: number;
  warnings: readonly string[];
  heatmap?: string;
}

/** What each image is classified with. */
interface Task {
  model: Model;
  samples: number | undefined;
  draws: "seeded" | "topN" | undefined;
  seed: number;
  signal: AbortSignal;
  heatmap: string | undefined;
}

/**
 * Prints one result an image. A bad image is reported and the rest go on.
 *
 * @throws {UsageError} If a flag is wrong.
 */
export async function run(argv: string[]): Promise<number> {
  const flags = new Flags(argv, {
    checkpoint: { type: "string" },
    samples: { type: "string" },
    draws: { type: "string" },
    seed: { type: "string" },
    heatmap: { type: "string" },
    backend: { type: "string" },
    json: { type: "boolean" },
  }, { positionals: true });
  const path = flags.required("checkpoint", "RUN");
  const images = flags.positionals;
  if (images.length === 0) throw new UsageError("Cannot classify no image");
  const samples = flags.samples();
  const draws = flags.oneOf("draws", ["seeded", "topN"] as const);
  const seed = flags.integer("seed") ?? 0;
  const heatmaps = await heatmapPaths(flags.text("heatmap"), images);
  const signal = interruptSignal();
  const engine = await announceEngine(flags.backend());
  const { model } = await readCheckpoint(path);
  const line = new ProgressLine();
  let failures = 0;
  for (const [i, image] of images.entries()) {
    signal.throwIfAborted();
    line.show(`${i + 1}/${images.length} ${image}`);
    try {
      const heatmap = heatmaps?.[i];
      const task = { model, samples, draws, seed, signal, heatmap };
      const result = await classify(image, task);
      engine.assertAlive();
      line.clear();
      console.log(flags.has("json") ? JSON.stringify(result) : text(result));
    } catch (error) {
      if (!(error instanceof ImageError)) throw error;
      line.clear();
      console.error(error.message);
      failures++;
    }
  }
  disposeParameters(model.parameters);
  return failures > 0 ? 1 : 0;
}

async function classify(image: string, task: Task): Promise<Result> {
  const { model, heatmap, ...options } = task;
  const started = performance.now();
  const pyramid = await openImage(image, { signal: options.signal });
  const opened = performance.now();
  try {
    const { predictions, timings } = await predict(model, [pyramid], {
      ...options,
      attention: heatmap !== undefined,
    });
    const { probabilities, attention: _, ...prediction } = predictions[0]!;
    if (heatmap !== undefined) {
      await writeFileAtomically(
        heatmap,
        await heatmapPng(pyramid, predictions[0]!),
      );
    }
    return {
      image,
      width: pyramid.width,
      height: pyramid.height,
      ...prediction,
      probabilities: Object.fromEntries(
        model.classes.map((name, i) => [name, probabilities[i]!]),
      ),
      timings: { openMs: opened - started, ...timings },
      bytesRead: pyramid.traffic.bytes,
      requests: pyramid.traffic.requests,
      warnings: pyramid.warnings,
      ...(heatmap !== undefined && { heatmap }),
    };
  } finally {
    pyramid.close();
  }
}

/** One file an image: `out` itself for one image, else files in a folder. */
async function heatmapPaths(
  out: string | undefined,
  images: readonly string[],
): Promise<string[] | undefined> {
  if (out === undefined) return undefined;
  if (images.length === 1) return [out];
  await Deno.mkdir(out, { recursive: true });
  const paths = images.map((image) =>
    join(out, `${basename(image, extname(image))}.png`)
  );
  const twice = paths.find((path, i) => paths.indexOf(path) !== i);
  if (twice) {
    throw new UsageError(
      `Cannot write two heat maps to ${twice}: classify images of one name apart`,
    );
  }
  return paths;
}

function text(result: Result): string {
  const {
    image,
    label,
    probabilities,
    subTiles,
    timings,
    bytesRead,
    requests,
  } = result;
  const shares = Object.entries(probabilities)
    .map(([name, p]) => `${name} ${p.toFixed(3)}`).join(", ");
  const total = Object.values(timings).reduce((sum, ms) => sum + ms, 0);
  const heaviest = [...subTiles].sort((a, b) => b.weight - a.weight);
  return [
    `${image}: ${label} (${shares})`,
    `  ${result.width} x ${result.height} px, ${bytesRead} bytes in ${requests} ${
      requests === 1 ? "read" : "reads"
    }, ${total.toFixed(0)} ms (${
      Object.entries(timings).map(([stage, ms]) =>
        `${stage.replace(/Ms$/, "")} ${ms.toFixed(0)}`
      ).join(", ")
    })`,
    ...result.warnings.map((warning) => `  warning: ${warning}`),
    "  looked at (x, y, size, weight):",
    ...heaviest.map(({ x, y, width, height, weight }) =>
      `  ${x}, ${y}, ${width} x ${height}, ${weight.toFixed(3)}`
    ),
    ...(result.heatmap ? [`  heat map: ${result.heatmap}`] : []),
  ].join("\n");
}
