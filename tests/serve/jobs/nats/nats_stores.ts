/**
 * The tests of every store, with stores in NATS.
 *
 * @module
 */
import { setTimeout as pause } from "node:timers/promises";
import { NatsJobStore } from "../../../../lib/serve/jobs/nats/store.ts";
import { testStore } from "../store_contract.ts";
import { NATS_SERVER, type NatsServers, startNats } from "./nats_server.ts";

// Time is real here: where a lease must end it is short, and else it is long.
const SHORT_MS = 400, LONG_MS = 4000;

/** Registers them for a server, or for a cluster of `size` nodes. */
export function testNatsStore(name: string, size: number): void {
  const ignore = NATS_SERVER === undefined;
  let servers: NatsServers;
  let installations = 0;
  Deno.test.beforeAll(async () => {
    if (!ignore) servers = await startNats(size);
  });
  Deno.test.afterAll(async () => {
    await servers?.[Symbol.asyncDispose]();
  });
  testStore({
    name,
    ignore,
    async withStores(test, { queuedJobs = 100, areLeasesShort } = {}) {
      const leaseMs = areLeasesShort ? SHORT_MS : LONG_MS;
      const url = `${servers.url}/test-${++installations}`;
      const options = { url, leaseMs, queuedJobs, waitMs: 600 };
      const one = await NatsJobStore.open(options);
      const two = await NatsJobStore.open(options);
      try {
        await test({
          one,
          two,
          expire: () => pause(1.5 * leaseMs),
          passHalf: () => pause(leaseMs / 2),
        });
      } finally {
        await one.close();
        await two.close();
      }
    },
  });
}
