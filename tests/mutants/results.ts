/**
 * The outcomes of the mutants, as a table.
 *
 * @module
 */
import type { Outcome } from "./run.ts";

/** The outcome of one mutant. */
export interface Result {
  name: string;
  /** `stale` is one that was not run. */
  outcome: Outcome | "stale";
  /** Why no test can catch it. */
  equivalent?: string;
  /** Why it was not run. */
  note?: string;
}

/** Counts of outcomes; equivalent mutants that survived are not counted. */
export function summaryOf(
  results: readonly Result[],
): { mutants: number; caught: number; share: number } {
  const counted = results.filter(({ outcome, equivalent }) =>
    !(outcome === "survived" && equivalent)
  );
  const caught = counted.filter(({ outcome }) => outcome === "caught").length;
  const mutants = counted.length;
  return { mutants, caught, share: mutants === 0 ? 1 : caught / mutants };
}

/** A table of parts of the code, and the mutants that survived, in Markdown. */
export function formatResults(results: readonly Result[]): string {
  const { mutants, caught, share } = summaryOf(results);
  const parts = Map.groupBy(results, partOf);
  const rows = [...parts].map(([part, own]) => {
    const { mutants, caught } = summaryOf(own);
    return `| ${part} | ${mutants} | ${caught} |`;
  });
  const others = results
    .filter(({ outcome }) => outcome !== "caught")
    .map(({ name, outcome, equivalent, note }) =>
      `- ${outcome}: \`${name}\`${described(equivalent ?? note)}`
    );
  return [
    `${caught} of ${mutants} mutants caught (${(100 * share).toFixed(1)} %)`,
    "",
    "| Part | Mutants | Caught |",
    "| ---- | ------: | -----: |",
    ...rows,
    ...others.length > 0 ? ["", ...others] : [],
  ].join("\n");
}

/** The folder of the file that was changed. */
function partOf({ name }: Result): string {
  return name.slice(0, name.lastIndexOf("/", name.indexOf(":")));
}

function described(why: string | undefined): string {
  return why ? `: ${why}` : "";
}
