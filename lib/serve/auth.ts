/**
 * The bearer token of the server.
 *
 * @module
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { UsageError } from "../errors.ts";

const MIN_LENGTH = 16; // characters

/**
 * Reads the token from a file: its first line.
 *
 * @throws {UsageError} If it is missing or too short to be a secret.
 */
export async function readToken(file: string): Promise<string> {
  let text: string;
  try {
    text = await Deno.readTextFile(file);
  } catch (cause) {
    throw new UsageError(`Cannot read the token in ${file}`, { cause });
  }
  const [token = ""] = text.trim().split(/\s/);
  if (token.length >= MIN_LENGTH) return token;
  throw new UsageError(
    `The token in ${file} has fewer than ${MIN_LENGTH} characters: write one with \`openssl rand -hex 32\``,
  );
}

/**
 * Checks the token of an Authorization header in constant time: it compares
 * digests, which have one length.
 */
export function bearsToken(header: string | undefined, token: string): boolean {
  const given = /^Bearer +(\S+)$/i.exec(header ?? "")?.[1] ?? "";
  return timingSafeEqual(digest(given), digest(token));
}

function digest(text: string): Uint8Array {
  return createHash("sha256").update(text).digest();
}
