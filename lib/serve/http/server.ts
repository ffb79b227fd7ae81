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
import { hideQueries } from "../tracing.ts";
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
  /** Called when the listener accepted no more, and was opened again. */
  onReopened: () => void;
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
const WATCH_MS = 1000, ACCEPT_MS = 3000;
const REOPENINGS = 30; // a second apart

/** Answers requests by `handle`. @throws {Error} If the address is not free. */
export async function serveHttp(
  handle: Handle,
  { hostname, port, limits, onError, onReopened }: HttpOptions,
): Promise<HttpServer> {
  hideQueries();
  const { stallMs } = limits;
  const active = new Set<ServerResponse>();
  const idle = new EventTarget();
  const stopped = new AbortController();
  const take = (incoming: IncomingMessage, outgoing: ServerResponse) => {
    active.add(outgoing);
    outgoing.once("close", () => {
      active.delete(outgoing);
      if (active.size === 0) idle.dispatchEvent(new Event("idle"));
    });
    if (stopped.signal.aborted) outgoing.setHeader("connection", "close");
    answer({ incoming, outgoing }, handle, stallMs).catch(onError);
  };
  const servers = [await open(take, { hostname, port, limits })];
  const address = servers[0]!.address() as AddressInfo;
  const reopen = async () => {
    servers.at(-1)!.close();
    servers.push(await open(take, { hostname, port: address.port, limits }));
    onReopened();
  };
  const own = { hostname, port: address.port };
  const failed = watch(own, {
    server: () => servers.at(-1)!,
    reopen,
    stopped: stopped.signal,
  });
  failed.catch(() => {}); // whoever listens may look later
  return {
    port: address.port,
    failed,
    async shutdown() {
      stopped.abort();
      servers.at(-1)!.close();
      if (active.size > 0) {
        await new Promise((done) =>
          idle.addEventListener("idle", done, { once: true })
        );
      }
      for (const server of servers) server.closeAllConnections();
    },
  };
}

/** A server that listens and hands its requests to `take`. */
async function open(
  take: (incoming: IncomingMessage, outgoing: ServerResponse) => void,
  { hostname, port, limits }: Pick<
    HttpOptions,
    "hostname" | "port" | "limits"
  >,
): Promise<Server> {
  const server = createServer({
    connectionsCheckingInterval: CHECK_MS,
    headersTimeout: limits.headersMs,
    keepAliveTimeout: limits.idleMs,
    requestTimeout: 0, // bodies have a pace instead
  });
  server.maxConnections = limits.connections;
  server.on("request", take);
  server.on("checkContinue", take); // which continues once the body is read
  server.listen(port, hostname);
  await once(server, "listening");
  server.on("error", () => {}); // it accepts no more then, which is watched
  return server;
}

/** Opens the listener again when it accepts nothing more. */
async function watch(
  address: { hostname: string; port: number },
  { server, reopen, stopped }: {
    server: () => Server;
    reopen: () => Promise<void>;
    stopped: AbortSignal;
  },
): Promise<never> {
  let failures = 0;
  for (;;) {
    await pause(WATCH_MS, undefined, { signal: stopped, ref: false })
      .catch(() => new Promise(() => {})); // stopped: it cannot fail
    if (failures === 0 && await connects(address, server())) continue;
    try {
      await reopen();
      failures = 0;
    } catch (cause) {
      if (++failures < REOPENINGS) continue;
      throw new ListenerError(
        `The listener failed, and cannot be opened again: ${
          (cause as Error).message
        }; start the server again`,
        { cause },
      );
    }
  }
}

/** Connects to the own address; false if that is not accepted in time. */
async function connects(
  address: { hostname: string; port: number },
  server: Server,
): Promise<boolean> {
  let isAccepted = false;
  const accept = () => isAccepted = true;
  for (const event of ["connection", "drop"]) server.on(event, accept);
  const signal = AbortSignal.timeout(ACCEPT_MS);
  try {
    using _connection = await Deno.connect({ ...address, signal });
    while (!isAccepted && !signal.aborted) await pause(20);
    return isAccepted;
  } catch {
    return !signal.aborted; // no file for this end of it: the next look tells
  } finally {
    for (const event of ["connection", "drop"]) server.off(event, accept);
  }
}
