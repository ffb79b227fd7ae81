/**
 * Status and body of every failure.
 *
 * @module
 */
import type { Context } from "hono";
import { HTTPException } from "hono/http-exception";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import {
  CheckpointError,
  EncoderError,
  EngineError,
  ImageError,
  ImageFormatError,
  ImageRefusedError,
  NetworkError,
} from "../lib/errors.ts";
import {
  BrokenBodyError,
  BusyError,
  ChangedError,
  ConflictError,
  DeadlineError,
  ForbiddenError,
  InputError,
  MediaTypeError,
  NotFoundError,
  NotReadyError,
  StalledError,
  StorageError,
  TooLargeError,
  UnauthorizedError,
} from "../lib/serve/errors.ts";
import { storageFault } from "../lib/serve/intake/disk.ts";
import type { Server } from "../lib/serve/server.ts";
import type { Env } from "./env.ts";

// The first class that matches an error decides.
const STATUS: readonly [
  new (...args: never[]) => Error,
  ContentfulStatusCode,
][] = [
  [InputError, 400],
  [BrokenBodyError, 400],
  [UnauthorizedError, 401],
  [ForbiddenError, 403],
  [NotFoundError, 404],
  [StalledError, 408],
  [ConflictError, 409],
  [CheckpointError, 409],
  [EncoderError, 409],
  [ChangedError, 412],
  [TooLargeError, 413],
  [MediaTypeError, 415],
  [ImageFormatError, 415],
  [ImageRefusedError, 403],
  [NetworkError, 502],
  [ImageError, 422],
  [BusyError, 429],
  [NotReadyError, 503],
  [EngineError, 503],
  [DeadlineError, 504],
  [StorageError, 507],
];

const RETRY_SECONDS = 5;
// The client is gone; nginx logs such requests by this status.
const CLIENT_GONE = 499 as ContentfulStatusCode;

// For routes that accept JSON only; the framework's own message says less.
const NOT_JSON = new MediaTypeError(
  "The body is not JSON: send JSON with Content-Type: application/json",
);

/** The answer to a request that failed. */
export function errorResponse(
  thrown: Error,
  c: Context<Env>,
  { log, messages }: Pick<Server, "log" | "messages">,
): Response {
  const requestId = c.get("requestId");
  const error = storageFault(thrown) ?? thrown;
  const status = statusOf(error, c);
  if (error instanceof StorageError) {
    log("error", "disk full", { requestId, error: thrown.message });
  }
  const isBug = status === 500;
  if (isBug) log("error", "bug", { requestId, stack: error.stack });
  const message = isBug
    ? "Internal error; see the server log for this request id"
    : messages.of(isMediaType(error) ? NOT_JSON : error);
  const field = fieldOf(error);
  return c.json(
    { error: message, ...(field && { field }), requestId },
    status,
    headersOf(error),
  );
}

function statusOf(error: Error, c: Context): ContentfulStatusCode {
  const known = STATUS.find(([kind]) => error instanceof kind);
  if (known) return known[1];
  if (error instanceof HTTPException) {
    return error.status as ContentfulStatusCode;
  }
  return c.req.raw.signal.aborted ? CLIENT_GONE : 500;
}

/** True if the framework refused a body for its type. */
function isMediaType(error: Error): boolean {
  return error instanceof HTTPException && error.status === 415;
}

function fieldOf(error: Error): string | undefined {
  if (error instanceof InputError) return error.field;
  const isBadBody = error instanceof HTTPException && error.status === 400;
  return isBadBody ? "body" : undefined; // malformed JSON
}

function headersOf(error: Error): Record<string, string> {
  if (error instanceof BusyError) {
    return { "retry-after": String(error.retryAfterSeconds) };
  }
  if (error instanceof NotReadyError || error instanceof EngineError) {
    return { "retry-after": String(RETRY_SECONDS) };
  }
  if (error instanceof UnauthorizedError) {
    return { "www-authenticate": 'Bearer realm="zoomin"' };
  }
  return {};
}
