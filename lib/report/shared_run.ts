/**
 * A run whose report is read by others: it has a name, and its paths say no more
 * than they may.
 *
 * @module
 */
import type { EvaluationFolder, RunFolder } from "./records.ts";

/** How a run is told of to others. */
export interface SharedRun {
  /** Its name. */
  name: string;
  /** A path, or a message that has some, as others may see it. */
  told: (text: string) => string;
}

/** The records of a run as others may see them. */
export function sharedRun(
  run: RunFolder,
  { name, told }: SharedRun,
): RunFolder {
  const { checkpoint, log, evaluations } = run;
  return {
    ...run,
    folder: name,
    checkpoint: { ...checkpoint, path: told(checkpoint.path) },
    log: log.map((line) =>
      typeof line.data === "string" ? { ...line, data: told(line.data) } : line
    ),
    evaluations: evaluations.map((one) => sharedEvaluation(one, told)),
  };
}

function sharedEvaluation(
  evaluation: EvaluationFolder,
  told: SharedRun["told"],
): EvaluationFolder {
  const { folder, record, images } = evaluation;
  const { report } = record;
  return {
    ...evaluation,
    folder: told(folder),
    images: images.map((one) => ({ ...one, image: told(one.image) })),
    record: {
      ...record,
      data: told(record.data),
      report: {
        ...report,
        failures: report.failures.map(({ image, error }) => ({
          image: told(image),
          error: told(error),
        })),
      },
    },
  };
}
