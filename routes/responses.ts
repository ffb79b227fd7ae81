/**
 * Answers that many routes share, for the OpenAPI document.
 *
 * @module
 */
import { errorSchema, jobSchema } from "../lib/serve/schemas.ts";

/** What the document says of a JSON answer. */
interface JsonAnswer<Schema> {
  description: string;
  content: { "application/json": { schema: Schema } };
}

/** A JSON answer. */
export function json<Schema>(
  description: string,
  schema: Schema,
): JsonAnswer<Schema> {
  return { description, content: { "application/json": { schema } } };
}

const DESCRIPTIONS = {
  400: "The request is wrong; `field` names where",
  401: "No token, or a wrong one",
  403: "Not allowed, or not there: which of them is not told",
  404: "There is none",
  408: "The body came too slowly",
  409: "The state of things forbids it now",
  413: "More bytes than the limit",
  415: "A body or an image of a kind that is not taken",
  422: "An image that cannot be read",
  429: "The queue is full: come again after Retry-After seconds",
  502: "The server of an image is in trouble, or the way to it",
  503: "Not ready, or about to stop",
  504: "It took too long",
} as const;

type Failure = keyof typeof DESCRIPTIONS;

/** The failures of a route: those named, and those that any route has. */
export function failures<Code extends Failure>(
  ...codes: Code[]
): Record<Code | 401 | 403, JsonAnswer<typeof errorSchema>> {
  return Object.fromEntries(
    [...codes, 401, 403].map((code) => [code, failure(code as Failure)]),
  ) as Record<Code | 401 | 403, JsonAnswer<typeof errorSchema>>;
}

function failure(code: Failure) {
  return json(DESCRIPTIONS[code], errorSchema);
}

/** 202, and where to look for the result. */
export const acceptedJob = {
  ...json("Accepted: look at Location", jobSchema),
  headers: {
    Location: { description: "The job", schema: { type: "string" as const } },
  },
};
