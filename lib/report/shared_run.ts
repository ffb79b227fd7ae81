/**
 * A run, or a cross-validation, whose report is read by others: it has a name, and
 * its paths say no more than they may.
 *
 * @module
 */
import type {
  CrossValidationFolder,
  EvaluationFolder,
  PredictedCase,
  Recorded,
  RunFolder,
} from "./records.ts";

/** How a run is told of to others. */
export interface SharedRun {
  /** Its name. */
  name: string;
  /** A path, or a message that has some, as others may see it. */
  told: (text: string) => string;
}

/** The records as others may see them. */
export function shared(recorded: Recorded, how: SharedRun): Recorded {
  switch (recorded.kind) {
    case "run":
      return sharedRun(recorded, how);
    case "cross-validation":
      return sharedFolds(recorded, how);
    default:
      return recorded; // the server makes none
  }
}

function sharedRun(
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

function sharedFolds(
  validation: CrossValidationFolder,
  { name, told }: SharedRun,
): CrossValidationFolder {
  const { checkpoint, folds } = validation;
  return {
    ...validation,
    folder: name,
    checkpoint: checkpoint &&
      { ...checkpoint, path: told(checkpoint.path) },
    folds: folds.map((fold) => ({
      ...fold,
      images: sharedImages(fold.images, told),
    })),
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
    images: sharedImages(images, told),
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

function sharedImages(
  images: readonly PredictedCase[],
  told: SharedRun["told"],
): PredictedCase[] {
  return images.map((one) => ({ ...one, image: told(one.image) }));
}
