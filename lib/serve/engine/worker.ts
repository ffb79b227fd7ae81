/**
 * The engine in its own Worker, so that it never blocks the HTTP loop. See
 * client.ts.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { type Engine, startEngine } from "../../engine/select.ts";
import { hardwareAdapter } from "../../engine/webgpu.ts";
import { selfTest } from "../../engine/self_test.ts";
import {
  ChangedCheckpointError,
  CheckpointError,
  EngineError,
  ImageError,
} from "../../errors.ts";
import {
  type ClassifiedImage,
  classifyOpened,
  type OpenedImage,
  openForModel,
} from "../../eval/classify.ts";
import { DecodingRoom } from "../../image/decoding_room.ts";
import { blocksOfWhole } from "../../image/views.ts";
import { BlockCache } from "../../image/pyramids/block_cache.ts";
import { Memory } from "../../memory.ts";
import { readCheckpoint } from "../../model/checkpoint.ts";
import type { Model } from "../../model/model.ts";
import { disposeModel } from "../../model/frozen.ts";
import { Batcher } from "./batcher.ts";
import {
  AHEAD,
  BATCH_SIZES,
  type ClassifyTask,
  type EngineEvent,
  type EngineMethods,
  type EngineSetup,
} from "./protocol.ts";
import { type GuardedFetch, guardedFetch } from "../intake/guarded_fetch.ts";
import { answerCalls } from "../../workers/calls.ts";
import { idleCollector } from "../idle_collector.ts";

// Interval of checking an idle device, ms.
const LOOK_EVERY_MS = 250;

/** An open image and its task. */
interface OpenTask {
  task: ClassifyTask;
  image: OpenedImage;
}

let engine: Engine;
let fetchImage: GuardedFetch;
let encoderFiles: readonly string[];
const models = new Map<string, Model>(); // by SHA-256
let memory: Memory;
let cache: BlockCache;
let room: DecodingRoom;
let running: Promise<unknown> = Promise.resolve(); // the current batch
const workEnded = idleCollector();

const batcher = new Batcher<ClassifyTask, OpenTask, ClassifiedImage>({
  keyOf: ({ model, samples, draws, seed, heatmap, maps }) =>
    JSON.stringify([model, samples, draws, seed, heatmap, maps]),
  urgent: ({ urgent }) => urgent,
  size: () => BATCH_SIZES[engine.backend],
  ahead: () => AHEAD[engine.backend],
  prepare: open,
  release: ({ image }) => image.file.close(),
  run(batch, signal) {
    const answers = engine.whileAlive(() => classifyBatch(batch, signal));
    running = answers.catch(() => {}) // the batcher handles the error
      .finally(workEnded);
    return answers;
  },
});

/** The engine of that name; `auto` is the faster one where there is a GPU. */
async function startChosen(
  { backend, trial }: Pick<EngineSetup, "backend" | "trial">,
): Promise<Engine> {
  const adapter = backend === "auto" ? await hardwareAdapter() : undefined;
  if (!adapter) return await startEngine(backend);
  const { startFasterServing } = await import("./choice.ts"); // with the trainer
  return await startFasterServing(trial, adapter);
}

const send = answerCalls<EngineMethods, EngineEvent>({
  async start({ allowedHosts, memoryBytes, ...setup }) {
    const { room: counters, worker } = setup;
    encoderFiles = setup.encoderFiles;
    room = new DecodingRoom({ counters, worker, bytes: memoryBytes });
    memory = new Memory(memoryBytes);
    cache = new BlockCache(memory.blockCacheBytes);
    fetchImage = guardedFetch(allowedHosts);
    engine = await startChosen(setup);
    const tested = await engine.whileAlive(selfTest);
    const failed = tested.filter(({ passed }) => !passed);
    if (failed.length > 0) {
      const names = failed.map(({ kernel }) => kernel).join(", ");
      throw new EngineError(
        `The engine ${engine.reason} failed its self-test: wrong results of ${names}; run "deno task doctor"`,
      );
    }
    setInterval(tellFailure, LOOK_EVERY_MS);
    return { backend: engine.backend, reason: engine.reason };
  },
  async load({ path, sha256 }) {
    if (models.has(sha256)) return;
    const checkpoint = await readCheckpoint(path, { encoderFiles });
    if (checkpoint.sha256 !== sha256) {
      await disposeModel(checkpoint.model);
      throw new ChangedCheckpointError(
        `Cannot load ${path}: the file changed after it was listed; try again`,
      );
    }
    models.set(sha256, checkpoint.model);
  },
  async unload({ sha256 }) {
    const model = models.get(sha256);
    models.delete(sha256);
    await running; // the batch may use the model
    if (model) await disposeModel(model);
  },
  classify: (task, signal) => batcher.submit(task, signal),
  usage() {
    // Including the buffers that are kept for the next image.
    const { numBytesAllocatedInGPU = 0 } = tf.memory() as {
      numBytesAllocatedInGPU?: number;
    };
    return { gpuBytes: numBytesAllocatedInGPU };
  },
});

function tellFailure(): void {
  if (engine.failure) send({ failure: engine.failure.message });
}

async function open(
  task: ClassifyTask,
  signal: AbortSignal,
): Promise<OpenTask> {
  const { path, alone, maxPixels, mpp } = task;
  const model = modelOf(task);
  try {
    const image = await openForModel(path, model, {
      alone,
      maxPixels,
      heldPixels: memory.heldPixels,
      mpp,
      cache,
      room,
      fetch: fetchImage,
      signal,
    });
    try {
      assertFewBlocks(image, model, task);
    } catch (error) {
      image.file.close();
      throw error;
    }
    return { task, image };
  } catch (error) {
    throw named(error, task);
  }
}

/** @throws {ImageError} If its whole view is read from too many blocks. */
function assertFewBlocks(
  { seen }: OpenedImage,
  { config }: Model,
  { path, maxBlocks, urgent }: ClassifyTask,
): void {
  const blocks = blocksOfWhole(seen, config.view.scale1) ?? 0;
  if (blocks <= maxBlocks) return;
  const remedy = urgent
    ? 'ask for a job with "Prefer: respond-async", or store smaller levels in it'
    : "store smaller levels in it";
  throw new ImageError(
    `Cannot classify ${path}: its overview is read from ${blocks} blocks, and at most ${maxBlocks} are allowed; ${remedy} (deno task pyramid)`,
  );
}

function modelOf({ model: sha256 }: ClassifyTask): Model {
  const model = models.get(sha256);
  if (model) return model;
  throw new CheckpointError("The model was unloaded: load it again");
}

/** The error with the caller's name for the image in place of its path. */
function named(error: unknown, { path, name }: ClassifyTask): unknown {
  if (error instanceof ImageError) {
    // A function, because "$&" in a replacement text would stand for the path.
    error.message = error.message.replaceAll(path, () => name);
  }
  return error;
}

/** Classifies images that share a model and sampling options. */
async function classifyBatch(
  batch: OpenTask[],
  signal: AbortSignal,
): Promise<ClassifiedImage[]> {
  const { samples, draws, seed, heatmap, maps } = batch[0]!.task;
  const model = modelOf(batch[0]!.task);
  try {
    const answers = await classifyOpened(
      model,
      batch.map(({ image }) => image),
      {
        samples,
        draws,
        seed,
        heatmap: heatmap ? "over image" : undefined,
        maps: maps ? "stages" : undefined,
        memory,
        signal,
      },
    );
    return answers;
  } catch (error) {
    throw batch.length === 1 ? named(error, batch[0]!.task) : error;
  }
}
