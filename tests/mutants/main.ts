/**
 * Puts each fault of the list into a copy of the tree and runs its tests:
 *
 *     deno task mutants [--only PATTERN] [--jobs N] [--json FILE]
 *
 * Ends with 1 if a mutant survived that is not explained, or can no longer be
 * applied.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { MUTANTS } from "./list.ts";
import { type Mutant, staleness } from "./mutant.ts";
import { formatResults, type Result, summaryOf } from "./results.ts";
import { Scratch } from "./run.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

if (import.meta.main) Deno.exit(await main(Deno.args));

async function main(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      only: { type: "string", default: "" },
      jobs: { type: "string", default: "1" },
      json: { type: "string" },
    },
  });
  const only = new RegExp(values.only);
  const wanted = MUTANTS.filter(({ name }) => only.test(name));
  const jobs = Number(values.jobs);
  if (wanted.length === 0 || !(Number.isInteger(jobs) && jobs > 0)) {
    console.error(
      `Cannot run ${wanted.length} mutants, ${values.jobs} at a time: --only takes a part of a name of the list, --jobs a number from 1`,
    );
    return 2;
  }
  const results = await runAll(wanted, jobs);
  console.log(formatResults(results));
  if (values.json !== undefined) {
    const summary = summaryOf(results);
    const text = JSON.stringify({ ...summary, results }, null, 2);
    await Deno.writeTextFile(values.json, `${text}\n`);
  }
  const isFine = ({ outcome, equivalent }: Result) =>
    outcome === "caught" || (outcome === "survived" && equivalent);
  return results.every(isFine) ? 0 : 1;
}

/** Runs mutants, `jobs` at a time; each says its outcome as it is known. */
async function runAll(
  mutants: readonly Mutant[],
  jobs: number,
): Promise<Result[]> {
  const results: Result[] = [];
  const waiting = [...mutants.entries()];
  const passing: Passing = new Map();
  await Promise.all(Array.from({ length: jobs }, async () => {
    const scratch = await Scratch.of(ROOT);
    try {
      for (let next = waiting.shift(); next; next = waiting.shift()) {
        const [i, mutant] = next;
        results[i] = await resultOf(mutant, scratch, passing);
        const { outcome, name } = results[i];
        console.error(`${outcome.padEnd(9)}${name}`);
      }
    } finally {
      await scratch.remove();
    }
  }));
  return results;
}

/** Duration of passing tests by their names, ms; undefined if they fail. */
type Passing = Map<string, Promise<number | undefined>>;

async function timeToPass(
  mutant: Mutant,
  scratch: Scratch,
): Promise<number | undefined> {
  const started = performance.now();
  const outcome = await scratch.test(mutant);
  return outcome === "survived" ? performance.now() - started : undefined;
}

/** Time limit of tests that took `ms`, on a machine with other work. */
function patience(ms: number): number {
  return 60_000 + 10 * ms;
}

/** Tests that fail without any fault would catch everything. */
async function resultOf(
  mutant: Mutant,
  scratch: Scratch,
  passing: Passing,
): Promise<Result> {
  const { name, equivalent } = mutant;
  const stale = await staleness(mutant, ROOT);
  if (stale) return { name, outcome: "stale", note: stale };
  const key = JSON.stringify([mutant.tests, mutant.gpu]);
  const before = passing.get(key) ?? timeToPass(mutant, scratch);
  passing.set(key, before);
  const passedMs = await before;
  if (passedMs === undefined) {
    const note = "its tests fail without the fault";
    return { name, outcome: "stale", note };
  }
  const outcome = await scratch.outcomeOf(mutant, patience(passedMs));
  return { name, outcome, ...(equivalent && { equivalent }) };
}
