/**
 * Errors of the server. Each class has one HTTP status, listed in
 * routes/errors.ts.
 *
 * @module
 */

/** An error whose message is written for the caller. */
export abstract class RefusalError extends Error {}

/** The request is wrong; `field` names the faulty part. */
export class InputError extends RefusalError {
  override name = "InputError";
  readonly field: string;

  constructor(field: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.field = field;
  }
}

/** The token is missing or invalid. */
export class UnauthorizedError extends RefusalError {
  override name = "UnauthorizedError";
}

/**
 * Not allowed or not found; the text is the same, so as to disclose neither.
 */
export class ForbiddenError extends RefusalError {
  override name = "ForbiddenError";
}

/** No such model, job or result. */
export class NotFoundError extends RefusalError {
  override name = "NotFoundError";
}

/** The current state does not allow the request. */
export class ConflictError extends RefusalError {
  override name = "ConflictError";
}

/** It is no longer as the caller has seen it. */
export class ChangedError extends RefusalError {
  override name = "ChangedError";
}

/** The body exceeds a limit. */
export class TooLargeError extends RefusalError {
  override name = "TooLargeError";
}

/** The body broke off, or was sent in a malformed way. */
export class BrokenBodyError extends RefusalError {
  override name = "BrokenBodyError";
}

/** The server's disk has no room. */
export class StorageError extends RefusalError {
  override name = "StorageError";
}

/** The body has an unsupported type. */
export class MediaTypeError extends RefusalError {
  override name = "MediaTypeError";
}

/** The body was sent too slowly. */
export class StalledError extends RefusalError {
  override name = "StalledError";
}

/** The queue is full. */
export class BusyError extends RefusalError {
  override name = "BusyError";
  /** Delay before the next try, s. */
  readonly retryAfterSeconds: number;

  constructor(message: string, retryAfterSeconds: number) {
    super(message);
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

/** The engine is starting or was lost, or the server is stopping. */
export class NotReadyError extends RefusalError {
  override name = "NotReadyError";
}

/** The engine was ended because of other work: any other engine can do this. */
export class EngineStoppedError extends NotReadyError {
  override name = "EngineStoppedError";
}

/** The request exceeded its time limit. */
export class DeadlineError extends RefusalError {
  override name = "DeadlineError";
}
