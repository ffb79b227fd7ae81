/**
 * Checks the signatures of requests as the services do, with nothing of the code
 * that makes them.
 *
 * @module
 */
import { createHash, createHmac } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { CLOUD_VARIABLES } from "../../../lib/image/bytes/credentials.ts";

/** The parts of a request that are signed. */
export type SignedParts = Pick<IncomingMessage, "method" | "url" | "headers">;

/**
 * Checks AWS Signature Version 4: the error code of S3, or undefined if it is
 * right.
 */
export function faultOfV4(
  { method, url = "", headers }: SignedParts,
  { id, secret, region, token }: {
    id: string;
    secret: string;
    region: string;
    token?: string;
  },
): string | undefined {
  const form =
    /^AWS4-HMAC-SHA256 ?Credential=([^/]+)\/(\d{8})\/([^/]+)\/s3\/aws4_request, ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})$/;
  const [, keyId, day, keyRegion, names = "", signature] =
    form.exec(headers.authorization ?? "") ?? [];
  if (signature === undefined) return "AccessDenied";
  if (keyId !== id) return "InvalidAccessKeyId";
  if (keyRegion !== region) return "AuthorizationHeaderMalformed";
  if (headers["x-amz-security-token"] !== token) return "InvalidToken";
  const time = String(headers["x-amz-date"]);
  const signed = names.split(";");
  const amz = Object.keys(headers).filter((name) => name.startsWith("x-amz-"));
  const isWhole = ["host", ...amz].every((name) => signed.includes(name));
  if (!isWhole || !time.startsWith(day!)) return "AccessDenied";
  const [path = "", query = ""] = url.split("?");
  const canonical = [
    method,
    path.split("/").map((part) => rfc3986(decodeURIComponent(part))).join("/"),
    query,
    ...signed.map((name) => `${name}:${headers[name]}`),
    "",
    names,
    headers["x-amz-content-sha256"],
  ].join("\n");
  const text = [
    "AWS4-HMAC-SHA256",
    time,
    `${day}/${region}/s3/aws4_request`,
    createHash("sha256").update(canonical).digest("hex"),
  ].join("\n");
  const key = [day!, region, "s3", "aws4_request"].reduce(
    (key: string | Uint8Array, part) =>
      createHmac("sha256", key).update(part).digest(),
    `AWS4${secret}`,
  );
  const right = createHmac("sha256", key).update(text).digest("hex");
  return right === signature ? undefined : "SignatureDoesNotMatch";
}

function rfc3986(part: string): string {
  return encodeURIComponent(part).replace(
    /[!'()*]/g,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

/** Azure's header of a request without a body, by the account's shared key. */
export function sharedKey(
  { method, url = "", headers }: SignedParts,
  { account, key }: { account: string; key: string },
): string {
  const header = (name: string) => String(headers[name] ?? "");
  const [path = "", query = ""] = url.split("?");
  const length = header("content-length");
  const text = [
    method,
    header("content-encoding"),
    header("content-language"),
    length === "0" ? "" : length,
    header("content-md5"),
    header("content-type"),
    header("date"),
    header("if-modified-since"),
    header("if-match"),
    header("if-none-match"),
    header("if-unmodified-since"),
    header("range"),
    ...Object.keys(headers).filter((name) => name.startsWith("x-ms-")).sort()
      .map((name) => `${name}:${header(name)}`),
    `/${account}${path}`,
    ...query.split("&").filter(Boolean).map((part) => part.replace("=", ":")),
  ].join("\n");
  const signature = createHmac(
    "sha256",
    new Uint8Array(Uint8Array.fromBase64(key)),
  )
    .update(text).digest("base64");
  return `SharedKey ${account}:${signature}`;
}

/** Runs `test` with these variables of clouds and no others. */
export async function withVariables<T>(
  variables: Record<string, string>,
  test: () => T | Promise<T>,
): Promise<T> {
  const names = Object.values(CLOUD_VARIABLES).flat();
  const before = names.map((name) => [name, Deno.env.get(name)] as const);
  for (const name of names) {
    const value = variables[name];
    if (value === undefined) Deno.env.delete(name);
    else Deno.env.set(name, value);
  }
  try {
    return await test();
  } finally {
    for (const [name, value] of before) {
      if (value === undefined) Deno.env.delete(name);
      else Deno.env.set(name, value);
    }
  }
}
