/**
 * One request of node:http as a `Request`, and the `Response` to it.
 *
 * @module
 */
import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { setImmediate } from "node:timers/promises";
import { endSpan, inSpan } from "../tracing.ts";

/** Who is at the other end of a connection. */
export interface Peer {
  /** IP address of the client, or of its proxy. */
  address: string;
  /** Waits for the first bytes of the body, or its end; the body has them yet. */
  bodyBegins(): Promise<void>;
}

/** Answers a request. It must not throw. */
export type Handle = (
  request: Request,
  peer: Peer,
) => Response | Promise<Response>;

/** Both sides of one request. */
export interface Exchange {
  incoming: IncomingMessage;
  outgoing: ServerResponse;
}

// After its answer a client may send the rest of a body, which is discarded,
// for so long: without that the answer would be lost with the connection.
const LINGER_MS = 5000;

/**
 * Answers one request. Its signal aborts if the client leaves before it has
 * the whole answer.
 *
 * @param stallMs longest that a client may read nothing of its answer.
 * @throws If the body of the answer fails; the connection is then closed.
 */
export async function answer(
  exchange: Exchange,
  handle: Handle,
  stallMs: number,
): Promise<void> {
  const { incoming, outgoing } = exchange;
  const left = new AbortController();
  outgoing.on("error", () => {}); // the client is gone, as "close" tells
  outgoing.on("close", () => {
    if (!outgoing.writableFinished) left.abort();
  });
  const body = new Body(exchange, left.signal);
  const peer = {
    // Not known any more once the client has left.
    address: incoming.socket.remoteAddress ?? "",
    bodyBegins: () => body.begins(),
  };
  try {
    const request = requestOf(exchange, body, left.signal);
    const response = request instanceof Response
      ? request
      : await inSpan(outgoing, () => handle(request, peer));
    const end = () => endSpan(outgoing, response.status);
    if (left.signal.aborted) end();
    else left.signal.addEventListener("abort", end);
    await send(response, exchange, stallMs, left.signal);
    if (!incoming.complete) endLater(exchange);
  } catch (error) {
    outgoing.destroy();
    if (!left.signal.aborted) throw error;
  }
}

/** The request, or the answer to one that cannot be a `Request`. */
function requestOf(
  { incoming }: Exchange,
  body: Body,
  signal: AbortSignal,
): Request | Response {
  const { method = "GET", headers, url = "/" } = incoming;
  const host = `http://${headers.host}`;
  const place = url.startsWith("/") ? host + url : url === "*" ? host : url;
  if (!URL.canParse(host) || !URL.canParse(place)) { // RFC 9112, section 3.2
    return refusal(400, {
      error:
        'The header "Host" is invalid: it must be a host or host:port, and the target a path',
      field: "host",
    });
  }
  if (method === "TRACE" || method === "TRACK") { // no Request may have them
    return refusal(405, { error: `${method} is not supported: see /docs` });
  }
  const hasBody = method !== "GET" && method !== "HEAD";
  return new Request(place, {
    method,
    headers: headersOf(incoming),
    body: hasBody ? body.stream() : null,
    signal,
  });
}

function refusal(
  status: number,
  { error, field }: { error: string; field?: string },
): Response {
  const requestId = crypto.randomUUID();
  return Response.json({ error, ...(field && { field }), requestId }, {
    status,
    headers: { "x-request-id": requestId, connection: "close" },
  });
}

function headersOf({ rawHeaders }: IncomingMessage): [string, string][] {
  return Array.from(
    { length: rawHeaders.length / 2 },
    (_, i) => [rawHeaders[2 * i]!, rawHeaders[2 * i + 1]!],
  );
}

/** A body, read from the connection as it is asked for. */
class Body {
  readonly #exchange: Exchange;
  readonly #left: AbortSignal;
  #chunks: AsyncIterator<Uint8Array<ArrayBuffer>> | undefined;
  /** The first chunk, if it was asked for and not taken. */
  #first: Promise<IteratorResult<Uint8Array<ArrayBuffer>>> | undefined;

  constructor(exchange: Exchange, left: AbortSignal) {
    this.#exchange = exchange;
    this.#left = left;
  }

  async begins(): Promise<void> {
    this.#first ??= this.#next();
    await this.#first;
  }

  stream(): ReadableStream<Uint8Array<ArrayBuffer>> {
    return new ReadableStream({
      pull: async (controller) => {
        const next = this.#first ?? this.#next();
        this.#first = undefined;
        try {
          const { done, value } = await next;
          if (done) controller.close();
          else controller.enqueue(value);
        } catch (error) {
          controller.error(this.#left.aborted ? this.#left.reason : error);
        }
      },
    }, { highWaterMark: 0 });
  }

  #next(): Promise<IteratorResult<Uint8Array<ArrayBuffer>>> {
    const { incoming, outgoing } = this.#exchange;
    if (!this.#chunks) {
      if (/^100-continue$/i.test(incoming.headers.expect ?? "")) {
        outgoing.writeContinue();
      }
      // The answer needs the connection, which a destroyed body would end.
      this.#chunks = incoming.iterator({ destroyOnReturn: false });
    }
    return this.#chunks.next();
  }
}

async function send(
  { status, headers, body }: Response,
  { incoming, outgoing }: Exchange,
  stallMs: number,
  left: AbortSignal,
): Promise<void> {
  outgoing.statusCode = status;
  for (const [name, value] of headers) outgoing.appendHeader(name, value);
  if (body === null || incoming.method === "HEAD") {
    await body?.cancel();
    outgoing.end();
    return;
  }
  const reader = body.getReader();
  try {
    let chunk = await reader.read();
    while (!chunk.done) {
      const next = reader.read();
      // An answer whose end is known has a Content-Length.
      const known = await Promise.race([next, setImmediate(undefined)]);
      if (known?.done) break;
      await write(outgoing, chunk.value, stallMs, left);
      chunk = await next;
    }
    outgoing.end(chunk.value);
  } catch (error) {
    reader.cancel(error).catch(() => {}); // it may be what failed
    throw error;
  }
}

/** Writes a chunk, at the pace of the client. @throws If it stalls or leaves. */
async function write(
  outgoing: ServerResponse,
  chunk: Uint8Array,
  stallMs: number,
  left: AbortSignal,
): Promise<void> {
  left.throwIfAborted();
  if (outgoing.write(chunk)) return;
  const stalled = new AbortController();
  const timer = setTimeout(() => stalled.abort(), stallMs);
  try {
    const signal = AbortSignal.any([left, stalled.signal]);
    await once(outgoing, "drain", { signal });
  } catch (error) {
    if (!stalled.signal.aborted) throw error;
    outgoing.destroy(); // not a fault of the answer
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/** Ends the connection of a client that does not stop sending its body. */
function endLater({ incoming }: Exchange): void {
  const { socket } = incoming; // the answer that has ended has none
  incoming.removeAllListeners("readable"); // of the body: it would not flow
  incoming.resume();
  const timer = setTimeout(() => socket.destroy(), LINGER_MS);
  incoming.once("close", () => clearTimeout(timer));
}
