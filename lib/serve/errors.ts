/**
 * What the server refuses, and why. Each class is one HTTP status; the routes
 * say which.
 *
 * @module
 */

/** A refusal whose message is written for the caller. */
export abstract class RefusalError extends Error {}

/** The request is wrong; `field` names what part of it. */
export class InputError extends RefusalError {
  override name = "InputError";
  readonly field: string;

  constructor(field: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.field = field;
  }
}

/** The caller has not shown who it is. */
export class UnauthorizedError extends RefusalError {
  override name = "UnauthorizedError";
}

/** The caller may not have this, or it is not there: the text is the same. */
export class ForbiddenError extends RefusalError {
  override name = "ForbiddenError";
}

/** There is no such model, job or result. */
export class NotFoundError extends RefusalError {
  override name = "NotFoundError";
}

/** The state of things forbids it now. */
export class ConflictError extends RefusalError {
  override name = "ConflictError";
}

/** More bytes than the limit. */
export class TooLargeError extends RefusalError {
  override name = "TooLargeError";
}

/** The body is of a kind that is not taken. */
export class MediaTypeError extends RefusalError {
  override name = "MediaTypeError";
}

/** The body came too slowly. */
export class StalledError extends RefusalError {
  override name = "StalledError";
}

/** The queue is full. */
export class BusyError extends RefusalError {
  override name = "BusyError";
  /** When to come again. */
  readonly retryAfterSeconds: number;

  constructor(message: string, retryAfterSeconds: number) {
    super(message);
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

/** The engine is not there yet or was lost, or the server is about to stop. */
export class NotReadyError extends RefusalError {
  override name = "NotReadyError";
}

/** It took longer than a request may. */
export class DeadlineError extends RefusalError {
  override name = "DeadlineError";
}
