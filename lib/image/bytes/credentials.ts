/**
 * Signs requests for objects of clouds with the credentials of the environment:
 * AWS Signature Version 4 by aws4fetch (no dependencies, 20 KB), for S3 and for
 * the HMAC keys of Google Cloud Storage; Azure's Shared Key by hand, because
 * its library brings 15 packages for one line of text and its HMAC.
 *
 * Formats: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
 * and https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key
 *
 * @module
 */
import { ImageSourceError } from "../../errors.ts";
import {
  type AzureAccount,
  azureAccount,
  type CloudService,
  s3Region,
  type Variables,
} from "./cloud.ts";
import { googleToken } from "./google_token.ts";

/** A request as it is sent. */
export interface SignedRequest {
  url: URL;
  headers: Record<string, string>;
}

/** How requests to a service are signed. */
export interface Signer {
  /** Region of the signature, if it has one. */
  region?: string;
  /** Name of the variable that holds the credentials, for messages. */
  from: string;
  /** Adds credentials to a GET request of `url`. */
  sign(url: URL, headers: Record<string, string>): Promise<SignedRequest>;
}

/** Credentials of the environment for a service, if it holds any. */
export function signerOf(
  service: CloudService,
  variables: Variables,
): Signer | undefined {
  switch (service) {
    case "s3":
      return s3Signer(variables);
    case "gs":
      return gcsSigner(variables);
    case "az":
      return azureSigner(azureAccount(variables));
    default:
      return service satisfies never;
  }
}

/** The variables to set, for messages. */
export const CREDENTIALS: Record<CloudService, string> = {
  s3: "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
  gs:
    "GOOGLE_APPLICATION_CREDENTIALS, GOOGLE_OAUTH_ACCESS_TOKEN, or GS_ACCESS_KEY_ID and GS_SECRET_ACCESS_KEY (an HMAC key)",
  az: "AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN",
};

/** Every variable that is read, for the permissions of a server. */
export const CLOUD_VARIABLES: Record<CloudService, readonly string[]> = {
  s3: [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
  ],
  gs: [
    "GS_ACCESS_KEY_ID",
    "GS_SECRET_ACCESS_KEY",
    "GOOGLE_OAUTH_ACCESS_TOKEN",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "STORAGE_EMULATOR_HOST",
  ],
  az: [
    "AZURE_STORAGE_ACCOUNT",
    "AZURE_STORAGE_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_CONNECTION_STRING",
  ],
};

/**
 * A secret of the environment, without the end of line of the file it came from.
 *
 * @throws {ImageSourceError} If no header can hold it: one that tried would show
 *   it in its own error.
 */
function secret(name: string, variables: Variables): string | undefined {
  const value = variables(name)?.trim();
  if (value === undefined || /^[\x21-\x7e]+$/.test(value)) return value;
  throw new ImageSourceError(
    `the variable ${name} holds a space or another character that no key has`,
  );
}

function s3Signer(variables: Variables): Signer | undefined {
  const accessKeyId = secret("AWS_ACCESS_KEY_ID", variables);
  const secretAccessKey = secret("AWS_SECRET_ACCESS_KEY", variables);
  if (accessKeyId === undefined || secretAccessKey === undefined) {
    return undefined;
  }
  const sessionToken = secret("AWS_SESSION_TOKEN", variables);
  return awsSigner({
    accessKeyId,
    secretAccessKey,
    region: s3Region(variables) ?? "us-east-1",
    ...sessionToken !== undefined && { sessionToken },
  }, "AWS_ACCESS_KEY_ID");
}

function gcsSigner(variables: Variables): Signer | undefined {
  const accessKeyId = secret("GS_ACCESS_KEY_ID", variables);
  const secretAccessKey = secret("GS_SECRET_ACCESS_KEY", variables);
  if (accessKeyId !== undefined && secretAccessKey !== undefined) {
    const key = { accessKeyId, secretAccessKey, region: "auto" };
    return awsSigner(key, "GS_ACCESS_KEY_ID");
  }
  const token = secret("GOOGLE_OAUTH_ACCESS_TOKEN", variables);
  if (token !== undefined) {
    return bearer("GOOGLE_OAUTH_ACCESS_TOKEN", () => Promise.resolve(token));
  }
  const file = variables("GOOGLE_APPLICATION_CREDENTIALS");
  return file === undefined
    ? undefined
    : bearer("GOOGLE_APPLICATION_CREDENTIALS", () => googleToken(file));
}

function bearer(from: string, token: () => Promise<string>): Signer {
  return {
    from,
    sign: async (url, headers) => ({
      url,
      headers: { ...headers, authorization: `Bearer ${await token()}` },
    }),
  };
}

interface AwsKey {
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken?: string;
  region: string;
}

function awsSigner(key: AwsKey, from: string): Signer {
  return {
    from,
    region: key.region,
    async sign(url, headers) {
      const { AwsV4Signer } = await import("aws4fetch"); // not in most runs
      const signer = new AwsV4Signer({ url: url.href, service: "s3", ...key });
      const signed = await signer.sign();
      // Only the host and the headers of AWS are signed: a proxy may change
      // others on the way.
      return {
        url,
        headers: { ...headers, ...Object.fromEntries(signed.headers) },
      };
    },
  };
}

function azureSigner(account: AzureAccount | undefined): Signer | undefined {
  if (account?.key !== undefined) {
    return sharedKeySigner({ name: account.name, key: account.key });
  }
  if (account?.sas === undefined) return undefined;
  const { sas } = account;
  return {
    from: "AZURE_STORAGE_SAS_TOKEN",
    sign: (url, headers) => {
      const signed = new URL(url);
      signed.search = sas;
      return Promise.resolve({ url: signed, headers });
    },
  };
}

// The first version of Azure's protocol that has byte ranges of any size.
const AZURE_VERSION = "2021-08-06";

function sharedKeySigner(
  { name, key: text }: { name: string; key: string },
): Signer {
  const key = keyOf(text);
  return {
    from: "AZURE_STORAGE_KEY",
    async sign(url, headers) {
      const dated = {
        "x-ms-date": new Date().toUTCString(),
        "x-ms-version": AZURE_VERSION,
      };
      const text = [
        "GET",
        ...Array(10).fill(""), // ten headers that are not sent
        headers.range ?? "",
        ...Object.entries(dated).map(([name, value]) => `${name}:${value}`),
        `/${name}${url.pathname}`,
      ].join("\n");
      const signature = await hmac(key, text);
      return {
        url,
        headers: {
          ...headers,
          ...dated,
          authorization: `SharedKey ${name}:${signature}`,
        },
      };
    },
  };
}

/** @throws {ImageSourceError} If it is not base64. */
function keyOf(text: string): Uint8Array<ArrayBuffer> {
  try {
    return Uint8Array.fromBase64(text);
  } catch { // its message may show the key
    throw new ImageSourceError(
      "the key of Azure's account is not base64: copy it whole into AZURE_STORAGE_KEY",
    );
  }
}

/** HMAC-SHA256 of `text`, base64. */
async function hmac(
  key: Uint8Array<ArrayBuffer>,
  text: string,
): Promise<string> {
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const imported = await crypto.subtle.importKey("raw", key, algorithm, false, [
    "sign",
  ]);
  const bytes = new TextEncoder().encode(text);
  const signature = await crypto.subtle.sign("HMAC", imported, bytes);
  return new Uint8Array(signature).toBase64();
}
