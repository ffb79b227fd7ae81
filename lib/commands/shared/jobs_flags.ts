/**
 * `--jobs` and how to reach it.
 *
 * @module
 */
import { UsageError } from "../../errors.ts";
import { type NatsPlace, parsePlace } from "../../serve/jobs/nats/place.ts";
import { text } from "./flags.ts";

/** Flags of the place where hosts share their jobs. */
export const JOBS_FLAGS = {
  jobs: text(
    "URL",
    "share jobs, their files and trained models with other hosts by NATS: nats://HOST:PORT[,HOST:PORT...][/PREFIX], tls:// with TLS (in a file of the state folder)",
  ),
  "jobs-credentials": text("FILE", "credentials of NATS, as nsc writes them", {
    paths: "files",
  }),
  "jobs-authority": text(
    "FILE",
    "PEM certificate that NATS' own is signed by, if the system does not know it",
    { paths: "files" },
  ),
};

/**
 * The place that the flags name; undefined if jobs are not shared.
 *
 * @throws {UsageError}
 */
export function jobsPlace(
  { jobs: url, "jobs-credentials": credentials, "jobs-authority": authority }: {
    jobs: string | undefined;
    "jobs-credentials": string | undefined;
    "jobs-authority": string | undefined;
  },
): NatsPlace | undefined {
  if (url !== undefined) {
    parsePlace(url);
    return { url, credentials, authority };
  }
  if (credentials === undefined && authority === undefined) return undefined;
  throw new UsageError(
    "--jobs-credentials and --jobs-authority need --jobs URL: add it",
  );
}
