/**
 * The program of a study that runs a pooled baseline: reads a
 * {@linkcode PooledRequest} from the file named, and prints `{ results }`, as
 * `train --folds --json` does.
 *
 * @module
 */
import { withoutTest } from "../data/folds.ts";
import { checkLeaks } from "../data/leaks.ts";
import { readManifest } from "../data/manifest.ts";
import { type Engine, startEngine } from "../engine/select.ts";
import { oneLine } from "../errors.ts";
import { imageCache } from "../image/image_cache.ts";
import { Memory } from "../memory.ts";
import type { Config } from "../model/config.ts";
import { keepEncoderOpen } from "../model/frozen.ts";
import { pooledFold } from "../study/pooled/pooled_fold.ts";
import { foldTasks } from "../train/runs/fold_task.ts";
import { openFeatureFolder } from "./shared/features.ts";
import { underParent } from "./shared/parent.ts";
import { interruptSignal } from "./shared/terminal.ts";

/** What is asked for. */
export interface PooledRequest {
  manifest: string;
  /** Folder of the folds. */
  folder: string;
  /** Folds to test; all if undefined. */
  folds: readonly number[] | undefined;
  backend: Engine["backend"];
  /** Folder of frozen features. */
  featureFolder: string;
  config: Config;
  seed: number;
}

async function run(file: string): Promise<void> {
  const { features } = await underParent();
  const { manifest, folds, backend, featureFolder, ...rest }: PooledRequest =
    JSON.parse(await Deno.readTextFile(file));
  const signal = interruptSignal();
  const { entries, classes } = await readManifest(manifest);
  const kept = withoutTest(entries);
  await checkLeaks(kept);
  const engine = await startEngine(backend);
  await keepEncoderOpen(rest.config.network);
  const memory = new Memory();
  const options = {
    ...rest,
    classes,
    cache: imageCache(memory),
    memory,
    featureCache: await openFeatureFolder(featureFolder, {
      shared: features ?? undefined,
      remark: console.error,
    }),
    signal,
  };
  const results = [];
  for (const { fold } of foldTasks(kept, { protocols: ["held-out"], folds })) {
    results.push(
      await engine.whileAlive(() => pooledFold(kept, fold, options)),
    );
  }
  console.log(JSON.stringify({ results }));
}

if (import.meta.main) {
  try {
    await run(Deno.args[0]!);
    Deno.exit(0); // Workers and sessions would keep it alive
  } catch (error) {
    console.error(oneLine((error as Error).message));
    Deno.exit(1);
  }
}
