/**
 * The program as a user starts it: how long until the first classification,
 * and what a second worker brings. Preset colon, noise images of 500x500 px,
 * the wasm engine.
 *
 * @module
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import type { Engine } from "../../lib/engine/select.ts";
import { BEST, writeCheckpoint } from "../../lib/model/checkpoint.ts";
import { disposeParameters } from "../../lib/model/parameters.ts";
import { start, succeed } from "../commands/process.ts";
import { toSharp } from "../image/pictures.ts";
import { noiseImage } from "../model/toy.ts";
import { type Bench, type Benchmark, type Subject, timed } from "./measure.ts";
import { freshModel, IMAGE_SIZES } from "./presets.ts";

const IMAGES = 16, FOLDS = 2, EPOCHS = 12;
// Number of times that each image is classified in a run of many.
const TURNS = 10;

export const programBenchmarks: Record<string, Benchmark> = {
  "cold-start": onWasm(coldStart),
  "workers-2": onWasm(twoWorkers),
};

/** Nothing on webgpu, where processes and Workers share one device. */
function onWasm(subjectsIn: (folder: string) => Subject[]): Benchmark {
  return async function benchInFolder({ backend }: Engine): Promise<Bench> {
    if (backend !== "wasm") return { subjects: [], dispose() {} };
    const folder = await Deno.makeTempDir({ prefix: "zoomin-bench-" });
    await writeImages(folder);
    await writeModel(folder);
    return {
      subjects: subjectsIn(folder),
      dispose: () => Deno.removeSync(folder, { recursive: true }),
    };
  };
}

function coldStart(folder: string): Subject[] {
  return [
    {
      ours: async () => (await classify(folder, ["0.png"])).firstMs,
      note: "process start to first classification",
    },
    {
      ours: async () => (await classify(folder, many())).imageMs,
      note: "then an image",
    },
  ];
}

function twoWorkers(folder: string): Subject[] {
  const imageMs = async (workers: number) =>
    (await classify(folder, [...many(), "--workers", `${workers}`])).imageMs;
  return [
    {
      ours: () => timed(() => crossValidate(folder, ["--workers", "2"])),
      stock: () => timed(() => crossValidate(folder, ["--workers", "1"])),
      note: `${FOLDS} folds of ${EPOCHS} epochs; stock: one worker`,
    },
    {
      ours: () =>
        timed(async () => {
          await Promise.all(
            Array.from(
              { length: FOLDS },
              (_, fold) =>
                crossValidate(folder, ["--fold", `${fold}`, "--workers", "1"]),
            ),
          );
        }),
      stock: () => timed(() => crossValidate(folder, ["--workers", "1"])),
      note: "what the machine allows: a process a fold; stock: one worker",
    },
    {
      ours: () => timed(() => trainOnce(folder, 2)),
      stock: () => timed(() => trainOnce(folder, 1)),
      note: `one run of ${EPOCHS} epochs; stock: one worker`,
    },
    {
      ours: () => imageMs(2),
      stock: () => imageMs(1),
      note: "classification, an image; stock: one worker",
    },
  ];
}

/** Every image, TURNS times. */
function many(): string[] {
  return Array.from({ length: IMAGES * TURNS }, (_, i) => `${i % IMAGES}.png`);
}

/** Time from start to the first result, and from there on an image. */
async function classify(
  folder: string,
  argv: readonly string[],
): Promise<{ firstMs: number; imageMs: number }> {
  const started = performance.now();
  const process = start(
    folder,
    ...["classify", "--checkpoint", BEST, "--backend", "wasm", "--json"],
    ...argv,
  );
  const errors = new Response(process.stderr).text();
  const times: number[] = [];
  for await (const chunk of process.stdout) {
    const lines = chunk.filter((byte) => byte === NEWLINE).length;
    for (let i = 0; i < lines; i++) times.push(performance.now());
  }
  const { success } = await process.status;
  assert.ok(success, await errors);
  const [first, last] = [times[0]!, times.at(-1)!];
  return {
    firstMs: first - started,
    imageMs: (last - first) / Math.max(1, times.length - 1),
  };
}

const NEWLINE = "\n".charCodeAt(0);

async function crossValidate(
  folder: string,
  argv: readonly string[],
): Promise<void> {
  const folds = ["--folds", "manifest", "--protocol", "best-epoch"];
  await train(folder, [...folds, ...argv]);
}

async function trainOnce(folder: string, workers: number): Promise<void> {
  await train(folder, ["--workers", `${workers}`]);
}

async function train(folder: string, argv: readonly string[]): Promise<void> {
  const out = await Deno.makeTempDir({ dir: folder });
  await succeed(
    folder,
    ...["train", "--data", "manifest.csv", "--out", join(out, "run")],
    ...["--backend", "wasm", "--preset", "colon", "--epochs", `${EPOCHS}`],
    ...argv,
  );
}

export async function writeImages(folder: string): Promise<void> {
  const rows = ["image,label,fold"];
  const region = { x: 0, y: 0, ...IMAGE_SIZES.colon! };
  for (let i = 0; i < IMAGES; i++) {
    const pixels = await noiseImage(region, i).read(region, 0);
    await toSharp(pixels).png().toFile(join(folder, `${i}.png`));
    rows.push(`${i}.png,${Math.floor(i / FOLDS) % 2},${i % FOLDS}`);
  }
  await Deno.writeTextFile(join(folder, "manifest.csv"), rows.join("\n"));
}

async function writeModel(folder: string): Promise<void> {
  const model = freshModel("colon");
  await writeCheckpoint(join(folder, BEST), {
    model,
    epoch: 0,
    seed: 0,
    metrics: {},
    trainer: null,
    trainerTensors: new Map(),
  });
  disposeParameters(model.parameters);
}
