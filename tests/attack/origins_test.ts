/** What a page of another site can make a browser send, without a token. */
import { assertRefused, imageOf, serverOfFile } from "../serve/served.ts";
import assert from "node:assert/strict";

const server = serverOfFile("--workers", "1");

/** POSTs that need no permission of the server's: forms, or no body. */
const POSTS = [
  "/v1/classify",
  "/v1/models/first/unload",
  "/v1/models/first/default",
  `/v1/jobs/${crypto.randomUUID()}/cancel`,
  `/v1/jobs/${crypto.randomUUID()}/resume`,
  "/v2/models/first/infer",
];

async function send(path: string, origin: string, method = "POST") {
  const body = new FormData();
  body.set("file", new Blob([await imageOf(server.folder)]), "a.png");
  return await fetch(server.url + path, {
    method,
    headers: { origin },
    ...(path === "/v1/classify" && { body }),
  });
}

Deno.test("a browser without fetch metadata is known by its Origin", async () => {
  const { port } = new URL(server.url);
  const others = [
    "https://evil.example.org",
    "null", // a file, a sandboxed frame, a redirect
    `http://127.0.0.1:${Number(port) ^ 1}`, // another program of this machine
    `http://127.0.0.1.evil.example.org:${port}`,
    "",
  ];
  for (const origin of others) {
    for (const path of POSTS) {
      await assertRefused(await send(path, origin), {
        status: 403,
        error: /other sites are refused/,
      });
    }
    const removal = await send("/v1/models/first", origin, "DELETE");
    await assertRefused(removal, { status: 403 });
  }
});

Deno.test("the server's own pages may ask", async () => {
  const response = await send("/v1/classify", server.url);
  await response.body?.cancel();
  assert.equal(response.status, 200);
});
