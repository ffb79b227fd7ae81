/** A node of NATS whose network is cut: its connections stay open, silent. */
import assert from "node:assert/strict";
import { NatsJobStore } from "../../../../lib/serve/jobs/nats/store.ts";
import { NATS_SERVER, startNats } from "./nats_server.ts";

/** Passes bytes on to a port until it is silenced. */
function relayTo(port: number) {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const open: Disposable[] = [listener];
  let isSilent = false;
  const pass = async (from: Deno.Conn, to: Deno.Conn) => {
    const buffer = new Uint8Array(65536);
    try {
      for (;;) {
        const length = await from.read(buffer);
        if (length === null) return;
        for (let at = 0; !isSilent && at < length;) {
          at += await to.write(buffer.subarray(at, length));
        }
      }
    } catch { // one of them was closed
    }
  };
  const serve = async () => {
    for await (const near of listener) {
      const far = await Deno.connect({ hostname: "127.0.0.1", port });
      open.push(near, far);
      pass(near, far), pass(far, near);
    }
  };
  const serving = serve();
  return {
    port: (listener.addr as Deno.NetAddr).port,
    silence() {
      isSilent = true;
    },
    async [Symbol.asyncDispose]() {
      for (const one of open) one[Symbol.dispose]();
      await serving;
    },
  };
}

Deno.test({
  name: "a host whose node falls silent goes on with another",
  ignore: NATS_SERVER === undefined,
  async fn() {
    await using servers = await startNats(3);
    await using relay = relayTo(Number(new URL(servers.nodes[0]!.url).port));
    const store = await NatsJobStore.open({
      url: `nats://127.0.0.1:${relay.port}/silent`,
      leaseMs: 60_000,
      queuedJobs: 10,
      waitMs: 600,
    });
    try {
      const id = crypto.randomUUID();
      await store.add({ id, kind: "classify", request: {} });
      relay.silence();
      assert.equal((await store.get(id))?.state, "queued");
    } finally {
      await store.close();
    }
  },
});
