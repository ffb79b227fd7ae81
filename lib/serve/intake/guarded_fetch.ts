/**
 * Fetches from allow-listed hosts only. Each redirect is checked as the first
 * address was, and the address that is connected to is the one that was
 * checked: a name that resolves to something else later gains nothing.
 *
 * @module
 */
import { lookup as resolve } from "node:dns";
import { request as requestHttp } from "node:http";
import type { IncomingMessage, RequestOptions } from "node:http";
import { request as requestHttps } from "node:https";
import { isIP, type LookupFunction } from "node:net";
import { Readable } from "node:stream";
import { ImageRefusedError } from "../../errors.ts";
import { arePublicAddresses, isLinkLocal } from "./addresses.ts";

/** What a request is made with. */
interface FetchOptions {
  headers?: Record<string, string>;
  signal?: AbortSignal;
}

/** As `fetch`, for the hosts that are allowed. */
export type GuardedFetch = (
  url: string | URL,
  options?: FetchOptions,
) => Promise<Response>;

const MAX_REDIRECTS = 5;
const REDIRECTS = [301, 302, 303, 307, 308];

/**
 * A fetch that reaches the hosts in `allowed` ("host" or "host:port") and no
 * other. A name must resolve to public addresses; an address that is listed
 * itself is taken at the operator's word.
 */
export function guardedFetch(hosts: readonly string[]): GuardedFetch {
  return async function fetchAllowed(address, options = {}) {
    let url = new URL(address);
    for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
      assertAllowed(url, hosts);
      const message = await send(url, options);
      const { location } = message.headers;
      if (!REDIRECTS.includes(message.statusCode!) || !location) {
        return response(message);
      }
      message.destroy(); // its body is of no use
      url = new URL(location, url);
    }
    throw new ImageRefusedError(
      `Cannot fetch ${withoutSecrets(address)}: it redirects too often`,
    );
  };
}

/**
 * Checks that the operator listed the host of `url`.
 *
 * @throws {ImageRefusedError}
 */
export function assertAllowed(url: URL, allowed: readonly string[]): void {
  if (isAllowed(url, allowed)) return;
  throw new ImageRefusedError(
    `Cannot fetch from ${
      url.host || url.protocol
    }: it is not an allowed host (--allow-host)`,
  );
}

/** Whether any URL is allowed where `host` is listed. */
export function isAllowable(host: string): boolean {
  const url = `http://${host}/`;
  return !host.includes("*") && URL.canParse(url) &&
    isAllowed(new URL(url), [host]);
}

function isAllowed(url: URL, allowed: readonly string[]): boolean {
  const hosts = new Set(allowed.map((host) => host.toLowerCase()));
  const isHttp = url.protocol === "http:" || url.protocol === "https:";
  const name = url.hostname.replace(/\.$/, "");
  const listed = hosts.has(url.host) ||
    (url.port === "" && hosts.has(name)) ||
    hosts.has(`${name}:${url.port || (url.protocol === "http:" ? 80 : 443)}`);
  const isPlain = url.username === "" && url.password === "";
  // The metadata of a cloud are nobody's images, whoever lists them.
  return isHttp && isPlain && listed && !isLinkLocal(name);
}

/** Sends one request; nothing is followed. */
function send(
  url: URL,
  { headers = {}, signal }: FetchOptions,
): Promise<IncomingMessage> {
  const send = url.protocol === "https:" ? requestHttps : requestHttp;
  const options: RequestOptions = {
    headers: { ...headers, "accept-encoding": "identity" },
    lookup: lookupPublic(url.port || DEFAULT_PORTS[url.protocol]!),
    ...(signal && { signal }),
  };
  return new Promise((done, fail) => {
    const request = send(url, options, done);
    request.on("error", fail);
    request.end();
  });
}

const DEFAULT_PORTS: Record<string, string> = {
  "http:": "80",
  "https:": "443",
};

/** DNS that gives public addresses or fails. A literal is never looked up. */
function lookupPublic(port: string): LookupFunction {
  return function lookup(hostname, options, callback) {
    const refuse = (reason: string) =>
      callback(
        new ImageRefusedError(`Cannot fetch from ${hostname}: ${reason}`),
        "",
      );
    resolve(hostname, { all: true }, (error, addresses) => {
      if (error) return callback(error, "");
      if (!arePublicAddresses(addresses.map(({ address }) => address))) {
        return refuse("its address is not public");
      }
      // Asked for without it, Deno would end the Worker.
      const isPermitted = addresses.every(({ address }) =>
        Deno.permissions.querySync({
          name: "net",
          host: `${isIP(address) === 6 ? `[${address}]` : address}:${port}`,
        }).state === "granted"
      );
      if (!isPermitted) return refuse("Deno is not permitted its address");
      if (options.all) callback(null, addresses);
      else callback(null, addresses[0]!.address, addresses[0]!.family);
    });
  };
}

function response(message: IncomingMessage): Response {
  const status = message.statusCode!;
  const headers = new Headers();
  for (const [name, value] of Object.entries(message.headers)) {
    if (typeof value === "string") headers.set(name, value);
  }
  const empty = status === 204 || status === 304;
  const body = Readable.toWeb(message) as ReadableStream<Uint8Array>;
  return new Response(empty ? null : body, { status, headers });
}

/** A URL for messages and logs: its query may hold a signature. */
export function withoutSecrets(address: string | URL): string {
  const url = new URL(address);
  return isIP(url.hostname) || url.host
    ? `${url.protocol}//${url.host}${url.pathname}`
    : `${url.protocol}${url.pathname}`;
}
