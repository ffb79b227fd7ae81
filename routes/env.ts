/**
 * Values in the context of every route.
 *
 * @module
 */
import { OpenAPIHono } from "@hono/zod-openapi";
import type { Caller } from "../lib/serve/auth.ts";
import type { Peer } from "../lib/serve/http/exchange.ts";
import type { HeldBody } from "../lib/serve/intake/body_room.ts";
import { inputError } from "../lib/serve/schemas.ts";

/** What comes with a request, and what the middleware sets. */
export interface Env {
  Bindings: Peer;
  Variables: {
    /** The caller's X-Request-Id, or a generated one. */
    requestId: string;
    /** Who sent the request; not set on open paths. */
    caller: Caller;
    /** What the request holds in memory of its body. */
    heldBody: HeldBody;
  };
}

/** A group of routes; a faulty request gets a 400 that names the field. */
export function newRoutes(): OpenAPIHono<Env> {
  return new OpenAPIHono<Env>({
    defaultHook(result) {
      if (!result.success) throw inputError(result.error.issues);
    },
  });
}
