/**
 * The Worker side of a cross-validation: an engine of its own, one fold at a
 * time. See fold_pool.ts.
 *
 * @module
 */
import { type ManifestEntry, readManifest } from "../data/manifest.ts";
import { readRegions } from "../data/regions.ts";
import { startEngine } from "../engine/select.ts";
import { ImageCache } from "../image/cache.ts";
import type { Config } from "../model/config.ts";
import { type FoldResult, type FoldTask, runFold } from "../train/crossval.ts";
import type { Progress } from "../train/trainer.ts";
import { InterruptError } from "./terminal.ts";

/** What every fold of a cross-validation is run with. */
export interface FoldSetup {
  /** The manifest's path: where annotated objects are looked for. */
  manifest: string;
  entries: readonly ManifestEntry[];
  classes: readonly string[];
  folder: string;
  config: Config;
  seed: number;
  backend: "webgpu" | "wasm";
  environment: Record<string, unknown>;
  cacheBytes: number;
}

/** What the pool tells a worker. */
export type ToWorker =
  | { type: "setup"; setup: FoldSetup }
  | { type: "run"; task: FoldTask }
  | { type: "stop" };

/** What a worker tells the pool. */
export type FromWorker =
  | { type: "progress"; progress: Progress }
  | { type: "result"; result: FoldResult }
  | { type: "error"; name: string; message: string; stack: string };

const scope = self as unknown as {
  onmessage: (event: MessageEvent<ToWorker>) => void;
  postMessage(message: FromWorker): void;
};

const controller = new AbortController();
let setup: FoldSetup;
let cache: ImageCache;

scope.onmessage = async ({ data: message }) => {
  switch (message.type) {
    case "setup":
      setup = message.setup;
      cache = new ImageCache(setup.cacheBytes);
      break;
    case "stop":
      controller.abort(new InterruptError());
      break;
    case "run":
      try {
        scope.postMessage({ type: "result", result: await run(message.task) });
      } catch (error) {
        const { name, message, stack = "" } = error as Error;
        scope.postMessage({ type: "error", name, message, stack });
      }
      break;
    default:
      message satisfies never;
  }
};

async function run(task: FoldTask): Promise<FoldResult> {
  const engine = await startEngine(setup.backend);
  const { manifest, entries, ...options } = setup;
  const { classes } = options;
  const result = await runFold(entries, task, {
    ...options,
    regions: await readRegions(await readManifest(manifest, { classes })),
    cache,
    signal: controller.signal,
    onProgress(progress) {
      engine.assertAlive(); // before weights of a failed engine are saved
      scope.postMessage({ type: "progress", progress });
    },
  });
  engine.assertAlive();
  return result;
}
