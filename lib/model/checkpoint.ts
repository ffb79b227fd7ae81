/**
 * A checkpoint: one safetensors file with the weights, the optimizer's state
 * and, in its metadata, everything else that belongs to a model.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { z } from "zod";
import { CheckpointError, ConfigError, oneLine } from "../errors.ts";
import { spelled, writeFileAtomically } from "../files.ts";
import { type Calibration, calibrationSchema } from "./calibration.ts";
import {
  type Config,
  issueText,
  parseConfig,
  withoutRemoved,
} from "./config.ts";
import { modelSpecs } from "./networks.ts";
import {
  openCloseUp,
  openFrozen,
  openOverview,
  withEncoderFile,
} from "./frozen.ts";
import { createParameters, disposeParameters } from "./parameters.ts";
import {
  decodeSafeTensors,
  decodeSafeTensorsHeader,
  encodeSafeTensors,
  headerLength,
  LENGTH_BYTES,
  type StoredTensor,
  type TensorPlace,
} from "./safetensors.ts";
import type { Model } from "./model.ts";
import { type TargetFit, targetFitSchema } from "./targets/fit.ts";
import { leastNames } from "./targets/targets.ts";

/** File names of a run's two checkpoints. */
export const BEST = "best.safetensors";
export const LAST = "last.safetensors";

const triple = z.tuple([z.number(), z.number(), z.number()]);
const deviations = z.tuple([positive(), positive(), positive()]);

function positive(): z.ZodNumber {
  return z.number().positive();
}

const metadataSchema = z.strictObject({
  format: z.literal("zoomin-1"),
  config: z.unknown(),
  classes: z.array(z.string()).min(1).refine(
    (classes) => new Set(classes).size === classes.length,
    "two classes have one name",
  ),
  normalisation: z.strictObject({ mean: triple, deviation: deviations })
    .nullable(),
  calibration: calibrationSchema.nullable().default(null), // older ones have none
  fitted: targetFitSchema.optional(), // of targets other than classes
  epoch: z.number().int().min(0),
  seed: z.number().int(),
  metrics: z.record(z.string(), z.number().nullable()),
  annotated: z.strictObject({
    images: z.number().int().min(1),
    objects: z.number().int().min(1),
  }).nullable().default(null),
  trainer: z.unknown(),
});

/** Annotated objects that a model was trained on, beside its labels. */
export interface AnnotatedCount {
  /** Images with objects. */
  images: number;
  /** Objects in all of them. */
  objects: number;
}

/** A model and the state of its training. */
export interface Checkpoint {
  /** The model; its parameters belong to the caller. */
  model: Model;
  /** Epochs done. */
  epoch: number;
  /** Seed of the run: with the epoch, the whole random state. */
  seed: number;
  /** Figures of the last epoch by name, as logged; null if undefined. */
  metrics: Record<string, number | null>;
  /** Annotated objects that it was trained on; null for labels alone. */
  annotated: AnnotatedCount | null;
  /** The trainer's state beside its tensors, from which it continues. */
  trainer: unknown;
  /** The trainer's tensors, such as the optimizer's moments. */
  trainerTensors: Map<string, StoredTensor>;
  /** SHA-256 of the file, in hexadecimal. */
  sha256: string;
}

/** A checkpoint without its weights, which needs no engine. */
export interface CheckpointInfo
  extends Omit<Checkpoint, "model" | "trainer" | "trainerTensors"> {
  /** The file itself. */
  path: string;
  config: Config;
  classes: readonly string[];
  /** Of its probabilities; null if it is not calibrated. */
  calibration: Calibration | null;
  /** What its target has learned beside the weights. */
  fitted?: TargetFit | undefined;
  /** Weights of the four networks together. */
  parameterCount: number;
}

/** A model by name, version and the SHA-256 of its file. */
export interface ModelReference {
  name: string;
  version: string;
  sha256: string;
}

// Digits of the hash: enough that no two models of a folder share a version.
const VERSION_LENGTH = 12;

/** The reference of the checkpoint or run at `path`, named as its entry. */
export function modelReference(path: string, sha256: string): ModelReference {
  const name = basename(path, ".safetensors");
  return { name, version: sha256.slice(0, VERSION_LENGTH), sha256 };
}

// A model is megabytes; a last checkpoint holds the optimizer's state, too.
const MAX_BYTES = 2 ** 31;

const HASHED_BYTES = 2 ** 20; // read at a time

const TRAINER_PREFIX = "trainer/";

/** Writes a checkpoint, whole or not at all. */
export async function writeCheckpoint(
  path: string,
  { model, trainerTensors, epoch, seed, metrics, trainer, annotated = null }:
    & Omit<Checkpoint, "sha256" | "annotated">
    & Partial<Pick<Checkpoint, "annotated">>,
): Promise<void> {
  const tensors = new Map<string, StoredTensor>();
  for (const [name, variable] of model.parameters) {
    tensors.set(name, {
      shape: variable.shape,
      data: await variable.data() as Float32Array,
    });
  }
  for (const [name, tensor] of trainerTensors) {
    tensors.set(TRAINER_PREFIX + name, tensor);
  }
  const { config, classes, normalisation, calibration, fitted } = model;
  const metadata = {
    format: "zoomin-1",
    config,
    classes,
    normalisation,
    calibration,
    ...(fitted && { fitted }),
    epoch,
    seed,
    metrics,
    ...(annotated && { annotated }),
    trainer,
  };
  await writeFileAtomically(
    path,
    encodeSafeTensors({
      tensors,
      metadata: { zoomin: JSON.stringify(metadata) },
    }),
  );
}

/** Options of {@linkcode readCheckpoint}. */
export interface ReadCheckpointOptions {
  /**
   * Files of encoders, if they are no longer where they were in training: the
   * one with the checkpoint's SHA-256 is taken.
   */
  encoderFiles?: readonly string[] | undefined;
}

/**
 * Reads a checkpoint onto the current engine: start one before, with
 * {@linkcode startEngine}. The model's variables belong to the caller.
 *
 * @param path a checkpoint, or the folder of a run: its best, else its last.
 * @throws {CheckpointError} If there is none, or it is not ours, or damaged.
 * @throws {EncoderError} If the file of its encoder cannot be used.
 *
 * @example
 * ```ts
 * import { readCheckpoint, startEngine } from "@zoomin/zoomin";
 *
 * await startEngine("auto");
 * const { model, epoch, metrics } = await readCheckpoint("run");
 * console.log(model.classes, `after ${epoch} epochs`, metrics);
 * ```
 */
export async function readCheckpoint(
  path: string,
  { encoderFiles = [] }: ReadCheckpointOptions = {},
): Promise<Checkpoint> {
  const checkpoint = await decodeFile(await checkpointFile(path), (bytes) => {
    const { specs, tensors, config, classes, ...decoded } = decodeCheckpoint(
      bytes,
    );
    const { normalisation, calibration, fitted, ...rest } = decoded;
    const parameters = createParameters(
      specs,
      ({ name }) => tensors.get(name)!.data,
    );
    const trainerTensors = new Map(
      [...tensors]
        .filter(([name]) => name.startsWith(TRAINER_PREFIX))
        .map(([name, tensor]) => [name.slice(TRAINER_PREFIX.length), tensor]),
    );
    const model = {
      config,
      classes,
      normalisation,
      calibration,
      fitted,
      parameters,
    };
    return { model, ...rest, trainerTensors };
  });
  const { model } = checkpoint;
  try {
    const network = await withEncoderFile(model.config.network, encoderFiles);
    const encoder = await openFrozen(network, model.parameters);
    const overview = await openOverview(network);
    const closeUp = await openCloseUp(network);
    return { ...checkpoint, model: { ...model, encoder, overview, closeUp } };
  } catch (error) {
    disposeParameters(model.parameters);
    throw error;
  }
}

/**
 * Reads the metadata of a checkpoint; no engine is needed.
 *
 * @param path as {@linkcode readCheckpoint}.
 * @throws {CheckpointError} As {@linkcode readCheckpoint}.
 */
export async function readCheckpointInfo(
  path: string,
): Promise<CheckpointInfo> {
  const file = await checkpointFile(path);
  const found = await stat(file).catch(() => undefined); // gone: told below
  if (found && !found.isFile()) { // reading a pipe might never end
    throw new CheckpointError(
      `Cannot use ${file} as a checkpoint: it is no regular file; give a .safetensors file or the folder of a run`,
    );
  }
  return await withNamedFaults(file, async () => {
    const { specs, path, ...info } = await readHead(file);
    const { config, classes, calibration, fitted, epoch, seed, ...rest } = info;
    const { metrics, annotated } = rest;
    const parameterCount = specs.reduce(
      (sum, { shape }) => sum + shape.reduce((size, n) => size * n, 1),
      0,
    );
    return {
      path,
      config,
      classes,
      calibration,
      ...(fitted && { fitted }),
      parameterCount,
      epoch,
      seed,
      metrics,
      annotated,
      sha256: await sha256Of(file),
    };
  });
}

/** Reads and checks what comes before the weights: they may be gigabytes. */
async function readHead(path: string) {
  using file = await Deno.open(path);
  const { size } = await file.stat();
  const head = await readAt(file, 0, LENGTH_BYTES);
  const rest = await readAt(
    file,
    LENGTH_BYTES,
    headerLength(head, size) - LENGTH_BYTES,
  );
  const bytes = new Uint8Array(head.length + rest.length);
  bytes.set(head);
  bytes.set(rest, head.length);
  const checked = checkedHeader(decodeSafeTensorsHeader(bytes, size));
  if (size > MAX_BYTES) {
    throw new SyntaxError(
      `it has ${size} bytes, and at most ${MAX_BYTES} are allowed`,
    );
  }
  return { path, ...checked };
}

/** At most `length` bytes of a file from `offset`. */
async function readAt(
  file: Deno.FsFile,
  offset: number,
  length: number,
): Promise<Uint8Array> {
  await file.seek(offset, Deno.SeekMode.Start);
  const bytes = new Uint8Array(Math.max(0, length));
  let at = 0;
  while (at < bytes.length) {
    const count = await file.read(bytes.subarray(at));
    if (count === null) break;
    at += count;
  }
  return bytes.subarray(0, at);
}

async function sha256Of(path: string): Promise<string> {
  using file = await Deno.open(path);
  const hash = createHash("sha256");
  const buffer = new Uint8Array(HASHED_BYTES);
  for (;;) {
    const count = await file.read(buffer);
    if (count === null) return hash.digest("hex");
    hash.update(buffer.subarray(0, count));
  }
}

async function decodeFile<T>(
  file: string,
  decode: (bytes: Uint8Array) => T,
): Promise<T> {
  return await withNamedFaults(
    file,
    async () => decode(await Deno.readFile(file)),
  );
}

/** Runs `work` on a file; a fault of the file names it. */
async function withNamedFaults<T>(
  file: string,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (cause instanceof SyntaxError || cause instanceof ConfigError) {
      throw new CheckpointError(
        `Cannot use ${file} as a checkpoint: ${oneLine(cause.message)}`,
        { cause },
      );
    }
    if (!(cause instanceof Error) || !("code" in cause)) throw cause;
    throw new CheckpointError(`Cannot read ${file}`, { cause });
  }
}

/**
 * The file of the checkpoint at `given`: itself, or that of a run.
 *
 * @throws {CheckpointError} If there is none.
 */
export async function checkpointFile(given: string): Promise<string> {
  const path = await spelled(given);
  const info = await stat(path).catch(() => undefined);
  if (!info) {
    throw new CheckpointError(
      `Cannot find the checkpoint ${path}: it does not exist; give a file or the folder of a run`,
    );
  }
  if (!info.isDirectory()) return path;
  for (const name of [BEST, LAST]) {
    const file = join(path, name);
    if (await stat(file).catch(() => undefined)) return file;
  }
  throw new CheckpointError(
    `Cannot find a checkpoint in ${path}: there is neither ${BEST} nor ${LAST}; give the folder of a run that has trained`,
  );
}

/** The parts of a checkpoint file, checked. */
function decodeCheckpoint(bytes: Uint8Array) {
  const { tensors, metadata } = decodeSafeTensors(bytes);
  const checked = checkedHeader({ places: tensors, metadata });
  for (const { name } of checked.specs) {
    if (!tensors.get(name)!.data.every(Number.isFinite)) {
      throw new SyntaxError(`"${name}" holds values that are no numbers`);
    }
  }
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  return { ...checked, tensors, sha256 };
}

/** What a header says of the model and its training, checked. */
function checkedHeader({ places, metadata }: {
  places: ReadonlyMap<string, Pick<TensorPlace, "shape">>;
  metadata: Record<string, string>;
}) {
  if (metadata.zoomin === undefined) {
    throw new SyntaxError("it was not written by zoomin");
  }
  const parsed = metadataSchema.safeParse(JSON.parse(metadata.zoomin), {
    reportInput: true,
  });
  if (!parsed.success) {
    throw new SyntaxError(parsed.error.issues.map(issueText).join("; "));
  }
  const { config: stored, format: _, ...known } = parsed.data;
  // A setting of training that is gone does not change the model.
  const config = parseConfig(withoutRemoved(stored, true), "its configuration");
  const least = leastNames(config.target);
  if (known.classes.length < least) {
    throw new SyntaxError(
      `classes: it names ${known.classes.length}, and at least ${least} are needed`,
    );
  }
  const specs = modelSpecs(config, known.classes);
  for (const { name, shape } of specs) {
    const found = places.get(name)?.shape;
    if (`${found}` !== `${shape}`) {
      throw new SyntaxError(
        `"${name}" should have the shape [${shape}] but ${
          found ? `has [${found}]` : "is missing"
        }`,
      );
    }
  }
  return { ...known, config, specs };
}
