/** Rules for every route: access, and the form of answers. */
import assert from "node:assert/strict";
import { join } from "node:path";
import {
  assertRefused,
  imageOf,
  post,
  serve,
  type Served,
  serverOfFile,
} from "../serve/served.ts";
import { eventually } from "../waiting.ts";

const TOKEN = "0123456789abcdef0123456789abcdef";

const server = serverOfFile(
  ...["--host", "0.0.0.0", "--token-file", "token"],
  ...["--max-upload", "1", "--workers", "1"],
);
Deno.writeTextFileSync(join(server.folder, "token"), `${TOKEN}\n`);

const authorization = `Bearer ${TOKEN}`;

function get(
  path: string,
  headers: Record<string, string> = { authorization },
): Promise<Response> {
  return fetch(local(server.served) + path, { headers });
}

/** The server listens on every address; ask on loopback. */
function local({ url }: Served): string {
  return url.replace("0.0.0.0", "127.0.0.1");
}

Deno.test("only who bears the token is let in", async () => {
  assert.equal((await get("/v1/models")).status, 200);
  const wrong = [
    "",
    TOKEN,
    "Bearer",
    `Bearer ${TOKEN}0`,
    `Bearer ${TOKEN.slice(0, -1)}`,
    `Basic ${TOKEN}`,
    `Bearer ${TOKEN} ${TOKEN}`,
  ];
  for (const authorization of wrong) {
    for (const path of ["/v1/models", "/metrics", "/v2", "/nothing"]) {
      const response = await get(path, { authorization });
      assert.match(response.headers.get("www-authenticate")!, /^Bearer/);
      await assertRefused(response, { status: 401 });
    }
  }
  for (
    const path of [
      "/livez",
      "/readyz",
      "/healthz",
      "/v2/health/live",
      "/v2/health/ready",
      "/openapi.json",
      "/docs",
      "/", // the viewer, and its files
      "/viewer/main.js",
    ]
  ) {
    const response = await get(path, {});
    await response.body?.cancel();
    assert.equal(response.status, 200, path);
  }
});

Deno.test("the token is not logged, nor what may be a secret in an address", async () => {
  await (await get("/v1/jobs?signature=hidden")).body?.cancel();
  await get("/v1/models", { authorization: "Bearer wrong-but-secret" })
    .then((response) => response.body?.cancel());
  await eventually(
    "the refused request is logged",
    () =>
      server.served.log.some(({ path, code }) =>
        path === "/v1/models" && code === 401
      ),
  );
  const { stderr } = server.served;
  for (const secret of [TOKEN, "hidden", "wrong-but-secret"]) {
    assert.ok(!stderr.includes(secret), secret);
  }
});

Deno.test("a request keeps its id, in the answer and in the log", async () => {
  const requestId = "trace-1.a_B";
  const response = await get("/v1/jobs/x", {
    authorization,
    "x-request-id": requestId,
  });
  const failure = await assertRefused(response, { status: 400, field: "id" });
  assert.equal(failure.requestId, requestId);
  const logged = () =>
    server.served.log.find((line) =>
      line.requestId === requestId && line.event === "request"
    );
  await eventually("the request is logged", () => logged() !== undefined);
  const line = logged()!;
  assert.equal(line.method, "GET");
  assert.equal(line.path, "/v1/jobs/x");
  assert.equal(line.code, 400);
  assert.equal(typeof line.ms, "number");
  for (const odd of ["with space", "x".repeat(129), '"}']) {
    const response = await get("/livez", { "x-request-id": odd });
    await response.body?.cancel();
    assert.notEqual(response.headers.get("x-request-id"), odd);
  }
});

Deno.test("a path that is there says which methods it takes", async () => {
  const allowed: [string, string, string][] = [
    ["DELETE", "/v1/classify", "POST"],
    ["PUT", "/v1/models/first", "GET, HEAD, DELETE"],
    ["GET", "/v1/train", "POST"],
    ["POST", "/readyz", "GET, HEAD"],
    ["GET", "/v2/models/first/infer", "POST"],
    ["PATCH", "/v1/jobs", "GET, HEAD, POST"],
  ];
  for (const [method, path, allow] of allowed) {
    const response = await fetch(local(server.served) + path, {
      method,
      headers: { authorization },
    });
    assert.equal(response.headers.get("allow"), allow);
    await assertRefused(response, { status: 405 });
  }
  await assertRefused(await get("/v1/nothing"), { status: 404 });
});

Deno.test("an answer to HEAD does not say that it would be empty", async () => {
  for (const path of ["/v1/models", "/livez", "/v1/jobs", "/v1/nothing"]) {
    const { status, headers } = await fetch(local(server.served) + path, {
      method: "HEAD",
      headers: { authorization },
    });
    assert.equal(status, path === "/v1/nothing" ? 404 : 200);
    assert.equal(headers.get("content-length"), null, path);
  }
});

Deno.test("a body that must be JSON is asked for as such", async () => {
  for (const path of ["/v1/train", "/v1/batch", "/v1/jobs"]) {
    const response = await fetch(local(server.served) + path, {
      method: "POST",
      headers: { authorization, "content-type": "text/plain" },
      body: "{}",
    });
    await assertRefused(response, { status: 415, error: /application\/json/ });
  }
});

Deno.test("more bytes than the limit are refused, announced or not", async () => {
  const url = `${local(server.served)}/v1/classify`;
  const bytes = new Uint8Array(2 ** 20 + 1);
  const headers = { authorization, "content-type": "image/png" };
  const streamed = () => new Blob([bytes]).stream();
  const form = new FormData();
  form.append("file", new Blob([bytes, bytes]), "a.png");
  const bodies: RequestInit[] = [
    { headers, body: bytes },
    { headers, body: streamed() },
    { headers: { authorization }, body: form },
  ];
  for (const body of bodies) {
    const response = await fetch(url, { method: "POST", ...body });
    await assertRefused(response, { status: 413, error: /1048576 bytes/ });
  }
  await assertRefused(
    await post(url, { path: "x".repeat(17 * 2 ** 20) }, { authorization }),
    { status: 413, error: /JSON body/ },
  );
  const fits = await fetch(url, {
    method: "POST",
    headers,
    body: await imageOf(server.folder),
  });
  await fits.body?.cancel();
  assert.equal(fits.status, 200);
});

Deno.test("answers tell browsers to do nothing with them", async () => {
  const { headers, body } = await get("/v1/models");
  await body?.cancel();
  assert.equal(headers.get("x-content-type-options"), "nosniff");
  assert.equal(headers.get("content-security-policy"), "default-src 'none'");
});

Deno.test("without a token no other site may ask", async () => {
  const { folder } = server;
  await using open = await serve(
    folder,
    ...["--models", "models", "--workers", "1"],
  );
  const ask = (headers: Record<string, string>) =>
    fetch(`${open.url}/v1/models`, { headers });
  const foreign = { "sec-fetch-site": "cross-site" };
  await assertRefused(await ask(foreign), { status: 403 });
  // A name of the page's own that resolves to loopback.
  const { port } = new URL(open.url);
  const askAs = async (host: string) => {
    using connection = await Deno.connect({
      hostname: "127.0.0.1",
      port: +port,
    });
    await connection.write(new TextEncoder().encode(
      `GET /v1/models HTTP/1.1\r\nhost: ${host}\r\nconnection: close\r\n\r\n`,
    ));
    return await new Response(connection.readable).text();
  };
  assert.match(await askAs("evil.example.org"), /^HTTP\/1.1 403 /);
  for (const host of ["][", "a b", "localhost:99999"]) {
    const answer = await askAs(host);
    assert.match(answer, /^HTTP\/1.1 400 /);
    assert.match(answer, /"field":"host"/);
  }
  const own = await ask({ "sec-fetch-site": "same-origin" });
  await own.body?.cancel();
  assert.equal(own.status, 200);
});
