/**
 * `deno task dataset`: draw a synthetic data set.
 *
 * @module
 */
import type { ParseArgsOptionsConfig } from "node:util";
import {
  MEGAPIXEL_MNIST_DEFAULTS,
  megapixelMnistDataset,
} from "../data/megapixel_mnist.ts";
import { NEEDLE_DEFAULTS, needleDataset } from "../data/needle.ts";
import { type SyntheticDataset, writeDataset } from "../data/synthetic.ts";
import { UsageError } from "../errors.ts";
import { Flags } from "./flags.ts";
import { ProgressLine } from "./terminal.ts";

export const summary = "Draw a synthetic data set";

export const usage = `deno task dataset needle --out DIR
deno task dataset megapixel-mnist --out DIR --mnist DIR

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
  --height PX     (${MEGAPIXEL_MNIST_DEFAULTS.height})`;

const COMMON: ParseArgsOptionsConfig = {
  out: { type: "string" },
  test: { type: "string" },
  seed: { type: "string" },
  json: { type: "boolean" },
};

/** A kind of data set: its own flags, and how they make one. */
interface Generator {
  flags: readonly string[];
  make(flags: Flags): SyntheticDataset | Promise<SyntheticDataset>;
}

const GENERATORS: Record<string, Generator> = {
  needle: {
    flags: ["images", "size", "clusters", "objects", "diameter"],
    make: makeNeedle,
  },
  "megapixel-mnist": {
    flags: ["mnist", "train", "width", "height"],
    make: makeMegapixelMnist,
  },
};

/**
 * Draws and writes the data set that `argv` asks for.
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
  const flags = new Flags(args, options);
  const out = flags.required("out", "DIR");
  const dataset = await generator.make(flags);
  const line = new ProgressLine();
  const written = await writeDataset(
    out,
    dataset,
    (done, total) => line.show(`${done}/${total} images`),
  ).finally(() => line.clear());

  const { train = 0, test = 0 } = dataset.counts;
  const seconds = Math.round(performance.now() - started) / 1000;
  const result = {
    out,
    images: train + test,
    train,
    test,
    ...written,
    seconds,
  };
  console.log(
    flags.has("json")
      ? JSON.stringify(result)
      : `${out}: ${train} images to train on and ${test} to test, in ${seconds} s`,
  );
  return 0;
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
