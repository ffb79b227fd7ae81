/**
 * A shard of `classify` or `eval`: its images, and the part that it leaves.
 *
 * @module
 */
import { environment } from "../engine/environment.ts";
import type { Engine } from "../engine/select.ts";
import { count } from "../data/table.ts";
import {
  type ClassifierSetup,
  classifyImages,
  defaultWorkers,
  type ImageTask,
  type Outcome,
} from "./classifier.ts";
import {
  type ShardedCommand,
  type ShardPlace,
  shareOfItems,
  withoutShard,
  writePart,
} from "./shared/shard.ts";
import { ProgressLine } from "./shared/terminal.ts";

/** Options of {@linkcode classifyShard}. */
export interface ClassifyShardOptions {
  command: ShardedCommand;
  argv: readonly string[];
  place: ShardPlace;
  setup: ClassifierSetup;
  engine: Engine;
  workers: number | undefined;
  signal: AbortSignal;
}

/**
 * Classifies the images of a shard, and leaves its part. A bad image is an item
 * of it as any other: the merge reports it.
 *
 * @returns the exit code.
 */
export async function classifyShard(
  tasks: readonly ImageTask[],
  { command, argv, place, setup, engine, signal, ...options }:
    ClassifyShardOptions,
): Promise<number> {
  const { shard, folder } = place;
  const own = shareOfItems(tasks, shard);
  const done: { at: number; item: Outcome }[] = [];
  const line = new ProgressLine();
  await classifyImages(own.map(({ item }) => item), {
    setup,
    workers: options.workers ?? defaultWorkers(own.length, setup),
    signal,
    onOutcome(item, i) {
      done.push({ at: own[i]!.at, item });
      line.count(i + 1, own.length, "images");
    },
  }).finally(() => line.clear());
  const path = await writePart(folder, {
    command,
    argv: withoutShard(argv),
    shard,
    items: tasks.length,
    environment: environment(engine),
  }, done);
  const failures = done.filter(({ item }) => item.error !== undefined).length;
  console.error(
    `${path}: ${count(done.length, "image")}${
      failures > 0 ? `, ${failures} of which could not be read` : ""
    }`,
  );
  return 0;
}
