/**
 * The frozen features that hosts share, as NATS and a host keep them.
 *
 * @module
 */
import { Objm } from "@nats-io/obj";
import {
  type Nats,
  openNats,
} from "../../../../lib/serve/jobs/nats/connection.ts";
import type { NatsServers } from "./nats_server.ts";

/** The object store of features. */
export const BUCKET = "zoomin-features";

/** Uses a connection. */
export async function withNats(
  { url }: Pick<NatsServers, "url">,
  use: (nats: Nats) => Promise<void>,
): Promise<void> {
  const nats = await openNats({ url, leaseMs: 15_000 });
  await use(nats).finally(() => nats.connection.close());
}

/** The features in NATS: by key, what tells a file from one put later. */
export async function keptFeatures(
  servers: Pick<NatsServers, "url">,
): Promise<Record<string, string>> {
  const kept: Record<string, string> = {};
  await withNats(servers, async ({ js }) => {
    const objects = await new Objm(js).open(BUCKET);
    const all = await objects.list();
    all.sort((a, b) => a.name < b.name ? -1 : 1);
    for (const { name, nuid } of all) kept[name] = nuid;
  });
  return kept;
}

/** Keys of the features in a folder. */
export async function keysIn(folder: string): Promise<string[]> {
  const files = await Array.fromAsync(Deno.readDir(folder));
  return files.map(({ name }) => name.replace(".features", "")).sort();
}
