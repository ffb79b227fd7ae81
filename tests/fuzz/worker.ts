/**
 * Runs cases of one target, one after the other, in a process that may be
 * ended: says which case it begins, and what a case has found.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { randomKey, RandomStream } from "../../kernels/random.ts";
import { TARGETS } from "./targets.ts";

/** Messages of the process, a line of JSON each. */
export type Said =
  | { ready: true }
  | { case: number; input: string }
  | { case: number; found: string; input: string };

// Of the process; a case that takes as much is one that grows with its input.
const MAX_BYTES = 3 * 2 ** 30;

/** The cases to run. */
export interface Job {
  target: string;
  seed: number;
  first: number;
  /** Cases at most. */
  count: number;
  /** Folder of the inputs. */
  folder: string;
}

if (import.meta.main) await work(JSON.parse(Deno.args[0]!));

async function work({ target, seed, first, count, folder }: Job) {
  const own = join(folder, "work");
  await Deno.mkdir(own, { recursive: true });
  const known = TARGETS.find(({ name }) => name === target)!;
  await using open = await known.open(await Deno.makeTempDir({ dir: own }));
  say({ ready: true });
  for (let at = first; at < first + count; at++) {
    const random = new RandomStream(keyOf(target, seed, at));
    const bytes = open.input(random);
    const input = join(folder, `${target}-${seed}-${at}`);
    await Deno.writeFile(input, bytes);
    say({ case: at, input });
    const found = await open.run(bytes, random).then(memoryTaken, stackOf);
    if (found) say({ case: at, found, input });
    else await Deno.remove(input);
  }
}

function keyOf(target: string, seed: number, at: number) {
  const word = createHash("sha256").update(target).digest().readUInt32LE();
  return randomKey(seed, word, at);
}

function memoryTaken(): string | undefined {
  const { rss } = Deno.memoryUsage();
  return rss > MAX_BYTES ? `The process holds ${rss} bytes` : undefined;
}

function stackOf(error: unknown): string {
  return error instanceof Error ? error.stack ?? error.message : String(error);
}

function say(what: Said): void {
  console.log(JSON.stringify(what));
}
