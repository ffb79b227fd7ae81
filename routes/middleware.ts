/**
 * What happens around every request: its id, its line in the log, its place in
 * the metrics, and whether it may come in at all.
 *
 * @module
 */
import type { Context, MiddlewareHandler } from "hono";
import { matchedRoutes } from "hono/route";
import { secureHeaders } from "hono/secure-headers";
import { isLoopback } from "../lib/serve/intake/addresses.ts";
import { bearsToken } from "../lib/serve/auth.ts";
import {
  bytesOf,
  chunksOf,
  unpackedBody,
} from "../lib/serve/intake/paced_body.ts";
import {
  ForbiddenError,
  InputError,
  TooLargeError,
  UnauthorizedError,
} from "../lib/serve/errors.ts";
import type { Server } from "../lib/serve/server.ts";
import type { Env } from "./env.ts";

const REQUEST_ID = /^[\w.-]{1,128}$/;

/** Gives the request its id, and counts and logs its answer. */
export function observed({ metrics, log }: Server): MiddlewareHandler<Env> {
  return async function observe(c, next) {
    const started = performance.now();
    const given = c.req.header("x-request-id") ?? "";
    const requestId = REQUEST_ID.test(given) ? given : crypto.randomUUID();
    c.set("requestId", requestId);
    await next();
    c.header("x-request-id", requestId);
    const { method, path } = c.req;
    const code = c.res.status;
    const ms = performance.now() - started;
    metrics.request({ route: routeOf(c), method, code, seconds: ms / 1000 });
    const level = code >= 500 ? "error" : "info";
    log(level, "request", {
      requestId,
      method,
      path,
      code,
      ms: Math.round(ms),
    });
  };
}

/** The pattern of the route that answered: paths would be endless labels. */
function routeOf(c: Context): string {
  const route = matchedRoutes(c).findLast(({ path }) => !path.includes("*"));
  return route?.path ?? "none";
}

/** Ends the body of an answer to HEAD: Hono drops it, and leaves its file open. */
export function headed(): MiddlewareHandler<Env> {
  return async function head(c, next) {
    await next();
    if (c.req.method === "HEAD") await c.res.body?.cancel();
  };
}

const WITHOUT_BODY = [204, 205, 304];

/**
 * `handle`, whose answers to HEAD leave out how long they would be: Deno says
 * of an answer without a body that its length is 0, which that of GET is not.
 */
export function unmeasured<Rest extends unknown[]>(
  handle: (request: Request, ...rest: Rest) => Response | Promise<Response>,
): typeof handle {
  return async function answer(request, ...rest) {
    const response = await handle(request, ...rest);
    const hasBody = !WITHOUT_BODY.includes(response.status);
    if (request.method !== "HEAD" || !hasBody) return response;
    return new Response(ReadableStream.from([]), response);
  };
}

// What holds no secret, and what a probe or a browser asks for without one.
const OPEN =
  /^\/(|livez|readyz|healthz|openapi\.json|v2\/health\/\w+|docs(\/.*)?)$/;

/** Lets in who bears the token; without one, who sits at this machine. */
export function guarded({ token }: Server): MiddlewareHandler<Env> {
  return async function guard(c, next) {
    if (token === undefined) assertLocal(c);
    else if (
      !OPEN.test(c.req.path) &&
      !bearsToken(c.req.header("authorization"), token)
    ) {
      throw new UnauthorizedError(
        'Cannot let you in: send "Authorization: Bearer TOKEN"',
      );
    }
    await next();
  };
}

/** Without a token, no web page that a browser here has open may ask. */
function assertLocal(c: Context): void {
  if (!URL.canParse(c.req.url)) { // RFC 9112, section 3.2: it is a 400
    throw new InputError(
      "host",
      'Cannot read the header "Host": it must be a host, or host:port',
    );
  }
  const { hostname } = new URL(c.req.url);
  const site = c.req.header("sec-fetch-site");
  const isForeign = site === "cross-site" || site === "same-site";
  // A name of its own that leads here is how a page would come to look local.
  if (isLoopback(hostname) && !isForeign) return;
  throw new ForbiddenError(
    "Cannot let another site in: without a token this server is for this machine only",
  );
}

/** Headers that keep a browser from doing more with an answer than show it. */
export function secured(): MiddlewareHandler<Env> {
  const strictTransportSecurity = false; // for the proxy that speaks TLS to say
  const strict = secureHeaders({
    strictTransportSecurity,
    contentSecurityPolicy: { defaultSrc: ["'none'"] },
  });
  // The page draws with inline styles and shows its icons from data: addresses.
  const ofDocs = secureHeaders({
    strictTransportSecurity,
    contentSecurityPolicy: {
      defaultSrc: ["'none'"],
      scriptSrc: ["'self'"],
      styleSrc: ["'self'", "'unsafe-inline'"],
      imgSrc: ["'self'", "data:"],
      connectSrc: ["'self'"],
    },
  });
  return function secure(c, next) {
    const headers = c.req.path.startsWith("/docs") ? ofDocs : strict;
    return headers(c, next);
  };
}

/** Unpacks compressed bodies; what bounds a body then bounds what it holds. */
export function unpacked(): MiddlewareHandler<Env> {
  return async function unpack(c, next) {
    const { body } = c.req.raw;
    const encoding = c.req.header("content-encoding") ?? "identity";
    if (body !== null && !/^identity$/i.test(encoding)) {
      const headers = new Headers(c.req.raw.headers);
      headers.delete("content-encoding");
      headers.delete("content-length"); // that of the packed bytes
      c.req.raw = new Request(c.req.raw, {
        body: unpackedBody(body, encoding),
        headers,
      });
    }
    await next();
  };
}

/** Reads JSON bodies into memory, which bounds them; images are not. */
export function boundedJson({ limits }: Server): MiddlewareHandler<Env> {
  const { jsonBytes, pace } = limits;
  const tooLarge = `Cannot take a JSON body of more than ${jsonBytes} bytes`;
  return async function boundJson(c, next) {
    const { body, signal } = c.req.raw;
    if (body !== null && isJson(c.req.header("content-type") ?? "")) {
      if ((announcedBytes(c) ?? 0) > jsonBytes) {
        throw new TooLargeError(tooLarge);
      }
      const chunks = chunksOf(body, {
        ...{ mostBytes: jsonBytes, pace, tooLarge, signal },
      });
      c.req.raw = new Request(c.req.raw, { body: await bytesOf(chunks) });
    }
    await next();
  };
}

/** Whether a content type is JSON. */
export function isJson(type: string): boolean {
  return /^application\/([\w.-]+\+)?json\b/i.test(type);
}

/** Length of the body, where the sender says it. */
export function announcedBytes(c: Context): number | undefined {
  const length = Number(c.req.header("content-length") ?? NaN);
  return Number.isFinite(length) ? length : undefined;
}
