/**
 * Errors that a caller can handle. Everything else is a builtin class by
 * meaning: `TypeError` for shapes and types, `RangeError` for bounds.
 *
 * Messages follow one grammar: "Cannot <act> as <wanted>: <what was found>",
 * with the faulty file, field or line.
 *
 * @module
 */

/** An error whose message is written for the user: one line, without a stack. */
export abstract class NamedError extends Error {}

/** A wrong command line: exit code 2. */
export class UsageError extends NamedError {
  /** The name of the class, which also crosses to and from a Worker. */
  override name = "UsageError";
}

/** A wrong configuration; the message names the field. */
export class ConfigError extends NamedError {
  /** The name of the class, which also crosses to and from a Worker. */
  override name = "ConfigError";
}

/** A wrong manifest or other table; the message names file and line. */
export class DataError extends NamedError {
  /** The name of the class, which also crosses to and from a Worker. */
  override name = "DataError";
}

/** An image cannot be opened or decoded; the message names the file. */
export class ImageError extends NamedError {
  /** The name of the class, which also crosses to and from a Worker. */
  override name = "ImageError";
}

/** The bytes match no supported image format. */
export class ImageFormatError extends ImageError {
  /** The name of the class, which also crosses to and from a Worker. */
  override name = "ImageFormatError";
}

/** The image is at a place that may not be read. */
export class ImageRefusedError extends ImageError {
  /** The name of the class, which also crosses to and from a Worker. */
  override name = "ImageRefusedError";
}

/**
 * The bytes of an image are unavailable: its disk or server failed. The image
 * itself may be intact.
 */
export class ImageSourceError extends ImageError {
  /** The name of the class, which also crosses to and from a Worker. */
  override name = "ImageSourceError";
}

/** The network or the server of an image failed; a retry may succeed. */
export class NetworkError extends ImageSourceError {
  /** The name of the class, which also crosses to and from a Worker. */
  override name = "NetworkError";
}

/** The error concerns an image's content, not its source. */
export function isOfContent(error: unknown): error is ImageError {
  return error instanceof ImageError && !(error instanceof ImageSourceError);
}

/** An error of the same class with a new message. */
export function retold(cause: ImageError, message: string): ImageError {
  const Kind = cause.constructor as typeof ImageError;
  return new Kind(message, { cause });
}

/** A checkpoint cannot be read or does not fit; the message names the file. */
export class CheckpointError extends NamedError {
  /** The name of the class, which also crosses to and from a Worker. */
  override name = "CheckpointError";
}

/** The file of a checkpoint was replaced while it was in use: read it again. */
export class ChangedCheckpointError extends CheckpointError {
  /** The name of the class, which also crosses to and from a Worker. */
  override name = "ChangedCheckpointError";
}

/** A pretrained network cannot be used; the message names its file. */
export class EncoderError extends NamedError {
  /** The name of the class, which also crosses to and from a Worker. */
  override name = "EncoderError";
}

/** No engine could be started, or it failed while in use. */
export class EngineError extends NamedError {
  /** The name of the class, which also crosses to and from a Worker. */
  override name = "EngineError";
}

/** Training cannot continue; the message states its progress and what to do. */
export class TrainingError extends NamedError {
  /** The name of the class, which also crosses to and from a Worker. */
  override name = "TrainingError";
}

/** `text` in one line: parsers quote faulty input including its line ends. */
export function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, " ");
}

// Of a word in a message, characters.
const MAX_WORD = 100;

/** A stranger's word as messages show it: it may be megabytes long. */
export function shortened(word: string): string {
  return word.length <= MAX_WORD ? word : `${word.slice(0, MAX_WORD)}...`;
}

/** An error as plain data: error classes are lost between Workers. */
export interface PlainError {
  name: string;
  message: string;
  stack: string;
}

/** Converts `error` to plain data, for {@linkcode revivedError}. */
export function plainError(error: unknown): PlainError {
  if (!(error instanceof Error)) {
    return { name: "Error", message: String(error), stack: "" };
  }
  const { name, message, stack = "" } = error;
  return { name, message, stack };
}

/** Restores the error, of its own class if it is one of the above. */
export function revivedError({ name, message, stack }: PlainError): Error {
  const known = CLASSES.find((known) => known.name === name);
  const error = known ? new known(message) : new Error(message);
  error.name = name;
  error.stack = stack;
  return error;
}

const CLASSES = [
  UsageError,
  ConfigError,
  DataError,
  ImageError,
  ImageFormatError,
  ImageRefusedError,
  ImageSourceError,
  NetworkError,
  CheckpointError,
  ChangedCheckpointError,
  EncoderError,
  EngineError,
  TrainingError,
];
