/**
 * `deno task dataset`: draw a synthetic data set, or a slide.
 *
 * @module
 */
import type { ParseArgsOptionsConfig } from "node:util";
import {
  MEGAPIXEL_MNIST_DEFAULTS,
  megapixelMnistDataset,
} from "../data/megapixel_mnist.ts";
import { NEEDLE_DEFAULTS, needleDataset } from "../data/needle.ts";
import { writeSlide } from "../data/slide.ts";
import { SLIDE_DEFAULTS } from "../data/slide_plan.ts";
import { type SyntheticDataset, writeDataset } from "../data/synthetic.ts";
import { UsageError } from "../errors.ts";
import { blockCompression, COMPRESSION_USAGE } from "./compression.ts";
import { Flags } from "./flags.ts";
import { interruptSignal, ProgressLine } from "./terminal.ts";

export const summary = "Draw a synthetic data set, or a slide";

export const usage = `deno task dataset needle --out DIR
deno task dataset megapixel-mnist --out DIR --mnist DIR
deno task dataset slide --gigapixels G --out FILE

  --out DIR       the folder to write; must not hold files
  --test N        test images (${NEEDLE_DEFAULTS.test}, MNIST ${MEGAPIXEL_MNIST_DEFAULTS.test})
  --seed N        seed of everything drawn (${NEEDLE_DEFAULTS.seed})
  --json          print the result as one line of JSON

needle: clusters of tiny objects, of which one may be of needles
  --images N      training images (${NEEDLE_DEFAULTS.images})
  --size PX       width and height (${NEEDLE_DEFAULTS.size})
  --clusters N    clusters an image, or one less, but two at least (${NEEDLE_DEFAULTS.clusters})
  --objects N     objects a cluster, one more or less (${NEEDLE_DEFAULTS.objects})
  --diameter PX   of the largest object (${NEEDLE_DEFAULTS.diameter})

megapixel-mnist: five digits, three alike, among scribbles (Katharopoulos & Fleuret 2019)
  --mnist DIR     the four IDX files, gzipped or not
  --train N       training images (${MEGAPIXEL_MNIST_DEFAULTS.train})
  --width PX      (${MEGAPIXEL_MNIST_DEFAULTS.width})
  --height PX     (${MEGAPIXEL_MNIST_DEFAULTS.height})

slide: tissue on glass with the clusters of needle, a pyramid in one TIFF;
its manifest and regions are written beside it
  --out FILE      the TIFF to write, over an older one
  --gigapixels G  pixels of the full resolution, 10^9
  --positive      make the objects of one cluster needles
  --clusters N    (${SLIDE_DEFAULTS.clusters})
  --objects N     objects a cluster, one more or less (${SLIDE_DEFAULTS.objects})
  --diameter PX   of the largest object (${SLIDE_DEFAULTS.diameter})
  --distinct      store every block for itself, as scanners do, not repeats once
${COMPRESSION_USAGE}`;

const COMMON: ParseArgsOptionsConfig = {
  out: { type: "string" },
  seed: { type: "string" },
  json: { type: "boolean" },
};

/** What watches over a drawing. */
interface Watch {
  signal: AbortSignal;
  line: ProgressLine;
}

/** What was drawn: for programs, and for people. */
interface Drawn {
  result: Record<string, unknown>;
  summary: string;
}

/** A kind of data set: its own flags, and how it is drawn. */
interface Generator {
  flags: readonly string[];
  switches?: readonly string[];
  draw(flags: Flags, watch: Watch): Promise<Drawn>;
}

const GENERATORS: Record<string, Generator> = {
  needle: {
    flags: ["test", "images", "size", "clusters", "objects", "diameter"],
    draw: (flags, watch) => drawSet(flags, makeNeedle, watch),
  },
  "megapixel-mnist": {
    flags: ["test", "mnist", "train", "width", "height"],
    draw: (flags, watch) => drawSet(flags, makeMegapixelMnist, watch),
  },
  slide: {
    flags: [
      ...["gigapixels", "clusters", "objects", "diameter"],
      ...["compression", "quality"],
    ],
    switches: ["positive", "distinct"],
    draw: drawSlide,
  },
};

/**
 * Draws and writes what `argv` asks for; Ctrl-C leaves nothing half-written.
 *
 * @throws {UsageError} If a flag is wrong, or the folder holds files.
 */
export async function run(argv: string[]): Promise<number> {
  const [kind = "", ...args] = argv;
  const generator = Object.hasOwn(GENERATORS, kind) && GENERATORS[kind];
  if (!generator) {
    const kinds = Object.keys(GENERATORS).join(" or ");
    throw new UsageError(
      `Cannot draw a data set "${kind}": write ${kinds} first`,
    );
  }
  const started = performance.now();
  const options = { ...COMMON };
  for (const name of generator.flags) options[name] = { type: "string" };
  for (const name of generator.switches ?? []) {
    options[name] = { type: "boolean" };
  }
  const flags = new Flags(args, options);
  const line = new ProgressLine();
  const drawn = await generator.draw(flags, { signal: interruptSignal(), line })
    .finally(() => line.clear());
  const seconds = Math.round(performance.now() - started) / 1000;
  console.log(
    flags.has("json")
      ? JSON.stringify({ ...drawn.result, seconds })
      : `${drawn.summary}, in ${seconds} s`,
  );
  return 0;
}

async function drawSet(
  flags: Flags,
  make: (flags: Flags) => SyntheticDataset | Promise<SyntheticDataset>,
  { signal, line }: Watch,
): Promise<Drawn> {
  const out = flags.required("out", "DIR");
  const dataset = await make(flags);
  const written = await writeDataset(out, dataset, {
    signal,
    onProgress: (done, total) => line.show(`${done}/${total} images`),
  });
  const { train = 0, test = 0 } = dataset.counts;
  return {
    result: { out, images: train + test, train, test, ...written },
    summary: `${out}: ${train} images to train on and ${test} to test`,
  };
}

async function drawSlide(
  flags: Flags,
  { signal, line }: Watch,
): Promise<Drawn> {
  const out = flags.required("out", "FILE");
  flags.required("gigapixels", "G");
  const range = { least: 1, most: 1000 };
  const slide = {
    gigapixels: flags.number("gigapixels", { least: 0.001, most: 64 })!,
    positive: flags.has("positive"),
    clusters: flags.integer("clusters", range) ?? SLIDE_DEFAULTS.clusters,
    objects: flags.integer("objects", range) ?? SLIDE_DEFAULTS.objects,
    diameter: flags.integer("diameter", { least: 6, most: 1000 }) ??
      SLIDE_DEFAULTS.diameter,
    seed: flags.integer("seed") ?? SLIDE_DEFAULTS.seed,
  };
  const written = await writeSlide(out, slide, {
    file: {
      compression: blockCompression(flags),
      distinct: flags.has("distinct"),
    },
    signal,
    onProgress: (share) => line.show(`${Math.round(share * 100)} %`),
  });
  const { width, height, levels, bytes, objects } = written;
  return {
    result: { ...written },
    summary:
      `${out}: ${width} x ${height} px in ${levels} levels, ${bytes} bytes, ${objects} objects`,
  };
}

function makeNeedle(flags: Flags): SyntheticDataset {
  const flag = (name: keyof typeof NEEDLE_DEFAULTS, range: Range) =>
    flags.integer(name, range) ?? NEEDLE_DEFAULTS[name];
  return needleDataset({
    images: flag("images", { least: 2, most: MAX_IMAGES }),
    test: flag("test", { least: 0, most: MAX_IMAGES }),
    size: flag("size", { least: 1, most: MAX_SIZE }),
    clusters: flag("clusters", { least: 2, most: 1000 }),
    objects: flag("objects", { least: 1, most: 1000 }),
    diameter: flag("diameter", { least: 6, most: 1000 }),
    seed: flag("seed", { least: 0, most: Number.MAX_SAFE_INTEGER }),
  });
}

function makeMegapixelMnist(flags: Flags): Promise<SyntheticDataset> {
  const flag = (name: keyof typeof MEGAPIXEL_MNIST_DEFAULTS, range: Range) =>
    flags.integer(name, range) ?? MEGAPIXEL_MNIST_DEFAULTS[name];
  return megapixelMnistDataset(flags.required("mnist", "DIR"), {
    train: flag("train", { least: 1, most: MAX_IMAGES }),
    test: flag("test", { least: 0, most: MAX_IMAGES }),
    width: flag("width", { least: 1, most: MAX_SIZE }),
    height: flag("height", { least: 1, most: MAX_SIZE }),
    seed: flag("seed", { least: 0, most: Number.MAX_SAFE_INTEGER }),
  });
}

/** What an integer may be. */
interface Range {
  least: number;
  most: number;
}

const MAX_IMAGES = 1_000_000;
const MAX_SIZE = 16_384; // px: 805 MB of RGB, drawn in memory
