/**
 * Fetches an object of a cloud, signed if there are credentials. They go to the
 * service only: a redirect to another host is followed without them.
 *
 * @module
 */
import { ImageSourceError } from "../../errors.ts";
import type { CloudService } from "./cloud.ts";
import { CREDENTIALS, type Signer } from "./credentials.ts";
import type { Fetch } from "./http_client.ts";

/** Redirects that are followed, and their statuses. */
export const MAX_REDIRECTS = 5;
export const REDIRECTS = [301, 302, 303, 307, 308];

/** How an object of a cloud is fetched. */
export interface CloudAccess {
  service: CloudService;
  /** None: the request is sent without credentials. */
  signer: Signer | undefined;
  /** The user of this process reads its messages, and can set variables. */
  isOwn: boolean;
}

/** A fetch of URLs of the service at the origin of `address`. */
export function signedFetch(
  fetchUrl: Fetch,
  address: string,
  access: CloudAccess,
): Fetch {
  const { origin } = new URL(address);
  const { signer } = access;
  return async function fetchSigned(address, { headers, signal }) {
    let url = new URL(address);
    for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
      const isSigned = url.origin === origin && signer !== undefined;
      const request = isSigned
        ? await signer.sign(url, headers)
        : { url, headers };
      const response = await fetchUrl(request.url.href, {
        headers: request.headers,
        signal,
        redirect: "manual",
      });
      const location = response.headers.get("location");
      if (!REDIRECTS.includes(response.status) || location === null) {
        return await admitted(response, access);
      }
      await response.body?.cancel();
      url = new URL(location, url);
    }
    throw new ImageSourceError(
      `the server redirects more than ${MAX_REDIRECTS} times`,
    );
  };
}

/** @throws {ImageSourceError} If access is refused; it says what to set. */
async function admitted(
  response: Response,
  { service, signer, isOwn }: CloudAccess,
): Promise<Response> {
  const { status, statusText, headers } = response;
  if (status < 300 || status === 404 || status === 416 || !isOwn) {
    return response;
  }
  const region = headers.get("x-amz-bucket-region");
  const isElsewhere = [301, 400, 403].includes(status) && region !== null &&
    /^[a-z0-9-]{1,32}$/.test(region) && region !== signer?.region;
  const isRefused = status === 401 || status === 403;
  if (!isElsewhere && !isRefused) return response;
  await response.body?.cancel();
  const answer = `the server answered ${status} ${statusText}`.trim();
  throw new ImageSourceError(
    isElsewhere
      ? `${answer}: its bucket is in ${region}; set AWS_REGION=${region}`
      : signer === undefined
      ? `${answer} to a request without credentials: set ${
        CREDENTIALS[service]
      }`
      : `${answer} to the credentials of ${signer.from}`,
  );
}
