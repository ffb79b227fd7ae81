/**
 * Objects of S3, Google Cloud Storage and Azure Blob Storage: their addresses,
 * and the URLs that they are fetched from.
 *
 * @module
 */

/** A service, by the scheme of its addresses. */
export type CloudService = "s3" | "gs" | "az";

/** A bucket (a container, in Azure's words). */
export interface CloudBucket {
  service: CloudService;
  bucket: string;
}

/** An object of a bucket. */
export interface CloudAddress extends CloudBucket {
  key: string;
}

/** The variable of the environment, if it is set and may be read. */
export type Variables = (name: string) => string | undefined;

/** Variables of this process; those that Deno may not read count as unset. */
export function environment(name: string): string | undefined {
  const { state } = Deno.permissions.querySync({ name: "env", variable: name });
  return state === "granted" ? Deno.env.get(name) || undefined : undefined;
}

/** The object that an address of a cloud names; undefined for other addresses. */
export function cloudAddress(address: string): CloudAddress | undefined {
  const form = /^(?<service>s3|gs|az):\/\/(?<bucket>[^/]+)\/(?<key>.+)$/i;
  const { service, bucket = "", key = "" } = form.exec(address)?.groups ?? {};
  if (service === undefined || !isBucket(bucket) || hasDots(key)) {
    return undefined;
  }
  return { service: service.toLowerCase() as CloudService, bucket, key };
}

/** The bucket that `s3://NAME` and so on name; undefined for other words. */
export function bucketAddress(
  word: string,
): CloudBucket | undefined {
  const address = cloudAddress(`${word.replace(/\/$/, "")}/x`);
  if (address?.key !== "x") return undefined; // with a path
  const { service, bucket } = address;
  return { service, bucket };
}

// The rules of the three services together: such a name is a part of a host.
function isBucket(name: string): boolean {
  return /^[a-z0-9$][a-z0-9._-]*$/i.test(name);
}

/** A URL would lose such parts of a key, and name another object. */
function hasDots(key: string): boolean {
  return key.split("/").some((part) => part === "." || part === "..");
}

/**
 * The http form of a cloud's address; other URLs unchanged. Also those of an
 * account of Azure's that is not known.
 */
export function httpUrl(
  address: string,
  variables: Variables = environment,
): string {
  const object = cloudAddress(address);
  if (object === undefined) return address;
  const base = bucketUrl(object, variables);
  return base === undefined ? address : `${base}/${encoded(object.key)}`;
}

/** URL of a bucket, without a slash at its end; undefined without an account. */
export function bucketUrl(
  { service, bucket }: CloudBucket,
  variables: Variables = environment,
): string | undefined {
  switch (service) {
    case "s3":
      return s3Bucket(bucket, variables);
    case "gs": {
      const host = variables("STORAGE_EMULATOR_HOST");
      const base = host === undefined
        ? "https://storage.googleapis.com"
        : withScheme(host);
      return `${withoutSlash(base)}/${bucket}`;
    }
    case "az": {
      const base = azureAccount(variables)?.endpoint;
      return base && `${withoutSlash(base)}/${bucket}`;
    }
    default:
      return service satisfies never;
  }
}

function s3Bucket(bucket: string, variables: Variables): string {
  const endpoint = variables("AWS_ENDPOINT_URL_S3") ??
    variables("AWS_ENDPOINT_URL");
  if (endpoint !== undefined) return `${withoutSlash(endpoint)}/${bucket}`;
  const region = s3Region(variables);
  const host = region === undefined
    ? "s3.amazonaws.com"
    : `s3.${region}.amazonaws.com${region.startsWith("cn-") ? ".cn" : ""}`;
  return bucket.includes(".") // no certificate covers such a host
    ? `https://${host}/${bucket}`
    : `https://${bucket}.${host}`;
}

/** Region of the environment, if it states one. */
export function s3Region(variables: Variables): string | undefined {
  return variables("AWS_REGION") ?? variables("AWS_DEFAULT_REGION");
}

/** An account of Azure Blob Storage. */
export interface AzureAccount {
  name: string;
  endpoint: string;
  /** Base64. */
  key?: string | undefined;
  /** Query of a shared access signature, without its "?". */
  sas?: string | undefined;
}

/** The account that AZURE_STORAGE_* name, if they name one. */
export function azureAccount(variables: Variables): AzureAccount | undefined {
  const said = new Map(
    (variables("AZURE_STORAGE_CONNECTION_STRING") ?? "").split(";").map(
      (part) => {
        const [name = "", ...value] = part.split("=");
        return [name.trim().toLowerCase(), value.join("=").trim()];
      },
    ),
  );
  const name = said.get("accountname") ?? variables("AZURE_STORAGE_ACCOUNT");
  if (name === undefined) return undefined;
  const scheme = said.get("defaultendpointsprotocol") ?? "https";
  const suffix = said.get("endpointsuffix") ?? "core.windows.net";
  return {
    name,
    endpoint: said.get("blobendpoint") ?? `${scheme}://${name}.blob.${suffix}`,
    key: said.get("accountkey") ?? variables("AZURE_STORAGE_KEY"),
    sas: (said.get("sharedaccesssignature") ??
      variables("AZURE_STORAGE_SAS_TOKEN"))?.replace(/^\?/, ""),
  };
}

function encoded(key: string): string {
  return key.split("/").map(encodeURIComponent).join("/");
}

function withScheme(host: string): string {
  return /^https?:\/\//i.test(host) ? host : `http://${host}`;
}

function withoutSlash(url: string): string {
  return url.replace(/\/+$/, "");
}
