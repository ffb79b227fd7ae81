/**
 * Middleware of every request: request id, log, metrics and access.
 *
 * @module
 */
import type { Context, MiddlewareHandler } from "hono";
import { matchedRoutes } from "hono/route";
import { secureHeaders } from "hono/secure-headers";
import { isLoopback } from "../lib/serve/intake/addresses.ts";
import {
  type Caller,
  hasRole,
  LOCAL_CALLER,
  type Role,
} from "../lib/serve/auth.ts";
import {
  chunksOf,
  readBody,
  unpackedBody,
} from "../lib/serve/intake/paced_body.ts";
import { ForbiddenError, TooLargeError } from "../lib/serve/errors.ts";
import type { HeldBody } from "../lib/serve/intake/body_room.ts";
import type { Server } from "../lib/serve/server.ts";
import { nameSpan } from "../lib/serve/tracing.ts";
import type { Env } from "./env.ts";

const REQUEST_ID = /^[\w.-]{1,128}$/;

/** Sets the request id, then counts and logs the answer. */
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
    const caller = c.get("caller") as Caller | undefined; // unset if refused
    const ms = performance.now() - started;
    const route = routeOf(c);
    metrics.request({
      route: route ?? "none",
      method,
      code,
      seconds: ms / 1000,
    });
    if (route !== undefined) nameSpan({ method, route });
    const level = code >= 500 ? "error" : "info";
    log(level, "request", {
      requestId,
      method,
      path,
      code,
      ms: Math.round(ms),
      ...(caller?.name && { caller: caller.name }),
    });
  };
}

/**
 * Pattern of the route that answered, if any did; paths would make unlimited
 * labels.
 */
function routeOf(c: Context): string | undefined {
  return matchedRoutes(c).findLast(({ path }) => !path.includes("*"))?.path;
}

/**
 * Cancels the body of an answer to HEAD: Hono drops it, but leaves its file
 * open.
 */
export function headed(): MiddlewareHandler<Env> {
  return async function head(c, next) {
    await next();
    if (c.req.method === "HEAD") await c.res.body?.cancel();
  };
}

// Paths without secrets, which probes and browsers request without a token.
const OPEN =
  /^\/(|livez|readyz|healthz|openapi\.json|v2\/health\/\w+|(docs|viewer)(\/.*)?)$/;

/**
 * Admits requests with a token; without tokens, those of this machine only.
 */
export function guarded({ tokens }: Server): MiddlewareHandler<Env> {
  return async function guard(c, next) {
    if (tokens === undefined) {
      assertLocal(c);
      c.set("caller", LOCAL_CALLER);
    } else if (!OPEN.test(c.req.path)) {
      const header = c.req.header("authorization");
      c.set("caller", tokens.callerOf(header, c.env.address));
    }
    await next();
  };
}

/** Admits callers of a role, on the routes that declare it. */
export function allowed(role: Role): MiddlewareHandler<Env> {
  return async function allow(c, next) {
    assertRole(c, role);
    await next();
  };
}

/** @throws {ForbiddenError} If the caller's role does not suffice. */
export function assertRole(c: Context<Env>, role: Role): void {
  const caller = c.get("caller");
  if (hasRole(caller, role)) return;
  throw new ForbiddenError(
    `The token "${caller.name}" has the role "${caller.role}", and this needs "${role}": ask the operator`,
  );
}

/** Without a token, refuses requests from web pages in a local browser. */
function assertLocal(c: Context): void {
  const { hostname, host } = new URL(c.req.url);
  const site = c.req.header("sec-fetch-site");
  // Browsers without Sec-Fetch-Site name the page's origin, "null" if opaque,
  // in what forms and scripts send.
  const origin = c.req.header("origin");
  const isForeign = site === "cross-site" || site === "same-site" ||
    (origin !== undefined && hostOf(origin) !== host);
  // A site whose name resolves to this machine would look local (DNS
  // rebinding).
  if (isLoopback(hostname) && !isForeign) return;
  throw new ForbiddenError(
    "Requests from other sites are refused: without a token the server is for this machine only; start it with --token-file",
  );
}

function hostOf(origin: string): string | undefined {
  return URL.canParse(origin) ? new URL(origin).host : undefined;
}

// The only style that OpenSeadragon 6 writes into the page.
const OPENSEADRAGON_STYLE =
  "'sha256-9xTiqzfwFaL2SGb1rmr8gysEwVVjIvqWAgmZgqFqpEE='";

const REPORT = /^\/v1\/jobs\/[^/]+\/report$/;

/** Headers that limit a browser to displaying an answer. */
export function secured(): MiddlewareHandler<Env> {
  const strictTransportSecurity = false; // set by the proxy that ends TLS
  const strict = secureHeaders({
    strictTransportSecurity,
    contentSecurityPolicy: { defaultSrc: ["'none'"] },
  });
  // The page uses inline styles, and icons from data: URLs.
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
  const ofViewer = secureHeaders({
    strictTransportSecurity,
    contentSecurityPolicy: {
      defaultSrc: ["'none'"],
      scriptSrc: ["'self'"],
      styleSrc: ["'self'", OPENSEADRAGON_STYLE],
      imgSrc: ["'self'", "blob:"], // tiles, which are fetched with the token
      connectSrc: ["'self'"],
      formAction: ["'none'"],
      frameAncestors: ["'none'"],
      baseUri: ["'none'"],
    },
  });
  // One page with its style and pictures in it.
  const ofReport = secureHeaders({
    strictTransportSecurity,
    contentSecurityPolicy: {
      defaultSrc: ["'none'"],
      styleSrc: ["'unsafe-inline'"],
      imgSrc: ["data:"],
      frameAncestors: ["'none'"],
      sandbox: [],
    },
  });
  return function secure(c, next) {
    const { path } = c.req;
    if (path === "/") return ofViewer(c, next);
    if (REPORT.test(path)) return ofReport(c, next);
    const headers = path.startsWith("/docs") ? ofDocs : strict;
    return headers(c, next);
  };
}

/** Decompresses bodies, so that limits apply to the decompressed bytes. */
export function unpacked(): MiddlewareHandler<Env> {
  return async function unpack(c, next) {
    const { body } = c.req.raw;
    const encoding = c.req.header("content-encoding") ?? "identity";
    if (body !== null && !/^identity$/i.test(encoding)) {
      const headers = new Headers(c.req.raw.headers);
      headers.delete("content-encoding");
      headers.delete("content-length"); // that of the compressed bytes
      c.req.raw = new Request(c.req.raw, {
        body: unpackedBody(body, encoding),
        headers,
      });
    }
    await next();
  };
}

// Its handler reads the body, of which JSON is the beginning or all.
const INFERENCE = /^\/v2\/models\/.*\/infer$/;
// Their JSON may be larger than that of other requests.
const OBJECTS = "/v1/annotations/image";

/**
 * Reads JSON bodies into memory within their limits, and holds them until the
 * request is answered; images are streamed.
 */
export function boundedJson(
  { limits, bodies }: Server,
): MiddlewareHandler<Env> {
  const { requestBytes, objectsBytes, pace } = limits;
  return async function boundJson(c, next) {
    const isInference = INFERENCE.test(c.req.path);
    const mostBytes = c.req.path === OBJECTS ? objectsBytes : requestBytes;
    const tooLarge =
      `The JSON body has more than ${mostBytes} bytes: send less at a time`;
    const isLarge = (isInference || mostBytes > requestBytes) &&
      (announcedBytes(c) ?? Infinity) > requestBytes;
    using held = bodies.enter({ isLarge });
    c.set("heldBody", held);
    const { body, signal } = c.req.raw;
    const isRead = !isInference && isJson(c.req.header("content-type") ?? "");
    if (body !== null && isRead) {
      if ((announcedBytes(c) ?? 0) > mostBytes) {
        throw new TooLargeError(tooLarge);
      }
      const chunks = chunksOf(body, {
        mostBytes,
        pace,
        tooLarge,
        signal,
      });
      const text = new TextDecoder().decode(await readBody(chunks, held));
      // Where Hono looks first: a promise, whatever its type says. Another
      // Request would cost more than all of the JSON.
      c.req.bodyCache.text = Promise.resolve(text) as unknown as string;
    }
    await next();
  };
}

/** Frees the JSON of a request that is refused, before its answer. */
export function dropBody(c: Context<Env>): void {
  const held = c.get("heldBody") as HeldBody | undefined; // unset if refused before
  held?.[Symbol.dispose]();
  const { url, method, headers, signal } = c.req.raw;
  c.req.raw = new Request(url, { method, headers, signal });
  c.req.bodyCache = {};
  c.req.addValidatedData("json", {});
}

/** True if a content type is JSON. */
export function isJson(type: string): boolean {
  return /^application\/([\w.-]+\+)?json\b/i.test(type);
}

/** Announced length of the body, if sent. */
export function announcedBytes(c: Context): number | undefined {
  const length = Number(c.req.header("content-length") ?? NaN);
  return Number.isFinite(length) ? length : undefined;
}
