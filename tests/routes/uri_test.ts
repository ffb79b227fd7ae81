/** Images that are fetched: from allowed hosts, and from no other. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { DEFAULT_LIMITS } from "../../lib/serve/limits.ts";
import {
  assertRefused,
  ended,
  post,
  serverOfFile,
  withServer,
} from "../serve/served.ts";
import { eventually } from "../waiting.ts";

const options = { hostname: "127.0.0.1", port: 0, onListen() {} };

const reached: string[] = [];

// A machine that is not allowed.
const other = Deno.serve(options, ({ url }) => {
  reached.push(url);
  return new Response("secret");
});

const silence = Promise.withResolvers<void>();
let askedSilent = 0;

// The host of the images: files by range, redirects, and silence.
const host = Deno.serve(options, async (request) => {
  const { pathname, searchParams } = new URL(request.url);
  if (pathname === "/to") {
    const location = searchParams.get("url")!;
    return new Response(null, { status: 302, headers: { location } });
  }
  if (pathname === "/silent") {
    askedSilent++;
    await silence.promise;
  }
  if (pathname === "/ill") return new Response("later", { status: 503 });
  const file = join(server.folder, "set", pathname);
  const bytes = await Deno.readFile(file).catch(() => undefined);
  if (!bytes) return new Response("none", { status: 404 });
  const [, from, to] = /^bytes=(\d+)-(\d+)$/
    .exec(request.headers.get("range") ?? "") ?? [];
  if (from === undefined) return new Response(bytes);
  const end = Math.min(Number(to) + 1, bytes.length);
  return new Response(bytes.slice(Number(from), end), {
    status: 206,
    headers: {
      "content-range": `bytes ${from}-${end - 1}/${bytes.length}`,
      etag: '"1"',
    },
  });
});

Deno.test.afterAll(async () => {
  await host.shutdown();
  await other.shutdown();
  assert.deepEqual(reached, [], "the other host was reached");
});

const { port } = host.addr;
const server = serverOfFile(
  ...["--workers", "1", "--allow-host", `127.0.0.1:${port}`],
  ...["--allow-host", `localhost:${port}`],
  ...["--allow-host", `127.0.0.1:${other.addr.port + 1}`],
);

function classify(uri: string): Promise<Response> {
  return post(`${server.url}/v1/classify`, { uri });
}

const image = `http://127.0.0.1:${port}/images/test_00000.png`;
const redirect = (to: string) =>
  `http://127.0.0.1:${port}/to?url=${encodeURIComponent(to)}`;

Deno.test("an image of an allowed host is what its file is", async () => {
  const local = await post(`${server.url}/v1/classify`, {
    path: "images/test_00000.png",
  });
  const { label, subTiles } = await local.json();
  for (const uri of [image, redirect("/images/test_00000.png")]) {
    const response = await classify(uri);
    const remote = await response.json();
    assert.equal(response.status, 200, JSON.stringify(remote));
    assert.deepEqual(remote.subTiles, subTiles);
    assert.equal(remote.label, label);
    assert.ok(remote.requests > 0);
  }
});

Deno.test("nothing else is reached, whichever way it is asked for", async () => {
  const { port: closed } = other.addr;
  const places = [
    `http://127.0.0.1:${closed}/`,
    `http://localhost:${closed}/`,
    `http://[::1]:${closed}/`,
    `http://2130706433:${closed}/`,
    `http://0x7f.1:${closed}/`,
    "http://169.254.169.254/latest/meta-data/",
    `http://user:password@127.0.0.1:${port}/images/test_00000.png`,
    "https://example.org/a.tif",
    "s3://bucket/key.tif",
  ];
  for (const place of places) {
    await assertRefused(await classify(place), {
      status: 403,
      error: /not an allowed host/,
    });
    await assertRefused(await classify(redirect(place)), { status: 403 });
  }
  await assertRefused(await classify(redirect("file:///etc/passwd")), {
    status: 403,
  });
  // A name that is allowed, but leads to this machine.
  await assertRefused(
    await classify(`http://localhost:${port}/images/test_00000.png`),
    { status: 403, error: /address is not public/ },
  );
});

Deno.test("a host that has no such image is told of, without its secrets", async () => {
  const { error } = await assertRefused(
    await classify(`http://127.0.0.1:${port}/images/absent.png?signature=key`),
    { status: 422, error: /the server answered 404/ },
  );
  assert.doesNotMatch(error, /signature/);
  await assertRefused(await classify(`http://127.0.0.1:${port}/manifest.csv`), {
    status: 415,
  });
});

Deno.test("a host in trouble is no fault of the caller's, nor of the image", async () => {
  const { error } = await assertRefused(
    await classify(`http://127.0.0.1:${port}/ill?signature=key`),
    { status: 502, error: /the server answered 503, at the last of 5/ },
  );
  assert.doesNotMatch(error, /signature|damaged/);
});

Deno.test("a host that is silent holds up nothing else", async () => {
  const silent = `http://127.0.0.1:${port}/silent`;
  const job = await post(`${server.url}/v1/jobs`, {
    kind: "classify",
    uri: silent,
  });
  const { id } = await job.json();
  const leaving = new AbortController();
  const waiting = fetch(`${server.url}/v1/classify`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ uri: silent }),
    signal: leaving.signal,
  });
  const refused = assert.rejects(waiting, { name: "AbortError" });
  await eventually("both are waiting", () => askedSilent === 2);
  const signal = AbortSignal.timeout(60_000);
  const response = await fetch(`${server.url}/v1/classify`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ path: "images/test_00000.png" }),
    signal,
  });
  assert.equal(response.status, 200, await response.text());
  leaving.abort();
  await refused;
  await post(`${server.url}/v1/jobs/${id}/cancel`, {})
    .then((response) => response.body?.cancel());
  assert.equal((await ended(server.url, id)).state, "cancelled");
  silence.resolve();
});

Deno.test("a job whose host is silent holds up no other, and ends", async () => {
  const limits = { ...DEFAULT_LIMITS, jobImageMs: 3000 };
  const silence = Promise.withResolvers<void>();
  await using silent = Deno.serve(options, async () => {
    await silence.promise;
    return new Response(null, { status: 404 });
  });
  const address = `127.0.0.1:${silent.addr.port}`;
  const models = join(server.folder, "alone"); // with a store of its own
  await Deno.mkdir(models);
  const first = join(server.folder, "models", "first");
  await Deno.symlink(first, join(models, "first"));
  await withServer(
    server.folder,
    { models, limits, allowedHosts: [address] },
    async (url) => {
      const accept = async (asked: object) => {
        const answer = await post(`${url}/v1/jobs`, {
          kind: "classify",
          ...asked,
        });
        return (await answer.json()).id;
      };
      const slow = [
        await accept({ uri: `http://${address}/a.png` }),
        await accept({ uri: `http://${address}/b.png` }),
      ];
      const quick = await accept({ path: "images/test_00000.png" });
      assert.equal((await ended(url, quick)).state, "succeeded");
      for (const id of slow) {
        const { state, error } = await ended(url, id);
        assert.equal(state, "failed");
        assert.match(error!, /exceeded its limit of 3 s/);
      }
    },
  );
  silence.resolve();
});

Deno.test("jobs fetch as requests do", async () => {
  await Deno.writeTextFile(
    join(server.folder, "set", "remote.csv"),
    `image\n${image}\nhttp://127.0.0.1:${other.addr.port}/a.png\n`,
  );
  const response = await post(`${server.url}/v1/batch`, {
    manifest: "remote.csv",
  });
  const job = await ended(server.url, (await response.json()).id);
  assert.deepEqual(job.progress, { done: 2, total: 2, failures: 1 });

  const rows = Array.from({ length: 12 }, (_, i) => {
    const name = `train_${String(i).padStart(5, "0")}.png`;
    return `${image.replace("test_00000.png", name)},${i % 2 ? "a" : "b"}`;
  });
  const train = async (rows: string[]) => {
    const text = ["image,label", ...rows, ""].join("\n");
    await Deno.writeTextFile(join(server.folder, "set", "train.csv"), text);
    return await post(`${server.url}/v1/train`, {
      data: "train.csv",
      name: "remote",
      preset: "needle",
      epochs: 0,
      settings: { "training.saliencyWarmStart": null },
    });
  };
  await assertRefused(await train([...rows, "https://example.org/a.png,a"]), {
    status: 400,
    field: "data",
    error: /not an allowed host/,
  });
  const accepted = await train(rows);
  const { id } = await accepted.json();
  const trained = await ended(server.url, id);
  assert.equal(trained.state, "succeeded", trained.error ?? "");
});
