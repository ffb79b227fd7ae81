/**
 * The errors a caller can act on. Everything else is a builtin class by
 * meaning: `TypeError` for shapes and types, `RangeError` for bounds.
 *
 * Messages follow one grammar: "Cannot <act> as <wanted>: <what was found>",
 * with the file, field or line that is at fault.
 *
 * @module
 */

/** The command line was wrong: exit code 2. */
export class UsageError extends Error {
  override name = "UsageError";
}

/** A configuration was wrong; the message names the field. */
export class ConfigError extends Error {
  override name = "ConfigError";
}

/** A manifest or another table was wrong; the message names file and line. */
export class DataError extends Error {
  override name = "DataError";
}

/** An image cannot be opened or decoded; the message names the file. */
export class ImageError extends Error {
  override name = "ImageError";
}

/** A checkpoint cannot be read or does not fit; the message names the file. */
export class CheckpointError extends Error {
  override name = "CheckpointError";
}

/** No engine could be started, or it was lost while it worked. */
export class EngineError extends Error {
  override name = "EngineError";
}

/** Training cannot go on; the message says where it stands and what to do. */
export class TrainingError extends Error {
  override name = "TrainingError";
}
