/**
 * Flags that several commands share.
 *
 * @module
 */
import { BACKENDS } from "../../engine/select.ts";
import {
  GROUP_POOLINGS,
  type GroupPooling,
} from "../../eval/groups/pooling.ts";
import {
  fileForeground,
  type ForegroundChoice,
} from "../../image/foreground/tissue.ts";
import {
  DEFAULT_MEMORY_BYTES,
  Memory,
  MIN_MEMORY_BYTES,
} from "../../memory.ts";
import { MAX_SAMPLES } from "../../model/config.ts";
import {
  defaulting,
  type Flag,
  integer,
  oneOf,
  parsing,
  text,
  texts,
} from "./flags.ts";

const MAX_WORKERS = 64;

const UNITS: Record<string, number> = {
  MB: 1e6,
  GB: 1e9,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
};

/** `--checkpoint`, always required. */
export const CHECKPOINT: Flag<string | undefined> = text(
  "RUN",
  "folder of a run (its best checkpoint), a checkpoint, or the folder of a cross-validation: the mean of its folds' models",
  { paths: "files" },
);

const ENCODER_ABOUT =
  "ONNX file of the network that the checkpoint was trained on, if it is no longer where it was (the SHA-256 must be the same)";

/** `--encoder` of commands with one checkpoint. */
export const ENCODER: Flag<string | undefined> = text(
  "FILE.onnx",
  ENCODER_ABOUT,
  { paths: "files" },
);

/** `--encoder` of commands with several. */
export const ENCODERS: Flag<readonly string[]> = texts(
  "FILE.onnx",
  ENCODER_ABOUT,
  {
    paths: "files",
  },
);

/** `--backend`, `--samples`, `--draws` and `--foreground`. */
export const COMMON_FLAGS = {
  backend: defaulting(
    oneOf(BACKENDS, "NAME", "auto, webgpu or wasm (auto)"),
    "auto",
  ),
  samples: integer("N", "sub-tiles to read (the configuration's)", {
    min: 1,
    max: MAX_SAMPLES,
  }),
  draws: oneOf(
    ["seeded", "topN"] as const,
    "NAME",
    "seeded or topN (the configuration's)",
  ),
  foreground: text(
    "WHAT",
    "area to examine: none (everywhere), tissue, or a file: a mask image, white in the area, or GeoJSON polygons (view.foreground of the configuration)",
    { words: ["none", "tissue"], paths: "files" },
  ),
};

/** `--by-group`. */
export const BY_GROUP: Flag<GroupPooling | undefined> = oneOf(
  GROUP_POOLINGS,
  "HOW",
  "predict groups of images, such as patients: mean or max of their images' probabilities, or evidence of all their sub-tiles as if of one image",
);

/** `--workers`; `about` describes them and their default number. */
export function workers(about: string): Flag<number | undefined> {
  return integer("N", about, { min: 1, max: MAX_WORKERS });
}

/** `--memory`: a bound on tensors and caches. */
export function memory(about: string): Flag<Memory | undefined> {
  const least = `${MIN_MEMORY_BYTES / 1e6}MB`;
  return parsing(
    "SIZE",
    about,
    `${least} or more, such as 512MB or 2GB`,
    (text) => {
      const [, number, unit] = /^(\d+(?:\.\d+)?) ?([MG]i?B)$/.exec(text) ?? [];
      const bytes = unit === undefined ? NaN : Number(number) * UNITS[unit]!;
      return bytes >= MIN_MEMORY_BYTES ? new Memory(bytes) : undefined;
    },
  );
}

/** `--memory` of commands whose workers share the bound. */
export const SHARED_MEMORY = memory(
  `bound on tensors and caches of all workers, plus about 200 MB for the program itself (${
    DEFAULT_MEMORY_BYTES / 1e6
  }MB a worker)`,
);

/** Parses the text of `--foreground`. */
export async function parseForeground(
  text: string | undefined,
): Promise<ForegroundChoice | undefined> {
  switch (text) {
    case undefined:
      return undefined;
    case "none":
    case "tissue":
      return { kind: text };
    default:
      return await fileForeground(text);
  }
}
