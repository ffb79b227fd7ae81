/**
 * `deno task dataset`: draw a synthetic data set, or a slide, or write the
 * manifest of a folder of images.
 *
 * @module
 */
import { dirname, join } from "node:path";
import {
  MEGAPIXEL_MNIST_DEFAULTS,
  megapixelMnistDataset,
} from "../data/synthetic/megapixel_mnist.ts";
import { NEEDLE_DEFAULTS, needleDataset } from "../data/synthetic/needle.ts";
import {
  OBJECT_TARGETS,
  OBJECTS_DEFAULTS,
  objectsDataset,
} from "../data/synthetic/objects.ts";
import { folderManifest, folderTable } from "../data/folder_manifest.ts";
import { listed } from "../data/table.ts";
import { exists, writeFileAtomically } from "../files.ts";
import { writeSlide } from "../data/synthetic/slide.ts";
import { SLIDE_DEFAULTS } from "../data/synthetic/slide_plan.ts";
import {
  type SyntheticDataset,
  writeDataset,
} from "../data/synthetic/writer.ts";
import { UsageError } from "../errors.ts";
import { blockCompression, COMPRESSION_FLAGS } from "./shared/compression.ts";
import {
  defaulting,
  type Flag,
  integer,
  number,
  oneOf,
  outputFile,
  parseFlags,
  required,
  text,
  toggle,
  type Usage,
} from "./shared/flags.ts";
import { interruptSignal, ProgressLine } from "./shared/terminal.ts";

export const summary =
  "Draw a synthetic data set or a slide, or list a folder of images";

const MAX_IMAGES = 1_000_000;
const MAX_SIZE = 16_384; // px: 805 MB of RGB, drawn in memory
const NEEDLE = NEEDLE_DEFAULTS, MNIST = MEGAPIXEL_MNIST_DEFAULTS;
const OBJECTS = OBJECTS_DEFAULTS;
const SLIDE = SLIDE_DEFAULTS;

/** An integer flag whose usage names its default. */
function count(
  hint: string,
  about: string,
  { min, max, value }: { min: number; max: number; value: number },
): Flag<number> {
  const text = `${about} (${value})`.trimStart();
  return defaulting(integer(hint, text, { min, max }), value);
}

function seed(value: number): Flag<number> {
  return defaulting(
    integer("N", `seed of everything drawn (${value})`),
    value,
  );
}

const images = { min: 0, max: MAX_IMAGES };
const pixels = { min: 1, max: MAX_SIZE };
const few = { min: 1, max: 1000 };
const diameter = { min: 6, max: 1000 };
const json = toggle("print the result as one JSON line");
const out = required(
  text("DIR", "folder to write; must not hold files", { paths: "folders" }),
);

const NEEDLE_FLAGS = {
  out,
  images: count("N", "training images", {
    ...images,
    min: 2,
    value: NEEDLE.images,
  }),
  test: count("N", "test images", { ...images, value: NEEDLE.test }),
  size: count("PX", "width and height", { ...pixels, value: NEEDLE.size }),
  clusters: count("N", "clusters an image, or one less, but at least two", {
    ...few,
    min: 2,
    value: NEEDLE.clusters,
  }),
  objects: count("N", "objects a cluster, one more or less", {
    ...few,
    value: NEEDLE.objects,
  }),
  diameter: count("PX", "of the largest object", {
    ...diameter,
    value: NEEDLE.diameter,
  }),
  seed: seed(NEEDLE.seed),
  json,
};

const OBJECTS_FLAGS = {
  out,
  target: defaulting(
    oneOf(
      OBJECT_TARGETS,
      "NAME",
      `what labels say: ${OBJECT_TARGETS.join(", ")} (${OBJECTS.target})`,
    ),
    OBJECTS.target,
  ),
  images: count("N", "training images", {
    ...images,
    min: 4,
    value: OBJECTS.images,
  }),
  validation: count("N", "validation images", {
    ...images,
    value: OBJECTS.validation,
  }),
  test: count("N", "test images", { ...images, value: OBJECTS.test }),
  size: count("PX", "width and height", { ...pixels, value: OBJECTS.size }),
  objects: count("N", "objects a cluster, one more or less", {
    ...few,
    value: OBJECTS.objects,
  }),
  diameter: count("PX", "of the largest object", {
    ...diameter,
    value: OBJECTS.diameter,
  }),
  seed: seed(OBJECTS.seed),
  json,
};

const MNIST_FLAGS = {
  out,
  mnist: required(
    text("DIR", "the four IDX files, gzipped or not", { paths: "folders" }),
  ),
  train: count("N", "training images", {
    ...images,
    min: 1,
    value: MNIST.train,
  }),
  test: count("N", "test images", { ...images, value: MNIST.test }),
  width: count("PX", "width of an image", { ...pixels, value: MNIST.width }),
  height: count("PX", "height of an image", { ...pixels, value: MNIST.height }),
  seed: seed(MNIST.seed),
  json,
};

const SLIDE_FLAGS = {
  out: required(
    text("FILE", "TIFF to write; replaces an existing one", { paths: "files" }),
  ),
  gigapixels: required(
    number("G", "size at full resolution, 10^9 px", { min: 0.001, max: 64 }),
  ),
  positive: toggle("make the objects of one cluster needles"),
  clusters: count("N", "clusters of objects", {
    ...few,
    value: SLIDE.clusters,
  }),
  objects: count("N", "objects a cluster, one more or less", {
    ...few,
    value: SLIDE.objects,
  }),
  diameter: count("PX", "of the largest object", {
    ...diameter,
    value: SLIDE.diameter,
  }),
  distinct: toggle(
    "store every block separately, as scanners do, in place of sharing repeated ones",
  ),
  ...COMPRESSION_FLAGS,
  seed: seed(SLIDE.seed),
  json,
};

const MANIFEST_FLAGS = {
  out: outputFile("FILE", "CSV to write (FOLDER/manifest.csv)"),
  json,
};

export const usage: Usage = {
  synopsis: [
    "deno task dataset needle --out DIR",
    "deno task dataset megapixel-mnist --out DIR --mnist DIR",
    "deno task dataset slide --gigapixels G --out FILE",
    "deno task dataset objects --out DIR --target NAME",
    "deno task dataset manifest FOLDER",
  ],
  groups: [
    {
      title: "needle: clusters of tiny objects, of which one may be of needles",
      flags: NEEDLE_FLAGS,
    },
    {
      title:
        "megapixel-mnist: five digits, three alike, among scribbles (Katharopoulos & Fleuret 2019)",
      flags: MNIST_FLAGS,
    },
    {
      title:
        "slide: tissue on glass with clusters as in needle, a pyramid in one TIFF; its manifest and regions are written beside it",
      flags: SLIDE_FLAGS,
    },
    {
      title:
        "objects: clusters of tiny objects of three kinds, for targets other than classes: which kinds, how many, a grade, or a time to an event",
      flags: OBJECTS_FLAGS,
    },
    {
      title:
        "manifest: the images of FOLDER, whose class is the folder that they are in; folders of train, validation and test images make a split",
      flags: MANIFEST_FLAGS,
    },
  ],
  operands: {
    words: ["needle", "megapixel-mnist", "slide", "objects", "manifest"],
  },
};

/** Progress and cancellation of a drawing. */
interface Watch {
  signal: AbortSignal;
  line: ProgressLine;
}

/** Summary of a drawn set, for programs and for people. */
interface Drawn {
  json: boolean;
  result: Record<string, unknown>;
  summary: string;
}

type Draw = (argv: readonly string[], watch: Watch) => Promise<Drawn>;

const KINDS: Record<string, Draw> = {
  needle: drawNeedles,
  "megapixel-mnist": drawMegapixelMnist,
  slide: drawSlide,
  objects: drawObjects,
  manifest: listFolder,
};

/**
 * Draws and writes the set that `argv` names; Ctrl-C leaves no partial file.
 *
 * @throws {UsageError} If a flag is wrong, or the folder holds files.
 */
export async function run(argv: string[]): Promise<number> {
  const [kind = "", ...args] = argv;
  const draw = Object.hasOwn(KINDS, kind) && KINDS[kind];
  if (!draw) {
    const kinds = Object.keys(KINDS).join(" or ");
    throw new UsageError(
      `There is no data set "${kind}": the first argument must be ${kinds}`,
    );
  }
  const started = performance.now();
  const line = new ProgressLine();
  const drawn = await draw(args, { signal: interruptSignal(), line })
    .finally(() => line.clear());
  const seconds = Math.round(performance.now() - started) / 1000;
  console.log(
    drawn.json
      ? JSON.stringify({ ...drawn.result, seconds })
      : `${drawn.summary}, in ${seconds} s`,
  );
  return 0;
}

async function drawNeedles(
  argv: readonly string[],
  watch: Watch,
): Promise<Drawn> {
  const { out, json, ...settings } = parseFlags(argv, NEEDLE_FLAGS).values;
  return await drawSet({ out, json }, needleDataset(settings), watch);
}

async function drawObjects(
  argv: readonly string[],
  watch: Watch,
): Promise<Drawn> {
  const { out, json, ...settings } = parseFlags(argv, OBJECTS_FLAGS).values;
  return await drawSet({ out, json }, objectsDataset(settings), watch);
}

async function drawMegapixelMnist(
  argv: readonly string[],
  watch: Watch,
): Promise<Drawn> {
  const { out, json, mnist, ...settings } =
    parseFlags(argv, MNIST_FLAGS).values;
  const dataset = await megapixelMnistDataset(mnist, settings);
  return await drawSet({ out, json }, dataset, watch);
}

async function drawSet(
  { out, json }: { out: string; json: boolean },
  dataset: SyntheticDataset,
  { signal, line }: Watch,
): Promise<Drawn> {
  const written = await writeDataset(out, dataset, {
    signal,
    onProgress: (done, total) => line.count(done, total, "images"),
  });
  const { train = 0, test = 0 } = dataset.counts;
  return {
    json,
    result: { out, images: train + test, train, test, ...written },
    summary: `${out}: ${train} images to train on and ${test} to test`,
  };
}

async function drawSlide(
  argv: readonly string[],
  { signal, line }: Watch,
): Promise<Drawn> {
  const { values } = parseFlags(argv, SLIDE_FLAGS);
  const { out, json, distinct, compression, quality, ...slide } = values;
  const written = await writeSlide(out, slide, {
    file: {
      compression: blockCompression({ compression, quality }),
      distinct,
    },
    signal,
    onProgress: (share) => line.count(Math.round(share * 100), 100, "%"),
  });
  const { width, height, levels, bytes, objects } = written;
  return {
    json,
    result: { ...written },
    summary:
      `${out}: ${width} x ${height} px in ${levels} levels, ${bytes} bytes, ${objects} objects`,
  };
}

async function listFolder(argv: readonly string[]): Promise<Drawn> {
  const { values: { out: file, json }, positionals } = parseFlags(
    argv,
    MANIFEST_FLAGS,
    { positionals: true },
  );
  const [folder, ...others] = positionals;
  if (folder === undefined || others.length > 0) {
    throw new UsageError("Name one folder: deno task dataset manifest FOLDER");
  }
  const out = file ?? join(folder, "manifest.csv");
  if (file === undefined && await exists(out)) {
    throw new UsageError(`${out} is there already: give another --out`);
  }
  const images = await folderManifest(folder);
  await writeFileAtomically(out, folderTable(images, dirname(out)));
  const classes = Object.fromEntries(
    [...Map.groupBy(images, ({ label }) => label)]
      .map(([label, images]) => [label, images.length]),
  );
  const counts = Object.entries(classes).map(([label, n]) => `${label} ${n}`);
  return {
    json,
    result: { out, images: images.length, classes },
    summary: `${out}: ${images.length} images (${listed(counts)})`,
  };
}
