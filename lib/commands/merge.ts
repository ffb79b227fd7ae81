/**
 * `deno task merge`: what one call would have made, of the parts of its shards.
 *
 * @module
 */
import { DataError, UsageError } from "../errors.ts";
import type { Outcome } from "./classifier.ts";
import { parseFlags, type Usage } from "./shared/flags.ts";
import { type Merged, readParts } from "./shared/shard.ts";

export const summary = "Merge the parts of shards into one result";

export const usage: Usage = {
  synopsis: ["deno task merge DIR"],
  about:
    "Prints and writes what classify, eval or study would have without --shard, from the parts that the shards left in DIR. Run it in the folder that the shards ran in.",
  positionals: {
    DIR: "folder of --parts; for a study, of --out",
  },
  groups: [{ flags: {} }],
  operands: { paths: "folders" },
  notes: "Exit code as without --shard.",
};

/** @throws {UsageError | DataError} */
export async function run(argv: string[]): Promise<number> {
  const { positionals: [folder, ...others] } = parseFlags(argv, {}, {
    positionals: true,
  });
  if (folder === undefined || others.length > 0) {
    throw new UsageError("Give one folder: that of the shards' parts");
  }
  const merged = await readParts<unknown>(folder);
  const { command } = merged;
  switch (command) {
    case "classify":
      return await (await import("./classify.ts")).merge(ofOneModel(merged));
    case "eval":
      return await (await import("./eval.ts")).merge(ofOneModel(merged));
    case "study":
      return await (await import("./study.ts")).merge(
        merged as Parameters<typeof import("./study.ts").merge>[0],
      );
    default:
      command satisfies never;
      throw new DataError(
        `Cannot merge ${folder}: this version knows no parts of "${command}"; update zoomin`,
      );
  }
}

/** @throws {DataError} If shards had different checkpoints at the path. */
function ofOneModel(merged: Merged<unknown>): Merged<Outcome> {
  const { items, ...about } = merged as Merged<Outcome>;
  const models = new Set(
    items.flatMap(({ classification }) => classification?.model.sha256 ?? []),
  );
  if (models.size <= 1) return { items, ...about };
  throw new DataError(
    "Cannot merge parts of different checkpoints: the shards read other files at the path of --checkpoint; copy one to all hosts, and run the shards again",
  );
}
