/**
 * `deno task classify`: what an image is, and where the network looked.
 *
 * @module
 */
import { basename, extname, join } from "node:path";
import { UsageError } from "../errors.ts";
import { ORIGINS } from "../eval/geojson.ts";
import type { Prediction } from "../eval/predict.ts";
import { MPP_RANGE } from "../image/mpp.ts";
import {
  type Classified,
  classifyImages,
  defaultWorkers,
  type ImageTask,
} from "./classifier.ts";
import { Flags, LOOK_FLAGS, LOOK_USAGE } from "./flags.ts";
import { checkApart, namesFolder } from "./outputs.ts";
import { announceEngine, interruptSignal, ProgressLine } from "./terminal.ts";

// Sub-tiles that are told in words, of an image: those of most weight.
const SHOWN = 10;

export const summary = "Classify images and show where the network looked";

export const usage = `deno task classify --checkpoint RUN IMAGE...

  --checkpoint RUN   folder of a run (its best checkpoint), or a checkpoint
  --samples N        sub-tiles to read (the configuration's)
  --draws NAME       seeded or topN (the configuration's)
  --seed N           seed of the draws (0)
  --heatmap OUT.png  attention over the image; a folder for several images
  --geojson OUT      tiles and sub-tiles as GeoJSON, for QuPath and maps; a folder
                     for several images
  --origin NAME      where its coordinates begin: level0, bounds (what was
                     scanned) or world (level0)
${LOOK_USAGE}
  --mpp UM           micrometres per px of the images, whatever their files say
  --workers N        images side by side (one a core; one on webgpu)
  --backend NAME     auto, webgpu or wasm (auto)
  --json             print one JSON line an image

Exit code 1 if an image could not be classified; the others are.`;

/** What is printed for one image. */
interface Result
  extends
    Omit<Classified, "prediction" | "classes">,
    Omit<Prediction, "attention" | "probabilities"> {
  image: string;
  probabilities: Record<string, number>;
  heatmap?: string;
  geojson?: string;
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
    geojson: { type: "string" },
    origin: { type: "string" },
    ...LOOK_FLAGS,
    mpp: { type: "string" },
    workers: { type: "string" },
    backend: { type: "string" },
    json: { type: "boolean" },
  }, { positionals: true });
  const checkpoint = flags.required("checkpoint", "RUN");
  const images = flags.positionals;
  if (images.length === 0) throw new UsageError("Cannot classify no image");
  const options = {
    samples: flags.samples(),
    draws: flags.oneOf("draws", ["seeded", "topN"] as const),
    seed: flags.integer("seed") ?? 0,
    foreground: await flags.foreground(),
    memoryBytes: flags.memory()?.bytes,
  };
  const mpp = flags.number("mpp", MPP_RANGE);
  const workers = flags.workers();
  const heatmaps = await outputPaths(
    flags,
    { flag: "heatmap", extension: ".png" },
    images,
  );
  const regions = await outputPaths(
    flags,
    { flag: "geojson", extension: ".geojson" },
    images,
  );
  await checkApart([...heatmaps ?? [], ...regions ?? []], [
    checkpoint,
    ...images,
  ]);
  const origin = flags.oneOf("origin", ORIGINS) ?? "level0";
  if (flags.has("origin") && regions === undefined) {
    throw new UsageError("Cannot take --origin without --geojson");
  }
  const signal = interruptSignal();
  const { backend } = await announceEngine(flags.backend());
  const setup = { checkpoint, backend, origin, ...options };
  const tasks = images.map((image, i) => ({
    image,
    mpp,
    heatmap: heatmaps?.[i],
    geojson: regions?.[i],
  }));
  const line = new ProgressLine();
  const showNext = (done: number) =>
    line.show(`${done + 1}/${images.length} ${images[done]}`);
  let failures = 0;
  showNext(0);
  await classifyImages(tasks, {
    setup,
    workers: workers ?? defaultWorkers(images.length, setup),
    signal,
    onOutcome({ classified, error }, i) {
      line.clear();
      if (classified) {
        const result = resultOf(classified, tasks[i]!);
        console.log(flags.has("json") ? JSON.stringify(result) : text(result));
      } else {
        console.error(error);
        failures++;
      }
      if (i + 1 < images.length) showNext(i + 1);
    },
  }).finally(() => line.clear());
  return failures > 0 ? 1 : 0;
}

function resultOf(
  { prediction, classes, width, height, ...rest }: Classified,
  { image, heatmap, geojson }: ImageTask,
): Result {
  const { probabilities } = prediction;
  return {
    image,
    width,
    height,
    ...prediction,
    probabilities: Object.fromEntries(
      classes.map((name, i) => [name, probabilities[i]!]),
    ),
    ...rest,
    ...(heatmap !== undefined && { heatmap }),
    ...(geojson !== undefined && { geojson }),
  };
}

/** One file an image: in a folder, unless one image has a file of its own. */
async function outputPaths(
  flags: Flags,
  { flag, extension }: { flag: string; extension: string },
  images: readonly string[],
): Promise<string[] | undefined> {
  const out = flags.text(flag);
  if (out === undefined) return undefined;
  if (images.length === 1 && !namesFolder(out)) {
    return [flags.outputFile(flag)!];
  }
  await Deno.mkdir(out, { recursive: true });
  const paths = images.map((image) => {
    const name = fileName(image);
    return join(out, `${basename(name, extname(name))}${extension}`);
  });
  const twice = paths.find((path, i) => paths.indexOf(path) !== i);
  if (twice) {
    throw new UsageError(
      `Cannot write two images to ${twice}: classify images of one name apart`,
    );
  }
  return paths;
}

/** The last part of a path or URL; no query, which may hold a signature. */
function fileName(image: string): string {
  return basename(image.replace(/^(https?:\/\/[^?#]*).*/is, "$1"));
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
  const more = heaviest.length - SHOWN;
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
    ...heaviest.slice(0, SHOWN).map(({ x, y, width, height, weight }) =>
      `  ${x}, ${y}, ${width} x ${height}, ${weight.toFixed(3)}`
    ),
    ...(more > 0 ? [`  and ${more} more (--json has all)`] : []),
    ...(result.heatmap ? [`  heat map: ${result.heatmap}`] : []),
    ...(result.geojson ? [`  regions: ${result.geojson}`] : []),
  ].join("\n");
}
