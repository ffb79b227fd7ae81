/**
 * The bearer tokens of the server: each has a name and a role.
 *
 * @module
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { LRUCache } from "lru-cache";
import { UsageError } from "../errors.ts";
import { BusyError, UnauthorizedError } from "./errors.ts";

/** Roles; each may do what those before it may. */
export const ROLES = ["classify", "train", "admin"] as const;

export type Role = (typeof ROLES)[number];

/** Who sent a request. */
export interface Caller {
  /** Name of the token; null for the only token of a file, or without one. */
  name: string | null;
  role: Role;
}

/** Everyone, on a server without tokens: it serves this machine only. */
export const LOCAL_CALLER: Caller = { name: null, role: "admin" };

/** True if `caller` may do what needs `role`. */
export function hasRole(caller: Caller, role: Role): boolean {
  return ROLES.indexOf(caller.role) >= ROLES.indexOf(role);
}

/** A token, of which only the hash is known. */
interface Token extends Caller {
  digest: Uint8Array;
}

const MIN_LENGTH = 16; // characters
const LINE = /^([A-Za-z0-9][\w.-]{0,63})\s+(\w+)\s+sha256:([0-9a-f]{64})$/;
const FORM = `NAME ROLE sha256:HASH, where ROLE is one of ${ROLES.join(", ")}`;

// Wrong tokens of an address, after which it waits.
const MAX_FAILURES = 30;
const FAILURES_MS = 60_000;
// Addresses that are remembered; the oldest are forgotten.
const MAX_ADDRESSES = 10_000;

/** The tokens of a file. */
export class Tokens {
  readonly #tokens: readonly Token[];
  /** Wrong tokens by address, for a minute after the first. */
  readonly #failures = new LRUCache<string, number>({
    max: MAX_ADDRESSES,
    ttl: FAILURES_MS,
    noUpdateTTL: true,
  });
  readonly #accepted = new Set<Caller>();

  private constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  /**
   * Reads a file of tokens: one a line as `NAME ROLE sha256:HASH`, lines of `#`
   * left out; or a single token in plain text, which is an admin's.
   *
   * @throws {UsageError} If it is missing, or a line is wrong.
   */
  static async read(file: string): Promise<Tokens> {
    let text: string;
    try {
      text = await Deno.readTextFile(file);
    } catch (cause) {
      throw new UsageError(`Cannot read the token in ${file}`, { cause });
    }
    return new Tokens(
      text.includes("sha256:") ? hashed(file, text) : [plain(file, text)],
    );
  }

  /**
   * Tells who sent a request.
   *
   * An address that sent many wrong tokens is refused for a minute, unless its
   * token was accepted before: a right guess must not show meanwhile.
   *
   * @param header the Authorization header, if sent.
   * @param address IP address of the sender.
   * @throws {UnauthorizedError | BusyError}
   */
  callerOf(header: string | undefined, address: string): Caller {
    const caller = this.#find(/^Bearer +(\S+)$/i.exec(header ?? "")?.[1] ?? "");
    const network = networkOf(address);
    const failures = this.#failures.get(network) ?? 0;
    if (failures >= MAX_FAILURES && !(caller && this.#accepted.has(caller))) {
      throw new BusyError(
        "Too many requests with a wrong token: wait a minute",
        FAILURES_MS / 1000,
      );
    }
    if (caller) {
      this.#accepted.add(caller);
      return caller;
    }
    if (header) this.#failures.set(network, failures + 1);
    throw new UnauthorizedError(
      'Missing or invalid token: send "Authorization: Bearer TOKEN"',
    );
  }

  /** Compares digests, which have one length, with every token. */
  #find(given: string): Caller | undefined {
    const digest = digestOf(given);
    const [found] = this.#tokens.filter((token) =>
      timingSafeEqual(digest, token.digest)
    );
    return found;
  }
}

function hashed(file: string, text: string): Token[] {
  const tokens: Token[] = [];
  for (const [i, line] of text.split("\n").entries()) {
    if (/^\s*(#|$)/.test(line)) continue;
    const refuse = (why: string) =>
      new UsageError(`Line ${i + 1} of ${file} ${why}`);
    const [, name, role, hash] = LINE.exec(line.trim()) ?? [];
    if (!name || !isRole(role)) throw refuse(`is no token: write ${FORM}`);
    const digest = Uint8Array.fromHex(hash!);
    for (const other of tokens) {
      if (other.name === name) throw refuse(`repeats the name ${name}`);
      if (timingSafeEqual(other.digest, digest)) {
        throw refuse(`has the token of ${other.name}: give each its own`);
      }
    }
    tokens.push({ name, role, digest });
  }
  if (tokens.length === 0) {
    throw new UsageError(`${file} has no token: write ${FORM}`);
  }
  return tokens;
}

function isRole(word: string | undefined): word is Role {
  return (ROLES as readonly (string | undefined)[]).includes(word);
}

function plain(file: string, text: string): Token {
  const [token = ""] = text.trim().split(/\s/);
  if (token.length >= MIN_LENGTH) {
    return { name: null, role: "admin", digest: digestOf(token) };
  }
  throw new UsageError(
    `The token in ${file} has fewer than ${MIN_LENGTH} characters: write one with \`openssl rand -hex 32\``,
  );
}

/** The part of an address that its owner cannot change at will: /64 of IPv6. */
function networkOf(address: string): string {
  if (!address.includes(":") || address.startsWith("::ffff:")) return address;
  return address.split("::")[0]!.split(":").slice(0, 4).join(":");
}

function digestOf(text: string): Uint8Array {
  return createHash("sha256").update(text).digest();
}
