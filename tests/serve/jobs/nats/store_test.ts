import assert from "node:assert/strict";
import { join } from "node:path";
import { NatsJobStore } from "../../../../lib/serve/jobs/nats/store.ts";
import { openNats } from "../../../../lib/serve/jobs/nats/connection.ts";
import { parsePlace } from "../../../../lib/serve/jobs/nats/place.ts";
import type { JobState } from "../../../../lib/serve/jobs/store.ts";
import { NATS_SERVER, startNats } from "./nats_server.ts";
import { testNatsStore } from "./nats_stores.ts";

testNatsStore("NATS", 1);

const ignore = NATS_SERVER === undefined;
const OPTIONS = { leaseMs: 1000, queuedJobs: 10, waitMs: 100 };

Deno.test("a place is hosts and a prefix", () => {
  assert.deepEqual(parsePlace("nats://a:1,b:2/lab"), {
    servers: ["nats://a:1", "nats://b:2"],
    prefix: "lab",
  });
  assert.deepEqual(parsePlace("tls://a"), {
    servers: ["tls://a"],
    prefix: "zoomin",
  });
  assert.deepEqual(parsePlace("nats://me:a%40b@a:1"), {
    servers: ["nats://a:1"],
    prefix: "zoomin",
    user: "me",
    pass: "a@b",
  });
  for (const url of ["tls://127.0.0.1:1", "tls://a,[::1]:1"]) {
    assert.throws(() => parsePlace(url), /TLS checks the name of a host/);
  }
  for (const url of ["a:4222", "http://a", "nats://", "nats://a/b/c"]) {
    assert.throws(() => parsePlace(url), {
      name: "UsageError",
      message: /^--jobs must be nats:/,
    });
  }
});

Deno.test({
  name: "a place that is none is told in a line: no server, no JetStream",
  ignore,
  async fn() {
    const fails = (url: string, reason: RegExp) =>
      assert.rejects(NatsJobStore.open({ ...OPTIONS, url }), (error: Error) => {
        assert.equal(error.name, "DataError");
        assert.match(error.message, /^Cannot keep jobs at nats:.*jetstream/);
        assert.match(error.message, reason);
        assert.doesNotMatch(error.message, /\n|secret/);
        return true;
      });
    await using servers = await startNats();
    const [node] = servers.nodes;
    await node!.kill();
    await fails(servers.url, /refused/i);
    await using locked = await startNats(1, ["--user", "a", "--pass", "b"]);
    await fails(
      locked.url.replace("//", "//a:secret@"),
      /authorization/i,
    );
    const url = locked.url.replace("//", "//a:b@");
    const store = await NatsJobStore.open({ ...OPTIONS, url });
    await store.close();
  },
});

Deno.test({
  name: "jobs of a newer version are refused",
  ignore,
  async fn() {
    await using servers = await startNats();
    const options = { ...OPTIONS, url: servers.url };
    const { records, connection } = await openNats(options);
    await records.put("version", "99");
    await connection.close();
    await assert.rejects(NatsJobStore.open(options), {
      name: "DataError",
      message: /a newer zoomin keeps them \(version 99, this one knows 1\)/,
    });
    const other = await NatsJobStore.open({
      ...options,
      url: `${servers.url}/other`,
    });
    await other.close();
  },
});

Deno.test({
  name: "what a newer program adds to a record stays, and is not shown",
  ignore,
  async fn() {
    await using servers = await startNats();
    const store = await NatsJobStore.open({ ...OPTIONS, url: servers.url });
    const { records } = store.nats;
    await store.add({ id: "a", kind: "batch", request: {} });
    const key = "job.a";
    const entry = (await records.get(key))!;
    const { trace: _, ...added } = entry.json<Record<string, unknown>>();
    await records.put(key, JSON.stringify({ ...added, later: ["new", 1] }));
    const shown = async (state: JobState) => {
      const job = await store.get("a");
      assert.equal(job?.state, state);
      assert.ok(!("later" in job));
      assert.equal(job.trace, null, "an older program wrote none");
      const now = (await records.get(key))!;
      const { later } = now.json<Record<string, unknown>>();
      assert.deepEqual(later, ["new", 1], state);
    };
    await shown("queued");
    const job = (await store.claim(["batch"]))!;
    await store.noteAlone(job, true);
    await store.beat(job, { done: 1 });
    await shown("running");
    await store.release(job);
    await shown("queued");
    const again = (await store.claim(["batch"]))!;
    await store.finish(again, { state: "failed", error: "it broke" });
    await shown("failed");
    await store.resume("a");
    await shown("queued");
    await store.cancel("a");
    await shown("cancelled");
    await store.close();
  },
});

Deno.test({
  name: "a server that comes again has all that was accepted",
  ignore,
  async fn() {
    await using servers = await startNats();
    const [node] = servers.nodes;
    const store = await NatsJobStore.open({
      ...OPTIONS,
      leaseMs: 60_000,
      url: servers.url,
    });
    await store.add({ id: "a", kind: "batch", request: {} });
    await store.add({ id: "b", kind: "batch", request: {} });
    const job = (await store.claim(["batch"]))!;
    await node!.kill();
    const beating = store.beat(job, { done: 1 });
    await node!.start();
    assert.equal(await beating, "held");
    assert.equal(await store.finish(job, { state: "succeeded" }), true);
    assert.equal((await store.get("a"))?.state, "succeeded");
    assert.equal((await store.claim(["batch"]))?.id, "b");
    await store.close();
  },
});

Deno.test({
  name: "TLS: against the authority that is named, and no other",
  ignore,
  async fn() {
    const folder = await Deno.makeTempDir({ prefix: "zoomin-" });
    const [cert, key] = ["cert.pem", "key.pem"].map((name) =>
      join(folder, name)
    ) as [string, string];
    const { success } = await new Deno.Command("openssl", {
      args: [
        ...["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"],
        ...["-subj", "/CN=nats", "-addext", "subjectAltName=DNS:localhost"],
        ...["-keyout", key, "-out", cert],
      ],
    }).output();
    assert.ok(success);
    const flags = ["--tls", "--tlscert", cert, "--tlskey", key];
    {
      await using servers = await startNats(1, flags);
      const { port } = new URL(servers.url);
      const options = { ...OPTIONS, url: `tls://localhost:${port}` };
      await assert.rejects(NatsJobStore.open(options), {
        name: "DataError",
        message: /^Cannot keep jobs at tls:.*certificate/i,
      });
      const store = await NatsJobStore.open({ ...options, authority: cert });
      await store.add({ id: "a", kind: "batch", request: {} });
      await store.close();
    }
    await assert.rejects(
      NatsJobStore.open({ ...OPTIONS, url: "nats://a", credentials: folder }),
      { name: "UsageError", message: /^Cannot read .*: name a file/ },
    );
    await Deno.remove(folder, { recursive: true });
  },
});
