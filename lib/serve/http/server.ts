/**
 * Listens for HTTP: bounded connections, which are closed when idle.
 *
 * By node:http, because of Deno.serve (2.9) a request cannot tell that its
 * client has left once the body was read, a shutdown fails bodies that arrive,
 * and idle connections stay for ever.
 *
 * @module
 */
import { once } from "node:events";
import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { NamedError } from "../../errors.ts";
import { answer, type Handle } from "./exchange.ts";

/** Limits of connections. */
export interface ConnectionLimits {
  /** Most connections; more are closed at once. */
  connections: number;
  /** Longest that the headers of a request may take, ms. */
  headersMs: number;
  /** Longest that a connection may idle between requests, ms. */
  idleMs: number;
  /** Longest that a client may read nothing of its answer, ms. */
  stallMs: number;
}

/** Options of {@linkcode serveHttp}. */
export interface HttpOptions {
  hostname: string;
  /** 0: one of the system's choice. */
  port: number;
  limits: ConnectionLimits;
  /** Called if the body of an answer fails. */
  onError: (error: unknown) => void;
}

/** A server that listens. */
export interface HttpServer {
  readonly port: number;
  /** Rejects with a {@linkcode ListenerError} if it can accept no more. */
  readonly failed: Promise<never>;
  /** Accepts nothing more; resolves when all requests are answered. */
  shutdown(): Promise<void>;
}

/** The listener ended: exit code 1. */
export class ListenerError extends NamedError {
  override name = "ListenerError";
}

// Interval of looking for connections that are over their time.
const CHECK_MS = 1000;
// A listener that has run out of files accepts nothing more, and says nothing.
const WATCH_MS = 5000, ACCEPT_MS = 10_000;

/** Answers requests by `handle`. @throws {Error} If the address is not free. */
export async function serveHttp(
  handle: Handle,
  { hostname, port, limits, onError }: HttpOptions,
): Promise<HttpServer> {
  const { connections, headersMs, idleMs, stallMs } = limits;
  const active = new Set<ServerResponse>();
  const idle = new EventTarget();
  const server = createServer({
    connectionsCheckingInterval: CHECK_MS,
    headersTimeout: headersMs,
    keepAliveTimeout: idleMs,
    requestTimeout: 0, // bodies have a pace instead
  });
  server.maxConnections = connections;
  let draining = false;
  const take = (incoming: IncomingMessage, outgoing: ServerResponse) => {
    active.add(outgoing);
    outgoing.once("close", () => {
      active.delete(outgoing);
      if (active.size === 0) idle.dispatchEvent(new Event("idle"));
    });
    if (draining) outgoing.setHeader("connection", "close");
    answer({ incoming, outgoing }, handle, stallMs).catch(onError);
  };
  server.on("request", take);
  server.on("checkContinue", take); // which continues once the body is read
  server.listen(port, hostname);
  await once(server, "listening");
  const address = server.address() as AddressInfo;
  const stopped = new AbortController();
  const failed = watch(
    server,
    { hostname, port: address.port },
    stopped.signal,
  );
  failed.catch(() => {}); // whoever listens may look later
  return {
    port: address.port,
    failed,
    async shutdown() {
      stopped.abort();
      draining = true;
      server.close();
      if (active.size > 0) {
        await new Promise((done) =>
          idle.addEventListener("idle", done, { once: true })
        );
      }
      server.closeAllConnections();
    },
  };
}

/** Rejects once the listener accepts nothing more. */
async function watch(
  server: Server,
  address: { hostname: string; port: number },
  stopped: AbortSignal,
): Promise<never> {
  const error = Promise.withResolvers<never>();
  server.on("error", error.reject);
  let accepted = 0;
  server.on("connection", () => accepted++);
  server.on("drop", () => accepted++);
  const looks = async () => {
    for (;;) {
      await pause(WATCH_MS, undefined, { signal: stopped, ref: false });
      const before = accepted;
      if (!await connects(address, () => accepted > before)) return;
    }
  };
  try {
    await Promise.race([error.promise, looks()]);
  } catch (cause) {
    if (stopped.aborted) return await new Promise(() => {});
    throw new ListenerError(
      `The listener failed: ${(cause as Error).message}`,
      { cause },
    );
  }
  throw new ListenerError(
    "The listener accepts no more connections, because the process had run out of files: raise the limit (ulimit -n), and start the server again",
  );
}

/** Connects to the own address; false if that is not accepted in time. */
async function connects(
  address: { hostname: string; port: number },
  isAccepted: () => boolean,
): Promise<boolean> {
  const deadline = performance.now() + ACCEPT_MS;
  const signal = AbortSignal.timeout(ACCEPT_MS);
  try {
    using _connection = await Deno.connect({ ...address, signal });
    while (!isAccepted() && performance.now() < deadline) await pause(50);
    return isAccepted();
  } catch {
    return !signal.aborted; // no file for this end of it: the next look tells
  }
}
