/**
 * Shards of one command: each does its share on a host of its own, and leaves a
 * part; `deno task merge` makes of all parts what one call would have made.
 *
 * @module
 */
import { join } from "node:path";
import { DataError, UsageError } from "../../errors.ts";
import { writeFileAtomically } from "../../files.ts";
import { type Flag, text } from "./flags.ts";

/** A share of the work: `index` from 1 to `count`. */
export interface Shard {
  index: number;
  count: number;
}

/** Commands that can be cut into shards. */
export type ShardedCommand = "classify" | "eval" | "study";

/** The first line of a part. */
export interface PartHead {
  command: ShardedCommand;
  /** Words of the command line, without those of the shard. */
  argv: readonly string[];
  shard: Shard;
  /** Number of items of all shards. */
  items: number;
  /** Versions, machine and engine of the shard. */
  environment: Record<string, unknown>;
}

/** All parts of a command, put together. */
export interface Merged<Item> extends Pick<PartHead, "command" | "argv"> {
  /** Of the first shard. */
  environment: Record<string, unknown>;
  /** One an item, in their order. */
  items: readonly Item[];
}

/** `--shard` and `--parts`. */
export const SHARD_FLAGS = {
  shard: text(
    "I/N",
    "do only share I of N, from 1/N to N/N; auto takes both from a Slurm array (SLURM_ARRAY_TASK_ID) or an indexed Job of Kubernetes (JOB_COMPLETION_INDEX, with the number in JOB_COMPLETION_COUNT)",
    { words: ["auto"] },
  ),
  parts: text(
    "DIR",
    "folder that every shard leaves its part in, for deno task merge",
    { paths: "folders" },
  ),
} satisfies Record<string, Flag<string | undefined>>;

/** A shard and the folder of its part. */
export interface ShardPlace {
  shard: Shard;
  folder: string;
}

/**
 * The shard that the flags name; undefined if all is to be done.
 *
 * @throws {UsageError}
 */
export function shardPlace(
  { shard, parts }: { shard: string | undefined; parts: string | undefined },
): ShardPlace | undefined {
  if (shard === undefined) {
    if (parts === undefined) return undefined;
    throw new UsageError("--parts needs --shard I/N: add it");
  }
  if (parts === undefined) {
    throw new UsageError("--shard needs --parts DIR: add it");
  }
  return { shard: parseShard(shard), folder: parts };
}

/** @throws {UsageError} If `text` names no shard, or the scheduler none. */
export function parseShard(
  text: string,
  variable = (name: string) => Deno.env.get(name),
): Shard {
  const shard = text === "auto" ? scheduled(variable) : written(text);
  if (shard) return shard;
  throw new UsageError(
    text === "auto"
      ? "--shard auto finds no scheduler: SLURM_ARRAY_TASK_ID and SLURM_ARRAY_TASK_COUNT, or JOB_COMPLETION_INDEX and JOB_COMPLETION_COUNT, must be set; give --shard I/N"
      : `--shard must be I/N with I from 1 to N, such as 1/8, or auto, not "${text}"`,
  );
}

function written(text: string): Shard | undefined {
  const [, index, count] = /^(\d{1,6})\/(\d{1,6})$/.exec(text) ?? [];
  return checked(Number(index), Number(count));
}

function scheduled(
  variable: (name: string) => string | undefined,
): Shard | undefined {
  const number = (name: string, otherwise = NaN) => {
    const text = variable(name);
    return text === undefined || text === "" ? otherwise : Number(text);
  };
  const slurm = checked(
    1 + (number("SLURM_ARRAY_TASK_ID") - number("SLURM_ARRAY_TASK_MIN", 0)) /
        number("SLURM_ARRAY_TASK_STEP", 1),
    number("SLURM_ARRAY_TASK_COUNT"),
  );
  return slurm ?? checked(
    1 + number("JOB_COMPLETION_INDEX"), // counted from 0
    number("JOB_COMPLETION_COUNT"),
  );
}

function checked(index: number, count: number): Shard | undefined {
  const isShard = Number.isInteger(index) && Number.isInteger(count) &&
    index >= 1 && index <= count;
  return isShard ? { index, count } : undefined;
}

/**
 * The items of a shard, with their places among all. Neighbours go to different
 * shards, because tables are sorted by what makes images slow.
 */
export function shareOfItems<Item>(
  items: readonly Item[],
  { index, count }: Shard,
): { at: number; item: Item }[] {
  return items.map((item, at) => ({ at, item }))
    .filter(({ at }) => at % count === index - 1);
}

/** Name of a shard's part, without the extension. */
export function partName({ index, count }: Shard): string {
  return `part-${index}-of-${count}`;
}

/** Writes the part of a shard; `done` holds its items by their places. */
export async function writePart(
  folder: string,
  head: PartHead,
  done: readonly { at: number; item: unknown }[],
): Promise<string> {
  await Deno.mkdir(folder, { recursive: true });
  const path = join(folder, `${partName(head.shard)}.jsonl`);
  const lines = [head, ...done].map((line) => `${JSON.stringify(line)}\n`);
  await writeFileAtomically(path, lines.join(""));
  return path;
}

/** `argv` without `--shard` and `--parts`, which each shard has of its own. */
export function withoutShard(argv: readonly string[]): string[] {
  return argv.filter((word, i) =>
    !/^--(shard|parts)(=|$)/.test(word) &&
    !/^--(shard|parts)$/.test(argv[i - 1] ?? "")
  );
}

/**
 * Reads the parts of all shards in `folder`.
 *
 * @throws {DataError} If one is missing, or they are not of one command.
 */
export async function readParts<Item>(folder: string): Promise<Merged<Item>> {
  const parts = await partsIn(folder);
  const [first] = parts;
  if (first === undefined) {
    throw new DataError(
      `Cannot merge ${folder}: it has no part-I-of-N.jsonl; run the shards with it first`,
    );
  }
  const { command, argv, items: total, environment } = first.head;
  const work = workOf(first.head);
  const other = parts.find(({ head }) => workOf(head) !== work);
  if (other) {
    throw new DataError(
      `Cannot merge ${folder}: ${first.name} and ${other.name} are of different commands or tables; remove the ones that are old`,
    );
  }
  const { count } = first.head.shard;
  const missing = Array.from({ length: count }, (_, i) => i + 1)
    .filter((i) => !parts.some(({ head }) => head.shard.index === i));
  if (missing.length > 0) {
    throw new DataError(
      `Cannot merge ${folder}: ${missing.length} of ${count} parts are missing, the first of shard ${
        missing[0]
      }/${count}; run it, then merge again`,
    );
  }
  const items = Array<Item | undefined>(total).fill(undefined);
  for (const { at, item } of parts.flatMap(({ done }) => done)) {
    items[at] = item as Item;
  }
  const lost = items.indexOf(undefined);
  if (lost >= 0) {
    throw new DataError(
      `Cannot merge ${folder}: no part has item ${lost}; run the shards again`,
    );
  }
  return { command, argv, environment, items: items as Item[] };
}

/** What all parts of one command have in common. */
function workOf({ command, argv, shard, items }: PartHead): string {
  return JSON.stringify([command, argv, shard.count, items]);
}

interface Part {
  name: string;
  head: PartHead;
  done: { at: number; item: unknown }[];
}

async function partsIn(folder: string): Promise<Part[]> {
  const entries = await Array.fromAsync(Deno.readDir(folder)).catch((cause) => {
    throw new DataError(
      `Cannot merge ${folder}: it cannot be read; name the folder of --parts, or of --out for a study`,
      { cause },
    );
  });
  const names = entries.map(({ name }) => name)
    .filter((name) => /^part-\d+-of-\d+\.jsonl$/.test(name)).sort();
  return await Promise.all(
    names.map((name) => partOf(name, join(folder, name))),
  );
}

async function partOf(name: string, path: string): Promise<Part> {
  const text = await Deno.readTextFile(path);
  try {
    const [head, ...done] = text.trimEnd().split("\n")
      .map((line) => JSON.parse(line));
    return { name, head, done };
  } catch (cause) {
    throw new DataError(
      `Cannot merge ${path}: it is no part of a shard; run the shard again`,
      { cause },
    );
  }
}
