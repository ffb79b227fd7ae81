/**
 * `deno task check`: what a table of images holds, before anything is trained on
 * it.
 *
 * @module
 */
import { doubtfulLabels } from "../data/labels.ts";
import { checkLeaks, sameImages } from "../data/leaks.ts";
import type { Manifest, ManifestEntry } from "../data/manifest.ts";
import { BACKENDS, startEngine } from "../engine/select.ts";
import { labelReader } from "../data/goals.ts";
import { TARGETS } from "../target.ts";
import { DataError, UsageError } from "../errors.ts";
import { preset, presetNames } from "../model/presets.ts";
import { trainingTrial, type Trial } from "../train/trial.ts";
import { checkImages } from "./checked_images.ts";
import { type CheckReport, checkText } from "./check_text.ts";
import {
  defaulting,
  oneOf,
  parseFlags,
  parsing,
  toggle,
  type Usage,
} from "./shared/flags.ts";
import { readImages, TABLE_FLAGS } from "./shared/tables.ts";
import { interruptSignal, ProgressLine } from "./shared/terminal.ts";
import {
  looksOf,
  objectPixels,
  type ObjectSize,
  suggestedPreset,
} from "./suggested_preset.ts";
import { summaryOf } from "./images_summary.ts";

export const summary = "Check a table of images before training on it";

const FLAGS = {
  ...TABLE_FLAGS,
  preset: oneOf(
    presetNames,
    "NAME",
    "preset to train with (that whose images are most like these)",
  ),
  object: parsing(
    "SIZE",
    "size of the objects that decide, such as 30px or 8um",
    "a size such as 30px or 8um",
    parseSize,
  ),
  target: defaulting(
    oneOf(TARGETS, "NAME", `what labels say: ${TARGETS.join(", ")} (classes)`),
    "classes",
  ),
  read: toggle("read some blocks of every level, and the share of tissue"),
  backend: defaulting(
    oneOf(
      BACKENDS,
      "NAME",
      "auto, webgpu or wasm, to estimate the time (auto)",
    ),
    "auto",
  ),
  json: toggle("print one JSON document"),
};

export const usage: Usage = {
  synopsis: ["deno task check MANIFEST"],
  about:
    "Opens every image of a table, and takes a few steps of a training to estimate its time.",
  groups: [{ flags: FLAGS }],
  operands: { paths: "files" },
  notes:
    "Exit code 1 if images cannot be read, labels are doubtful, or sides of the split share a patient or an image.",
};

/**
 * Prints the report.
 *
 * @throws {UsageError} If a flag is wrong.
 * @throws {DataError} If the table has faults.
 */
export async function run(argv: string[]): Promise<number> {
  const { values: flags, positionals } = parseFlags(argv, FLAGS, {
    positionals: true,
  });
  const [data, ...others] = positionals;
  if (data === undefined || others.length > 0) {
    throw new UsageError("Name one table: deno task check MANIFEST");
  }
  const signal = interruptSignal();
  const manifest = await readImages(data, flags, {
    target: flags.target,
    missing: "kept",
  });
  const report = await reportOf(manifest, { ...flags, signal });
  console.log(flags.json ? JSON.stringify(report, null, 2) : checkText(report));
  return report.faults.length + report.unreadable.length > 0 ? 1 : 0;
}

async function reportOf(
  manifest: Manifest,
  { read, object, preset: chosen, backend, signal }: {
    read: boolean;
    object: ObjectSize | undefined;
    preset: string | undefined;
    backend: (typeof BACKENDS)[number];
    signal: AbortSignal;
  },
): Promise<CheckReport> {
  const { entries, classes, target, path } = manifest;
  const { namesIn } = labelReader(target);
  const line = new ProgressLine();
  const { images, unreadable } = await checkImages(entries, {
    read,
    onChecked: (done) => line.count(done, entries.length, "images"),
    signal,
  }).finally(() => line.clear());
  const summary = summaryOf(images);
  const pixels = object && objectPixels(object, summary);
  const name = chosen ?? suggestedPreset(summary, pixels);
  const bad = new Set(unreadable.map(({ line }) => line));
  const readable = entries.filter(({ line }) => !bad.has(line));
  return {
    data: path,
    images: entries.length,
    groups: new Set(entries.map(({ group, path }) => group ?? path)).size,
    labels: Object.fromEntries(
      classes.map((label) => [
        label,
        entries.filter((entry) => namesIn(entry.label).includes(label)).length,
      ]).filter(([, count]) => count !== 0), // of a number there are none
    ),
    summary,
    duplicates: (await sameImages(readable))
      .map((same) => same.map(({ image }) => image)),
    preset: name,
    object: pixels !== undefined && name !== null
      ? looksOf(pixels, name)
      : null,
    estimate: name === null || target !== "classes"
      ? null // presets are of classes
      : await estimateOf(readable, { name, classes, backend, signal }),
    faults: [...doubtfulLabels(entries, target), ...await leaksIn(readable)],
    unreadable,
  };
}

/** The time of a training, if there is enough to take three steps. */
async function estimateOf(
  readable: readonly ManifestEntry[],
  { name, classes, backend, signal }: {
    name: string;
    classes: readonly string[];
    backend: (typeof BACKENDS)[number];
    signal: AbortSignal;
  },
): Promise<Trial | null> {
  const config = preset(name);
  if (readable.length <= config.training.batchSize || classes.length < 2) {
    return null;
  }
  const learned = readable.filter(({ split }) =>
    (split ?? "train") === "train"
  );
  const train = learned.length > config.training.batchSize ? learned : readable;
  const line = new ProgressLine();
  line.show(`three steps of a training with the preset ${name}`);
  try {
    const engine = await startEngine(backend);
    return await trainingTrial(engine, train, { config, classes, signal });
  } finally {
    line.clear();
  }
}

async function leaksIn(entries: readonly ManifestEntry[]): Promise<string[]> {
  try {
    await checkLeaks(entries);
    return [];
  } catch (error) {
    if (!(error instanceof DataError)) throw error;
    return error.message.split("\n").slice(1); // after what it is about
  }
}

function parseSize(text: string): ObjectSize | undefined {
  const [, number, unit] = /^(\d+(?:\.\d+)?) ?(px|um)$/.exec(text) ?? [];
  const value = Number(number);
  return value > 0 ? { value, unit: unit as ObjectSize["unit"] } : undefined;
}
