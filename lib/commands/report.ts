/**
 * `deno task report`: a run, a study or an evaluation as one HTML file.
 *
 * @module
 */
import { join } from "node:path";
import { UsageError } from "../errors.ts";
import { writeFileAtomically } from "../files.ts";
import { reportOf } from "../report/report.ts";
import { REPORT_FILE } from "../report/report_file.ts";
import { outputFile, parseFlags, type Usage } from "./shared/flags.ts";
import { interruptSignal } from "./shared/terminal.ts";

export const summary = "Write a run, a study or an evaluation as one page";

const FLAGS = {
  out: outputFile("FILE.html", `file to write (FOLDER/${REPORT_FILE})`),
};

export const usage: Usage = {
  synopsis: ["deno task report FOLDER [--out FILE.html]"],
  about:
    "Writes one HTML file that needs no network: what was trained on what, curves, metrics with intervals, the best and worst cases with pictures, time, memory and a model card. Its figures are those that were recorded; nothing is computed anew.",
  positionals: {
    FOLDER:
      "folder of a run, a cross-validation, a study, or of an evaluation in RUN/evaluations",
  },
  groups: [{ flags: FLAGS }],
  operands: { paths: "folders" },
};

/**
 * Writes the report and prints its path.
 *
 * @throws {UsageError} If a flag is wrong, or the folder holds no such thing.
 */
export async function run(argv: string[]): Promise<number> {
  const { values: { out }, positionals } = parseFlags(argv, FLAGS, {
    positionals: true,
  });
  const [folder, ...others] = positionals;
  if (folder === undefined || others.length > 0) {
    throw new UsageError(
      "Cannot report on none or several: give one folder of a run, a study or an evaluation",
    );
  }
  const text = await reportOf(folder, { signal: interruptSignal() });
  const file = out ?? join(folder, REPORT_FILE);
  await writeFileAtomically(file, text);
  console.log(file);
  return 0;
}
