import assert from "node:assert/strict";
import { Client, ServerError } from "../lib/client.ts";
import { imageOf, serverOfFile, SMALL_SETTINGS } from "./serve/served.ts";

const server = serverOfFile("--workers", "1");

Deno.test("the client classifies, trains and follows jobs", async () => {
  const client = new Client(server.url);
  const bytes = await imageOf(server.folder);
  const options = { seed: 3, samples: 4 };
  const direct = await client.classify(bytes, options);
  const named = await client.classify(
    { path: "images/test_00000.png" },
    options,
  );
  assert.equal(named.label, direct.label);
  assert.deepEqual(named.subTiles, direct.subTiles);
  const unset = await client.classify(bytes, { ...options, draws: undefined });
  assert.deepEqual(unset.subTiles, direct.subTiles);
  const later = await client.classifyLater(new Blob([bytes]), options);
  assert.equal((await client.ended(later.id)).state, "succeeded");
  assert.deepEqual((await client.result(later.id)).subTiles, direct.subTiles);

  const models = await (await client.api.v1.models.$get()).json();
  assert.ok("models" in models);
  assert.deepEqual(models.models.map(({ name }) => name), ["first"]);

  const response = await client.api.v1.train.$post({
    header: {},
    json: {
      data: "manifest.csv",
      name: "second",
      preset: "needle",
      epochs: 2,
      settings: SMALL_SETTINGS,
    },
  });
  const job = await response.json();
  assert.ok("id" in job, JSON.stringify(job));
  const epochs = new Set<number>();
  for await (const { progress } of client.events(job.id)) {
    if (progress) epochs.add(progress.epoch!);
  }
  assert.ok(epochs.has(2));
  const second = await client.api.v1.models[":name"].$get({
    param: { name: "second" },
  });
  assert.equal(second.status, 200);
  assert.equal((await second.json() as { name: string }).name, "second");
});

Deno.test("a refusal states the fault", async () => {
  const client = new Client(server.url, { token: "none is needed" });
  await assert.rejects(
    client.classify({ path: "images/test_00000.png" }, { samples: 0 }),
    (error) => {
      assert.ok(error instanceof ServerError);
      assert.equal(error.status, 400);
      assert.equal(error.field, "samples");
      assert.ok(error.requestId.length > 0);
      return true;
    },
  );
  await assert.rejects(client.ended(crypto.randomUUID()), { status: 404 });
});

Deno.test("an answer of a proxy is an error of the server, too", async () => {
  await using proxy = Deno.serve(
    { port: 0, onListen() {} },
    () => new Response("<h1>Bad gateway</h1>", { status: 502 }),
  );
  const client = new Client(`http://127.0.0.1:${proxy.addr.port}`);
  await assert.rejects(client.result("a"), {
    name: "ServerError",
    status: 502,
    message: "The server answered 502 Bad Gateway",
  });
});

Deno.test("a stream that ends before its job is asked for again", async () => {
  let asked = 0;
  await using stopping = Deno.serve({ port: 0, onListen() {} }, () => {
    const job = { state: "succeeded", finishedAt: "now" };
    return new Response(++asked < 3 ? "" : `data: ${JSON.stringify(job)}\n\n`);
  });
  const client = new Client(`http://127.0.0.1:${stopping.addr.port}`);
  assert.equal((await client.ended("a")).state, "succeeded");
  assert.equal(asked, 3);
});
