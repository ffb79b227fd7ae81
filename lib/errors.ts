/**
 * The errors a caller can act on. Everything else is a builtin class by
 * meaning: `TypeError` for shapes and types, `RangeError` for bounds.
 *
 * Messages follow one grammar: "Cannot <act> as <wanted>: <what was found>",
 * with the file, field or line that is at fault.
 *
 * @module
 */

/** An error whose message is written for who asked: one line, and no stack. */
export abstract class NamedError extends Error {}

/** The command line was wrong: exit code 2. */
export class UsageError extends NamedError {
  override name = "UsageError";
}

/** A configuration was wrong; the message names the field. */
export class ConfigError extends NamedError {
  override name = "ConfigError";
}

/** A manifest or another table was wrong; the message names file and line. */
export class DataError extends NamedError {
  override name = "DataError";
}

/** An image cannot be opened or decoded; the message names the file. */
export class ImageError extends NamedError {
  override name = "ImageError";
}

/** The bytes are of no format that is read here: not an image, as far as we know. */
export class ImageFormatError extends ImageError {
  override name = "ImageFormatError";
}

/** The image lies where it may not be read from. */
export class ImageRefusedError extends ImageError {
  override name = "ImageRefusedError";
}

/**
 * The bytes of an image cannot be had: its disk or its server does not give
 * them. It says nothing of the image.
 */
export class ImageSourceError extends ImageError {
  override name = "ImageSourceError";
}

/** The network, or the server of an image, is in trouble; it may pass. */
export class NetworkError extends ImageSourceError {
  override name = "NetworkError";
}

/** Whether an error says that an image itself is at fault, not its source. */
export function isOfContent(error: unknown): error is ImageError {
  return error instanceof ImageError && !(error instanceof ImageSourceError);
}

/** The same error, of the same class, with more of the story. */
export function retold(cause: ImageError, message: string): ImageError {
  const Kind = cause.constructor as typeof ImageError;
  return new Kind(message, { cause });
}

/** A checkpoint cannot be read or does not fit; the message names the file. */
export class CheckpointError extends NamedError {
  override name = "CheckpointError";
}

/** No engine could be started, or it was lost while it worked. */
export class EngineError extends NamedError {
  override name = "EngineError";
}

/** Training cannot go on; the message says where it stands and what to do. */
export class TrainingError extends NamedError {
  override name = "TrainingError";
}

/** `text` in one line: parsers quote what they stumble over, line ends and all. */
export function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, " ");
}

/** An error as plain data: its class does not cross to or from a Worker. */
export interface PlainError {
  name: string;
  message: string;
  stack: string;
}

/** What is needed to revive `error` elsewhere. */
export function plainError(error: unknown): PlainError {
  if (!(error instanceof Error)) {
    return { name: "Error", message: String(error), stack: "" };
  }
  const { name, message, stack = "" } = error;
  return { name, message, stack };
}

/** The error as it was thrown, of its own class where it is one of the above. */
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
  EngineError,
  TrainingError,
];
