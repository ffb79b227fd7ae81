/**
 * Names of the images of a table as callers see them: a URL of a table may carry
 * credentials, which are its owner's.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { withoutSecrets } from "../intake/guarded_fetch.ts";

/** `image`, as a table names it; of a URL what is no secret. */
export function shownName(image: string): string {
  if (!/^https?:/i.test(image) || !URL.canParse(image)) return image;
  const { search, username, password } = new URL(image);
  return search + username + password === "" ? image : withoutSecrets(image);
}

/**
 * The shown names of `images`, each of one image only: those that only their
 * secrets tell apart end in a hash.
 */
export function shownNames(images: readonly string[]): string[] {
  const shown = images.map(shownName);
  const counts = new Map<string, number>();
  for (const name of shown) counts.set(name, (counts.get(name) ?? 0) + 1);
  return shown.map((name, i) =>
    counts.get(name) === 1 ? name : `${name}#${hashOf(images[i]!)}`
  );
}

function hashOf(image: string): string {
  return createHash("sha256").update(image).digest("base64url").slice(0, 12);
}
