/** Connections that ask nothing, too many of them, and files that run out. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { DEFAULT_LIMITS } from "../../lib/serve/limits.ts";
import { serveHttp } from "../../lib/serve/http/server.ts";
import { folderOfFile, ROOT, taskFlags } from "../commands/process.ts";
import { drawModels, listening } from "../serve/served.ts";
import { eventually, within } from "../waiting.ts";

const folder = folderOfFile(drawModels);

/**
 * A server that answers after the first bytes of a body; `limits` in place of
 * its own.
 */
async function answering(limits: { headersMs?: number; connections?: number }) {
  const answer = async ({ body }: Request) => {
    await body?.getReader().read();
    return new Response("here");
  };
  const http = await serveHttp(answer, {
    hostname: "127.0.0.1",
    port: 0,
    limits: { ...DEFAULT_LIMITS, stallMs: 1000, idleMs: 1000, ...limits },
    onError(error) {
      throw error;
    },
    onReopened() {},
  });
  return {
    connect: () => Deno.connect({ hostname: "127.0.0.1", port: http.port }),
    url: `http://127.0.0.1:${http.port}/`,
    [Symbol.asyncDispose]: () => http.shutdown(),
  };
}

/** Everything that comes until the other side ends the connection. */
async function rest(connection: Deno.Conn): Promise<string> {
  let text = "";
  const buffer = new Uint8Array(1024);
  for (;;) {
    const count = await connection.read(buffer).catch(() => null); // reset
    if (count === null) return text;
    text += new TextDecoder().decode(buffer.subarray(0, count));
  }
}

Deno.test("connections that ask nothing, or half, are closed", async () => {
  await using server = await answering({ headersMs: 1000 });
  const encoder = new TextEncoder();
  using idle = await server.connect();
  using half = await server.connect();
  await half.write(encoder.encode("GET / HTTP/1.1\r\nhost: local"));
  using asked = await server.connect();
  await asked.write(
    encoder.encode("GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"),
  );
  const ends = Promise.all([rest(idle), rest(half), rest(asked)]);
  const [, , answer] = await within("all are closed", ends);
  assert.match(answer, /^HTTP\/1.1 200 OK\r\n[^]*here$/);
});

Deno.test("one connection more than the limit is closed at once", async () => {
  await using server = await answering({ connections: 3 });
  const held: Deno.Conn[] = [];
  for (let i = 0; i < 3; i++) held.push(await server.connect());
  using more = await server.connect();
  await within("it is closed", rest(more));
  for (const connection of held) connection.close();
  await eventually("there is room again", async () => {
    const response = await fetch(server.url).catch(() => undefined);
    return await response?.text() === "here";
  });
});

const GET = "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
const BODY_BYTES = 2 ** 22;
const POST =
  `POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: ${BODY_BYTES}\r\n\r\n`;

Deno.test("an answer before the end of a body leaves its connection usable", async () => {
  await using server = await answering({});
  using connection = await server.connect();
  const answers = rest(connection);
  const sent = new Response(POST + "x".repeat(BODY_BYTES) + GET).body!
    .pipeTo(connection.writable, { preventClose: true });
  await within("all is sent", sent);
  const text = await within("it is idle", answers);
  assert.equal(text.match(/\r\n\r\nhere/g)?.length, 2);
});

Deno.test("who stops in a body that is answered is closed", async () => {
  await using server = await answering({});
  using connection = await server.connect();
  await connection.write(new TextEncoder().encode(POST + "x"));
  assert.match(await within("it is closed", rest(connection)), /here$/);
});

/** Starts a program whose limit of open files is `files`. */
function startWithin(files: number, args: string[]): Deno.ChildProcess {
  return new Deno.Command("bash", {
    args: [
      "-c",
      `ulimit -n ${files} && exec "$@"`,
      "-",
      Deno.execPath(),
      ...args,
    ],
    cwd: folder,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

async function flood(url: string, count: number): Promise<void> {
  const { hostname, port } = new URL(url);
  const connections: Deno.Conn[] = [];
  while (connections.length < count) {
    connections.push(await Deno.connect({ hostname, port: Number(port) }));
  }
  await new Promise((done) => setTimeout(done, 500));
  for (const connection of connections) connection.close();
}

Deno.test("more connections than files do not end the server", async () => {
  const command = [
    ...[...taskFlags("serve"), join(ROOT, "main.ts"), "serve"],
    ...["--models", "models", "--port", "0", "--backend", "wasm"],
    ...["--workers", "1"],
  ];
  await using served = await listening(startWithin(256, command));
  await flood(served.url, 311);
  await eventually("it answers", async () => {
    const signal = AbortSignal.timeout(1000); // what is not accepted never ends
    const answer = await fetch(`${served.url}/livez`, { signal })
      .catch(() => undefined);
    return (await answer?.json())?.live === true;
  });
  await eventually(
    "it says that it takes fewer",
    () => served.log.some(({ event }) => event === "fewer connections"),
  );
});

Deno.test("too few files for any connection are one line", async () => {
  const command = [
    ...[...taskFlags("serve"), join(ROOT, "main.ts"), "serve"],
    ...["--models", "models", "--port", "0", "--backend", "wasm"],
    ...["--workers", "1"],
  ];
  const { code, stderr } = await startWithin(120, command).output();
  assert.equal(code, 1);
  assert.match(
    new TextDecoder().decode(stderr),
    /^Cannot serve with so few open files: raise the limit by \d+ \(ulimit -n\)$/m,
  );
});

Deno.test("a listener that has run out of files answers again", async () => {
  const program = join(folder, "unbounded.ts");
  const module = new URL("../../lib/serve/http/server.ts", import.meta.url);
  await Deno.writeTextFile(
    program,
    `import { serveHttp } from "${module}";
    Deno.addSignalListener("SIGTERM", () => Deno.exit()); // needs a file, too
    const http = await serveHttp(() => new Response("here"), {
      hostname: "127.0.0.1",
      port: 0,
      limits: { connections: 1e6, headersMs: 1e6, idleMs: 1e6, stallMs: 1e6 },
      onError() {},
      onReopened: () => console.error("opened again"),
    });
    console.log("http://127.0.0.1:" + http.port);`,
  );
  const process = startWithin(80, ["run", "--allow-net", program]);
  await using served = await listening(process);
  await flood(served.url, 120);
  await eventually("it is opened again", () => /again/.test(served.stderr));
  await eventually("it answers", async () => {
    const signal = AbortSignal.timeout(1000); // what is not accepted never ends
    const answer = await fetch(served.url, { signal }).catch(() => undefined);
    return await answer?.text() === "here";
  });
});
