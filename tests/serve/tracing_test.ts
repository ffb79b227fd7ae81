/** What a collector gets from a server that exports by OpenTelemetry. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { join } from "node:path";
import { folderOfFile, ROOT, taskFlags } from "../commands/process.ts";
import { eventually, within } from "../waiting.ts";
import { type Attributed, collector, exportsTo } from "./collector.ts";
import { drawModels, imageOf, listening, post } from "./served.ts";

const SECRET = "s3cret";

const folder = folderOfFile(async (folder) => {
  await drawModels(folder);
  await Deno.writeTextFile(
    join(folder, "models", "damaged.safetensors"),
    "damaged",
  );
});

/** A host of one image; another never comes. */
function imageHost(image: Uint8Array<ArrayBuffer>) {
  const asked = Promise.withResolvers<void>(), end = new AbortController();
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, signal: end.signal, onListen() {} },
    async ({ url, headers }) => {
      if (url.includes("never")) {
        asked.resolve();
        await once(end.signal, "abort");
      }
      return partOf(image, headers.get("range") ?? "");
    },
  );
  return {
    host: `127.0.0.1:${server.addr.port}`,
    asked: asked.promise,
    [Symbol.dispose]: () => end.abort(),
  };
}

/** The bytes of a file that a header "Range" asks for. */
function partOf(file: Uint8Array<ArrayBuffer>, range: string): Response {
  const [, from, to] = /bytes=(\d+)-(\d+)/.exec(range)!;
  const part = file.slice(Number(from), Number(to) + 1);
  const last = Number(from) + part.length - 1;
  return new Response(part, {
    status: 206,
    headers: { "content-range": `bytes ${from}-${last}/${file.length}` },
  });
}

/** A server of the models that exports to `endpoint`, if there is one. */
function serveExporting(hosts: readonly string[], endpoint?: string) {
  return listening(
    new Deno.Command(Deno.execPath(), {
      args: [
        ...taskFlags("serve"),
        ...[join(ROOT, "main.ts"), "serve", "--port", "0"],
        ...["--backend", "wasm", "--workers", "1"],
        ...["--models", "models", "--data-root", "set"],
        ...hosts.flatMap((host) => ["--allow-host", host]),
      ],
      cwd: folder,
      env: endpoint === undefined
        ? { OTEL_DENO: "false" }
        : exportsTo(endpoint, "zoomin"),
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn(),
  );
}

/** A port on which nothing listens. */
function closedPort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

/** The attributes of a span, each given once. */
function attributesOf({ attributes }: Attributed): Record<string, unknown> {
  const keys = attributes.map(({ key }) => key);
  assert.equal(new Set(keys).size, keys.length, keys.join());
  return Object.fromEntries(attributes.map(({ key, value }) => [
    key,
    value.stringValue ?? value.doubleValue ?? value.intValue,
  ]));
}

async function statusOf(asked: Promise<Response>): Promise<number> {
  const response = await asked;
  await response.body?.cancel();
  return response.status;
}

Deno.test("requests are traced by their routes, and no query is exported", async () => {
  await using collected = collector();
  using images = imageHost(await imageOf(folder));
  const closed = `127.0.0.1:${closedPort()}`;
  const served = await serveExporting([images.host, closed], collected.url);
  const { url } = served;
  const query = `?sig=a,'${SECRET}`;
  const classify = (uri: string, signal?: AbortSignal) =>
    fetch(`${url}/v1/classify`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ uri: uri + query }),
      ...(signal && { signal }),
    });
  const get = (path: string) => statusOf(fetch(url + path + query));
  const statuses = [
    await get("/v1/models/first"),
    await get("/nowhere"),
    await statusOf(classify(`http://${images.host}/a.png`)),
    await statusOf(classify(`http://${closed}/a.png`)),
  ];
  assert.deepEqual(statuses, [200, 404, 200, 502]);
  const batch = post(`${url}/v1/batch`, { manifest: "manifest.csv" });
  assert.equal(await statusOf(batch), 202);
  await eventually(
    "the batch is begun",
    () =>
      [served.stderr, ...collected.texts].some((text) =>
        text.includes("job started")
      ),
  );
  const leaving = new AbortController();
  const left = assert.rejects(
    classify(`http://${images.host}/never.png`, leaving.signal),
  );
  await within("the image is asked for", images.asked);
  leaving.abort();
  await left;
  await eventually("that is noticed", async () => {
    const metrics = await fetch(`${url}/metrics`);
    return (await metrics.text()).includes('code="499"');
  });
  assert.equal((await served.stop()).code, 0, served.stderr);

  const ofServer = collected.spans.filter(({ kind }) => kind === 2);
  const told = ofServer.map((span) => {
    const attributes = attributesOf(span);
    return [
      span.name,
      attributes["http.request.method"],
      attributes["http.route"],
      attributes["url.path"],
      Number(attributes["http.response.status_code"]),
      span.status.code === 2,
    ];
  }).filter(([name]) => name !== "GET /metrics");
  const route = "/v1/models/:name";
  const classified = [
    "POST /v1/classify",
    "POST",
    "/v1/classify",
    "/v1/classify",
  ];
  assert.deepEqual(told.toSorted(), [
    [`GET ${route}`, "GET", route, "/v1/models/first", 200, false],
    ["GET", "GET", undefined, "/nowhere", 404, false],
    ["POST /v1/batch", "POST", "/v1/batch", "/v1/batch", 202, false],
    [...classified, 200, false],
    [...classified, 499, false],
    [...classified, 502, true],
  ]);
  assert.ok(collected.spans.some(({ kind }) => kind === 3), "of the images");
  const parent = ofServer.find(({ name }) => name === "POST /v1/batch");
  const job = collected.spans.find(({ name }) => name === "job batch");
  assert.equal(job?.traceId, parent?.traceId);
  assert.equal(job?.parentSpanId, parent?.spanId);
  for (const text of collected.texts) assert.doesNotMatch(text, /s3cret/);

  const records = collected.logs.flatMap(({ body, severityText, traceId }) => {
    const text = body.stringValue!;
    return text.startsWith("{")
      ? [{ ...JSON.parse(text), severityText, traceId }]
      : []; // the address
  });
  const levels = new Set(records.map(({ level, severityText }) => {
    assert.equal(severityText, level.toUpperCase());
    return level;
  }));
  assert.deepEqual([...levels].toSorted(), ["error", "info", "warn"]);
  const failed = records.find(({ code }) => code === 502);
  const span = ofServer.find(({ status }) => status.code === 2);
  assert.equal(failed.traceId, span!.traceId);
});

Deno.test("nothing is exported unless it is asked for", async () => {
  await using served = await serveExporting([]);
  assert.equal(
    (await post(`${served.url}/v1/classify`, {
      path: "images/test_00000.png",
    })).status,
    200,
  );
  await eventually(
    "all of the log is on stderr",
    () => served.log.some(({ level, code }) => level === "info" && code),
  );
});
