/**
 * The engine that `auto` means for a server on a machine with a GPU: the one that
 * classifies faster by the first of its models.
 *
 * @module
 */
import { join } from "node:path";
import { type Engine, startEngine } from "../../engine/select.ts";
import type { AdapterDescription } from "../../engine/webgpu.ts";
import { CheckpointError } from "../../errors.ts";
import {
  type CheckpointInfo,
  readCheckpointInfo,
} from "../../model/checkpoint.ts";
import { isFrozen } from "../../model/config.ts";
import { startFaster, timedClassifying } from "../../train/engine_choice.ts";
import type { EngineTrial } from "./protocol.ts";

/** Starts it; without a model that can be timed that of {@linkcode startEngine}. */
export async function startFasterServing(
  { models, file, workers }: EngineTrial,
  adapter: AdapterDescription,
): Promise<Engine> {
  const model = await firstModel(models);
  if (!model || isFrozen(model.config.network.features)) {
    return await startEngine("auto");
  }
  const { config, classes } = model;
  const { signal } = new AbortController();
  const work = timedClassifying({ config, classes, workers, signal });
  return await startFaster(work, { adapter, file });
}

/** The first checkpoint of a folder, by name, that can be read. */
async function firstModel(folder: string): Promise<CheckpointInfo | undefined> {
  const names = await Array.fromAsync(Deno.readDir(folder), ({ name }) => name);
  for (const name of names.filter((name) => !name.startsWith(".")).sort()) {
    try {
      return await readCheckpointInfo(join(folder, name));
    } catch (error) {
      if (!(error instanceof CheckpointError)) throw error;
    }
  }
}
