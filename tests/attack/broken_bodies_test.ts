/** Bodies that break off or are malformed: no fault of the server's. */
import assert from "node:assert/strict";
import { type Served, serverOfFile } from "../serve/served.ts";
import { eventually, within } from "../waiting.ts";

const server = serverOfFile("--workers", "1");

const BOUNDARY = "----form";
const PART =
  `--${BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\nabc`;

/** Requests with a body, by route and content. */
const REQUESTS = [
  { path: "/v1/classify", type: "image/png", begin: "abc" },
  {
    path: "/v1/classify",
    type: `multipart/form-data; boundary=${BOUNDARY}`,
    begin: PART,
  },
  { path: "/v1/classify", type: "application/json", begin: '{"path":' },
  { path: "/v1/train", type: "application/json", begin: '{"data":' },
  { path: "/v2/models/first/infer", type: "application/json", begin: "{" },
  {
    path: "/v2/models/first/infer",
    type: "application/octet-stream",
    begin: "{",
    more: "Inference-Header-Content-Length: 100\r\n",
  },
  {
    path: "/v1/classify",
    type: "image/png",
    begin: "\x1f\x8b\x08",
    more: "Content-Encoding: gzip\r\n",
  },
];

/** How a body that has begun goes wrong. */
const ENDS = [
  { name: "breaks off", length: "Content-Length: 1000", rest: "" },
  {
    name: "breaks off in a chunk",
    length: "Transfer-Encoding: chunked",
    rest: "FFFF\r\nabc",
  },
  {
    name: "has a malformed chunk",
    length: "Transfer-Encoding: chunked",
    rest: "no number\r\nabc\r\n",
  },
];

for (const { name, length, rest } of ENDS) {
  Deno.test(`a body that ${name} is the sender's fault`, async () => {
    for (const { path, type, begin, more = "" } of REQUESTS) {
      const id = crypto.randomUUID();
      const isChunked = length.startsWith("Transfer");
      const size = begin.length.toString(16);
      await send(server.served, {
        head: `POST ${path} HTTP/1.1\r\nHost: ${
          new URL(server.url).host
        }\r\nX-Request-Id: ${id}\r\nContent-Type: ${type}\r\n${more}${length}\r\nExpect: 100-continue\r\n\r\n`,
        body: isChunked ? `${size}\r\n${begin}\r\n${rest}` : begin,
      });
      const ofRequest = () =>
        server.served.log.filter(({ requestId }) => requestId === id);
      await eventually(
        `${path} ${type} is logged`,
        () => ofRequest().length > 0,
      );
      const [{ event, code, level }] = ofRequest() as [Record<string, unknown>];
      assert.deepEqual({ event, level }, { event: "request", level: "info" });
      assert.ok(code === 400 || code === 499, `${path} ${type}: ${code}`);
    }
  });
}

/** Sends a head, and a body once it is being read; then leaves. */
async function send(
  { url }: Served,
  { head, body }: { head: string; body: string },
): Promise<void> {
  const port = Number(new URL(url).port);
  using connection = await Deno.connect({ port });
  await connection.write(bytesOf(head));
  const answer = new Uint8Array(1024);
  const count = await within("it is read", connection.read(answer));
  assert.match(
    new TextDecoder().decode(answer.subarray(0, count ?? 0)),
    /^HTTP\/1.1 100 /,
  );
  await connection.write(bytesOf(body));
}

function bytesOf(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}
