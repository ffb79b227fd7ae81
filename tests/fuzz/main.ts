/**
 * Feeds damaged input to everything that reads what a stranger may have
 * written. Each case must end in a result or a named error of one line, soon,
 * and in bounded memory:
 *
 *     deno task fuzz --seconds 600 [--seed 1] [--target images]
 *     deno task fuzz --seed 1 --target images --case 17      once again
 *
 * Inputs that found something stay in a folder, which is named. Ends with 1 if
 * there are any.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { TextLineStream } from "./lines.ts";
import { parseArgs } from "node:util";
import { TARGETS } from "./targets.ts";
import type { Job, Said } from "./worker.ts";

const WORKER = fileURLToPath(new URL("worker.ts", import.meta.url));

// A process runs so many cases of a target, then those of the next one.
const CASES_A_TURN = 200;
// On a busy machine; a case takes some milliseconds.
const MAX_CASE_MS = 60_000, MAX_START_MS = 300_000;

/** A fault that a case has found. */
interface Find {
  target: string;
  case: number;
  found: string;
  input: string;
}

if (import.meta.main) Deno.exit(await main(Deno.args));

async function main(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      seconds: { type: "string", default: "60" },
      seed: { type: "string", default: "1" },
      target: { type: "string" },
      case: { type: "string" },
    },
  });
  const seed = Number(values.seed);
  const names = TARGETS.map(({ name }) => name)
    .filter((name) => values.target === undefined || name === values.target);
  const numbers = [values.seconds, values.seed, values.case ?? "0"];
  if (names.length === 0 || !numbers.every((word) => /^\d+$/.test(word))) {
    console.error(
      `Cannot fuzz ${
        values.target ?? "all targets"
      } for ${values.seconds} s: write whole numbers, and a target of ${
        TARGETS.map(({ name }) => name).join(", ")
      }`,
    );
    return 2;
  }
  const folder = await Deno.makeTempDir({ prefix: "zoomin-fuzz-" });
  const finds = values.case === undefined
    ? await fuzz(names, { seed, folder, seconds: Number(values.seconds) })
    : (await turn({
      target: names[0]!,
      seed,
      folder,
      first: Number(values.case),
      count: 1,
    })).finds;
  await Deno.remove(`${folder}/work`, { recursive: true });
  for (const find of finds) {
    console.log(
      `\n${find.target}: ${find.found}\n  input: ${find.input}\n  again: deno task fuzz --seed ${seed} --target ${find.target} --case ${find.case}`,
    );
  }
  return finds.length === 0 ? 0 : 1;
}

/** Takes turns at the targets until the time is over. */
async function fuzz(
  names: readonly string[],
  { seed, folder, seconds }: { seed: number; folder: string; seconds: number },
): Promise<Find[]> {
  const deadline = performance.now() + 1000 * seconds;
  const finds: Find[] = [];
  const done = new Map(names.map((name) => [name, 0]));
  while (performance.now() < deadline) {
    for (const target of names) {
      const first = done.get(target)!;
      const { next, ...found } = await turn(
        { target, seed, folder, first, count: CASES_A_TURN },
        deadline,
      );
      done.set(target, next);
      finds.push(...found.finds);
      if (performance.now() >= deadline) break;
    }
  }
  for (const [target, cases] of done) console.log(`${target}: ${cases} cases`);
  console.log(`seed ${seed}: ${finds.length} found something`);
  return finds;
}

/** Runs cases in a process of their own, which ends early at a hang. */
async function turn(
  job: Job,
  deadline = Infinity,
): Promise<{ finds: Find[]; next: number }> {
  const { target } = job;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", "--allow-all", WORKER, JSON.stringify(job)],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const stderr = new Response(child.stderr).text();
  const finds: Find[] = [];
  let at: { case: number; input: string } | undefined;
  let reason = "The process ended";
  const end = (why: string) => {
    reason = why;
    try {
      child.kill("SIGKILL");
    } catch { // it has just ended
    }
  };
  const watch = (ms: number) =>
    setTimeout(() => end(`No end after ${ms / 1000} s`), ms);
  let timer = watch(MAX_START_MS);
  for await (const line of child.stdout.pipeThrough(new TextLineStream())) {
    clearTimeout(timer);
    const said = JSON.parse(line) as Said;
    if ("found" in said) finds.push({ target, ...said });
    else if ("case" in said) at = said;
    if (performance.now() >= deadline) break;
    timer = watch(MAX_CASE_MS);
  }
  clearTimeout(timer);
  if (performance.now() >= deadline) end("The time is over");
  const { success } = await child.status;
  if (!success && at === undefined && performance.now() < deadline) {
    throw new Error(`${target} does not start: ${reason}: ${await stderr}`);
  }
  if (!success && performance.now() < deadline) {
    const found = `${reason}: ${(await stderr).slice(-2000)}`;
    finds.push({ target, case: at?.case ?? -1, input: at?.input ?? "", found });
  }
  return { finds, next: (at?.case ?? job.first - 1) + 1 };
}
