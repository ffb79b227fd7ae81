/**
 * Responses that many routes share, for the OpenAPI document.
 *
 * @module
 */
import { errorSchema, jobSchema } from "../lib/serve/schemas.ts";

/** OpenAPI description of a JSON response. */
interface JsonAnswer<Schema> {
  description: string;
  content: { "application/json": { schema: Schema } };
}

/** Describes a JSON response. */
export function json<Schema>(
  description: string,
  schema: Schema,
): JsonAnswer<Schema> {
  return { description, content: { "application/json": { schema } } };
}

const DESCRIPTIONS = {
  400: "The request is invalid; `field` names the faulty part",
  401: "Missing or invalid token",
  403:
    "Not allowed, as the token's role is another; or not allowed or not found, of which neither is disclosed",
  404: "Not found",
  408: "The body was sent too slowly",
  409: "The current state does not allow it",
  412: "It is no longer as If-Match says",
  413: "The body exceeds its limit",
  415: "The type of the body or the image is not supported",
  422: "The image cannot be read",
  429:
    "The queue is full, or many tokens were wrong: try again after Retry-After seconds",
  502: "The server of an image failed or cannot be reached",
  503: "Not ready, or stopping",
  504: "The request exceeded its time limit",
  507: "The server's disk is full",
} as const;

type Failure = keyof typeof DESCRIPTIONS;

/** Failures of a route: those named, and those that any route has. */
export function failures<Code extends Failure>(
  ...codes: Code[]
): Record<Code | 401 | 403 | 429, JsonAnswer<typeof errorSchema>> {
  return Object.fromEntries(
    [...codes, 401, 403, 429].map((code) => [code, failure(code as Failure)]),
  ) as Record<Code | 401 | 403 | 429, JsonAnswer<typeof errorSchema>>;
}

function failure(code: Failure) {
  return json(DESCRIPTIONS[code], errorSchema);
}

/** 202, with the URL of the job. */
export const acceptedJob = {
  ...json("Accepted: see Location", jobSchema),
  headers: {
    Location: {
      description: "URL of the job",
      schema: { type: "string" as const },
    },
  },
};
