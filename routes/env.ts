/**
 * What every route finds in its context.
 *
 * @module
 */
import { OpenAPIHono, type z } from "@hono/zod-openapi";
import { InputError } from "../lib/serve/errors.ts";

/** Set by the middleware. */
export interface Env {
  Variables: {
    /** The caller's X-Request-Id, or one of ours. */
    requestId: string;
  };
}

/** A group of routes whose faulty requests are a 400 that names the field. */
export function newRoutes(): OpenAPIHono<Env> {
  return new OpenAPIHono<Env>({
    defaultHook(result) {
      if (!result.success) throw inputError(result.error.issues);
    },
  });
}

/** The first fault of a request, in words. */
function inputError(
  issues: readonly z.core.$ZodIssue[],
): InputError {
  const [issue] = issues;
  const path = issue?.code === "unrecognized_keys"
    ? [...issue.path, issue.keys[0]!]
    : issue?.path ?? [];
  const field = path.map(String).join(".") || "body";
  return new InputError(field, `Cannot take "${field}": ${issue?.message}`);
}
