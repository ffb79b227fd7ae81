/**
 * Where NATS is, read without loading it.
 *
 * @module
 */
import { isIP } from "node:net";
import { UsageError } from "../../../errors.ts";

/**
 * Lifetime of a lease of shared jobs without a heartbeat, ms, the same for all
 * processes. A cluster of NATS that lost a node answers none for 10 s.
 */
export const SHARED_LEASE_MS = 15_000;

/** How to reach NATS. */
export interface NatsPlace {
  /**
   * nats://[USER:PASSWORD@]HOST:PORT[,HOST:PORT...][/PREFIX], or tls://. The
   * prefix is "zoomin" if omitted.
   */
  url: string;
  /** File of credentials, as `nsc` writes it. */
  credentials?: string | undefined;
  /** File of the certificate that signs the server's, PEM. */
  authority?: string | undefined;
}

/** Reads a URL of `--jobs`. @throws {UsageError} */
export function parsePlace(
  url: string,
): { servers: string[]; prefix: string; user?: string; pass?: string } {
  const [, scheme, user, pass, hosts, prefix = "zoomin"] =
    /^(nats|tls):\/\/(?:([^/:@]+):([^/:@]+)@)?([^/@?#]+)(?:\/([\w-]{1,64}))?\/?$/
      .exec(url) ?? [];
  if (scheme === undefined || hosts === undefined) {
    throw new UsageError(
      `--jobs must be nats://HOST:PORT, with several hosts between commas and a prefix of names behind a slash, not "${
        url.replace(/\/\/.*@/, "//")
      }"`,
    );
  }
  const address = hosts.split(",").find((host) => isIP(nameOf(host)) !== 0);
  if (scheme === "tls" && address !== undefined) {
    throw new UsageError(
      `--jobs tls://${address}: TLS checks the name of a host; give that in the place of its address`,
    );
  }
  const servers = hosts.split(",").map((host) => `${scheme}://${host}`);
  return {
    servers,
    prefix,
    ...(user !== undefined && { user: decodeURIComponent(user) }),
    ...(pass !== undefined && { pass: decodeURIComponent(pass) }),
  };
}

/** A host without its port. */
function nameOf(host: string): string {
  return host.replace(/:\d+$/, "").replace(/^\[(.*)\]$/, "$1");
}
