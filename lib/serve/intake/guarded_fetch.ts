/**
 * Fetches from allow-listed hosts only. Every redirect is checked like the first
 * URL, and the connection goes to the IP address that was checked, so that a
 * name which later resolves to another one gains nothing (DNS rebinding).
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
import {
  bucketAddress,
  bucketUrl,
  cloudAddress,
  type CloudBucket as Bucket,
} from "../../image/bytes/cloud.ts";
import { MAX_REDIRECTS, REDIRECTS } from "../../image/bytes/signed_fetch.ts";
import { hideQueries } from "../tracing.ts";
import { arePublicAddresses, isLinkLocal } from "./addresses.ts";

/** Options of a request. */
interface FetchOptions {
  headers?: Record<string, string>;
  signal?: AbortSignal;
  /** Returns a redirect in place of following it. */
  redirect?: "manual";
}

/** Like `fetch`, restricted to the allowed hosts. */
export interface GuardedFetch {
  (url: string | URL, options?: FetchOptions): Promise<Response>;
  /** True for the objects of listed buckets. */
  maySign(address: string): boolean;
}

/**
 * Makes a fetch that reaches only the hosts in `allowed` ("host", "host:port",
 * or a bucket as "s3://bucket"). A name must resolve to public addresses; a
 * listed IP address may be private, because the operator chose it.
 */
export function guardedFetch(hosts: readonly string[]): GuardedFetch {
  hideQueries();
  const maySign = (address: string) => isOfListedBucket(address, hosts);
  async function fetchAllowed(
    address: string | URL,
    options: FetchOptions = {},
  ): Promise<Response> {
    let url = new URL(address);
    for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
      assertAllowed(url, hosts);
      const message = await send(url, options);
      const { location } = message.headers;
      const isRedirect = REDIRECTS.includes(message.statusCode!) && location;
      if (!isRedirect || options.redirect === "manual") {
        return response(message);
      }
      message.destroy(); // its body is not needed
      url = new URL(location, url);
    }
    throw new ImageRefusedError(
      `Cannot fetch ${
        withoutSecrets(address)
      }: it redirects more than ${MAX_REDIRECTS} times; give its final URL`,
    );
  }
  return Object.assign(fetchAllowed, { maySign });
}

/**
 * True if the operator listed the bucket of the object at `address`: only then
 * is it fetched with the server's credentials.
 */
export function isOfListedBucket(
  address: string,
  allowed: readonly string[],
): boolean {
  const object = cloudAddress(address);
  return object !== undefined &&
    bucketsOf(allowed).some((listed) =>
      listed.service === object.service && listed.bucket === object.bucket
    );
}

function bucketsOf(allowed: readonly string[]): Bucket[] {
  return allowed.flatMap((entry) => bucketAddress(entry) ?? []);
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

/** True if an entry `host` of the list can match any URL. */
export function isAllowable(host: string): boolean {
  const url = `http://${host}/`;
  if (bucketAddress(host) !== undefined) return true;
  return !host.includes("*") && URL.canParse(url) &&
    isAllowed(new URL(url), [host]);
}

function isAllowed(url: URL, allowed: readonly string[]): boolean {
  const hosts = new Set(allowed.map((host) => host.toLowerCase()));
  const isHttp = url.protocol === "http:" || url.protocol === "https:";
  const name = url.hostname.replace(/\.$/, "");
  const listed = hosts.has(url.host) ||
    (url.port === "" && hosts.has(name)) ||
    hosts.has(`${name}:${url.port || (url.protocol === "http:" ? 80 : 443)}`) ||
    isInBucket(url, allowed);
  const isPlain = url.username === "" && url.password === "";
  // A cloud's metadata service is never allowed, even if it is listed.
  return isHttp && isPlain && listed && !isLinkLocal(name);
}

/** True if the URL is that of an object of a listed bucket. */
function isInBucket({ href }: URL, allowed: readonly string[]): boolean {
  return bucketsOf(allowed).some((bucket) => {
    const base = bucketUrl(bucket);
    return base !== undefined && URL.canParse(base) &&
      href.startsWith(`${new URL(base).href.replace(/\/$/, "")}/`);
  });
}

/** Sends one request, without following redirects. */
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

/**
 * DNS lookup that fails unless all addresses are public; never called for IP
 * literals.
 */
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
      // Without the permission Deno would end the Worker.
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

/**
 * A URL for messages and logs, without its query, which may hold a signature.
 */
export function withoutSecrets(address: string | URL): string {
  const url = new URL(address);
  return isIP(url.hostname) || url.host
    ? `${url.protocol}//${url.host}${url.pathname}`
    : `${url.protocol}${url.pathname}`;
}
