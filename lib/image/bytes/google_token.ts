/**
 * Access tokens of Google, by the credentials in a file: a service account, or
 * a user's own of `gcloud auth application-default login`.
 *
 * Format: RFC 7523 (JWT bearer), RFC 6749, section 6 (refresh tokens).
 *
 * @module
 */
import { sign } from "node:crypto";
import { ImageSourceError } from "../../errors.ts";
import { PassingError } from "./retry.ts";

const SCOPE = "https://www.googleapis.com/auth/devstorage.read_only";
const TOKEN_URI = "https://oauth2.googleapis.com/token";

// Life of a request for a token, and the time before the end of a token in
// which it is renewed.
const REQUEST_SECONDS = 600, MARGIN_MS = 60_000;

/** A token, and the time at which it is renewed. */
interface Token {
  token: string;
  untilMs: number;
}

// By file: a process asks once an hour.
const tokens = new Map<string, Promise<Token>>();

/**
 * An access token by the credentials in `file`.
 *
 * @throws {ImageSourceError} With the reason only, which shows none of them.
 */
export async function googleToken(file: string): Promise<string> {
  const last = tokens.get(file);
  const known = await last?.catch(() => undefined);
  if (known && Date.now() < known.untilMs) return known.token;
  // Else another request for it has begun meanwhile.
  if (tokens.get(file) === last) tokens.set(file, requestToken(file));
  return (await tokens.get(file)!).token;
}

async function requestToken(file: string): Promise<Token> {
  const { uri, form } = grantOf(await credentialsIn(file));
  const response = await fetch(uri, {
    method: "POST",
    body: new URLSearchParams(form),
    redirect: "error",
  });
  const { status } = response;
  if (!response.ok) {
    await response.body?.cancel();
    const said =
      `Google's token service answered ${status} to the credentials of GOOGLE_APPLICATION_CREDENTIALS`;
    throw status >= 500 ? new PassingError(said) : new ImageSourceError(said);
  }
  const { access_token: token, expires_in: seconds } = await response.json()
    .catch(() => ({}));
  if (typeof token !== "string" || !/^[\x21-\x7e]+$/.test(token)) {
    throw new ImageSourceError(
      "Google's token service answered without a token",
    );
  }
  const lifeMs = (Number(seconds) || 0) * 1000;
  return { token, untilMs: Date.now() + lifeMs - MARGIN_MS };
}

async function credentialsIn(file: string): Promise<Record<string, string>> {
  try {
    return JSON.parse(await Deno.readTextFile(file));
  } catch (cause) { // a parser's message would show what it read
    const reason = cause instanceof SyntaxError
      ? "it is not JSON"
      : cause instanceof Deno.errors.NotCapable
      ? "its reading is not permitted (--allow-read)"
      : "there is no such file";
    throw unusable(reason);
  }
}

/** What is sent for a token. */
function grantOf(
  credentials: Record<string, string>,
): { uri: string; form: Record<string, string> } {
  const { type, token_uri: uri = TOKEN_URI } = credentials ?? {};
  if (!isSafe(uri)) throw unusable("its token_uri is not an https URL");
  switch (type) {
    case "service_account":
      return {
        uri,
        form: {
          grant_type: "urn:ietf:params:oauth:grant-type:jwt-bearer",
          assertion: assertionOf(credentials, uri),
        },
      };
    case "authorized_user": {
      const { client_id = "", client_secret = "", refresh_token = "" } =
        credentials;
      return {
        uri,
        form: {
          grant_type: "refresh_token",
          client_id,
          client_secret,
          refresh_token,
        },
      };
    }
    default:
      throw unusable(
        'its type is neither "service_account" nor "authorized_user"; set GOOGLE_OAUTH_ACCESS_TOKEN',
      );
  }
}

/** Secrets are sent encrypted, or within this machine. */
function isSafe(uri: string): boolean {
  if (!URL.canParse(uri)) return false;
  const { protocol, hostname } = new URL(uri);
  return protocol === "https:" ||
    ["127.0.0.1", "localhost", "[::1]"].includes(hostname);
}

/** A signed request for a token. */
function assertionOf(
  { client_email: iss, private_key: key }: Record<string, string>,
  aud: string,
): string {
  const iat = Math.floor(Date.now() / 1000);
  const claims = { iss, scope: SCOPE, aud, iat, exp: iat + REQUEST_SECONDS };
  const text = [{ alg: "RS256", typ: "JWT" }, claims]
    .map((part) => base64url(new TextEncoder().encode(JSON.stringify(part))))
    .join(".");
  try {
    const bytes = new TextEncoder().encode(text);
    return `${text}.${base64url(sign("RSA-SHA256", bytes, key!))}`;
  } catch {
    throw unusable("its private_key is none");
  }
}

function base64url(bytes: Uint8Array): string {
  return bytes.toBase64({ alphabet: "base64url", omitPadding: true });
}

function unusable(reason: string): ImageSourceError {
  return new ImageSourceError(
    `the file of GOOGLE_APPLICATION_CREDENTIALS is of no use: ${reason}`,
  );
}
