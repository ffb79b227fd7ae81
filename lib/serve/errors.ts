/**
 * What the server refuses, and why. Each class is one HTTP status; the routes
 * say which.
 *
 * @module
 */

/** The request is wrong; `field` names what part of it. */
export class InputError extends Error {
  override name = "InputError";
  readonly field: string;

  constructor(field: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.field = field;
  }
}

/** The caller has not shown who it is. */
export class UnauthorizedError extends Error {
  override name = "UnauthorizedError";
}

/** The caller may not have this, or it is not there: the text is the same. */
export class ForbiddenError extends Error {
  override name = "ForbiddenError";
}

/** There is no such model, job or result. */
export class NotFoundError extends Error {
  override name = "NotFoundError";
}

/** The state of things forbids it now. */
export class ConflictError extends Error {
  override name = "ConflictError";
}

/** More bytes than the limit. */
export class TooLargeError extends Error {
  override name = "TooLargeError";
}

/** The body is of a kind that is not taken. */
export class MediaTypeError extends Error {
  override name = "MediaTypeError";
}

/** The body came too slowly. */
export class StalledError extends Error {
  override name = "StalledError";
}

/** The queue is full. */
export class BusyError extends Error {
  override name = "BusyError";
  /** When to come again. */
  readonly retryAfterSeconds: number;

  constructor(message: string, retryAfterSeconds: number) {
    super(message);
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

/** The engine is not there yet or was lost, or the server is about to stop. */
export class NotReadyError extends Error {
  override name = "NotReadyError";
}

/** It took longer than a request may. */
export class DeadlineError extends Error {
  override name = "DeadlineError";
}
