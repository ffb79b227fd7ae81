import assert from "node:assert/strict";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { listen } from "../../lib/commands/serve.ts";
import { DEFAULT_LIMITS } from "../../lib/serve/limits.ts";
import { startServer } from "../../lib/serve/server.ts";
import { drawModels, serve } from "../serve/served.ts";
import {
  assertFailsInOneLine,
  folderOfFile,
  freePort,
  zoomin,
} from "./process.ts";
import { eventually, within } from "../waiting.ts";

const folder = folderOfFile(async (folder) => {
  await drawModels(folder);
  await Deno.mkdir(join(folder, "empty"));
  await Deno.writeTextFile(join(folder, "token"), "0123456789abcdef\n");
  await Deno.writeTextFile(join(folder, "short"), "secret\n");
});

Deno.test("serve says what is wrong with its flags", async () => {
  const faults: [string[], RegExp][] = [
    [[], /give --models DIR/],
    [
      ["--models", "absent"],
      /--models absent does not exist or is not a folder/,
    ],
    [["--models", "token"], /not a folder/],
    [["--models", "empty", "--data-root", "absent"], /--data-root absent/],
    [["--models", "empty", "--port", "70000"], /--port/],
    [["--models", "empty", "--timeout", "0"], /--timeout/],
    [["--models", "empty", "--host", "0.0.0.0"], /Without a token/],
    [["--models", "empty", "--host", "::"], /Without a token/],
    [["--models", "empty", "--host", "example.org"], /Without a token/],
    [
      ["--models", "empty", "--allow-host", "https://example.org/x"],
      /--allow-host "https:\/\/example.org\/x".* host or host:port/,
    ],
    [["--models", "empty", "--token-file", "absent"], /Cannot read the token/],
    [["--models", "empty", "--token-file", "short"], /fewer than 16/],
  ];
  for (const [argv, message] of faults) {
    assertFailsInOneLine(await zoomin(folder, "serve", ...argv), {
      code: 2,
      message,
    });
  }
});

Deno.test("a server with no model yet is ready to train one", async () => {
  await using served = await serve(
    folder,
    ...["--models", "empty", "--data-root", "set", "--workers", "1"],
  );
  const ready = await fetch(`${served.url}/readyz`);
  assert.equal(ready.status, 200);
  assert.equal((await ready.json()).model, null);
  const answer = await fetch(`${served.url}/v1/classify`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ path: "images/test_00000.png" }),
  });
  assert.equal(answer.status, 404);
  assert.match((await answer.json()).error, /no model yet/);
});

Deno.test("its port being taken is one line", async () => {
  await using served = await serve(
    folder,
    ...["--models", "models", "--workers", "1"],
  );
  const { port } = new URL(served.url);
  const result = await zoomin(
    folder,
    ...["serve", "--models", "empty", "--port", port, "--backend", "wasm"],
  );
  // The only line: no engine was started.
  assertFailsInOneLine(result, {
    code: 1,
    message: new RegExp(
      `^Cannot serve on 127.0.0.1:${port}: another program listens there; give another --port$`,
    ),
  });
});

Deno.test("an address that this machine does not have is one line", async () => {
  for (const host of ["nosuch.invalid", "192.0.2.1"]) {
    const result = await zoomin(
      folder,
      ...["serve", "--models", "empty", "--token-file", "token"],
      ...["--host", host, "--port", "8765", "--backend", "wasm"],
    );
    assertFailsInOneLine(result, {
      code: 1,
      message: new RegExp(
        `^Cannot serve on ${host}:8765: .+; give another --host or --port$`,
      ),
    });
  }
});

Deno.test("a stop waits for what is under way, but not for ever", async () => {
  const server = await startServer({
    models: join(folder, "empty"),
    dataRoots: [],
    allowedHosts: [],
    backend: "wasm",
    workers: 1,
    log() {},
    limits: { ...DEFAULT_LIMITS, drainMs: 500 },
  });
  const port = freePort();
  const stopping = new AbortController();
  const stopped = listen(server, {
    hostname: "127.0.0.1",
    port,
    stop: stopping.signal,
  });
  try {
    using upload = await Deno.connect({ hostname: "127.0.0.1", port });
    await upload.write(new TextEncoder().encode(
      "POST /v1/classify HTTP/1.1\r\nhost: localhost\r\n" +
        "content-type: image/png\r\ncontent-length: 1000\r\n\r\nabc",
    ));
    await eventually("it is under way", () => server.predictor.pending === 1);
    stopping.abort();
    let isStopped = false;
    stopped.then(() => isStopped = true);
    await setImmediate();
    assert.equal(isStopped, false);
    await within("it has stopped", stopped);
  } finally {
    server.close();
  }
});

Deno.test("a stop while the server starts is heard", async () => {
  const server = await startServer({
    models: join(folder, "empty"),
    dataRoots: [],
    allowedHosts: [],
    backend: "wasm",
    workers: 1,
    log() {},
    limits: DEFAULT_LIMITS,
  });
  try {
    const stop = AbortSignal.abort();
    await listen(server, { hostname: "127.0.0.1", port: freePort(), stop });
  } finally {
    server.close();
  }
});

Deno.test("the task grants what is needed and no more", async () => {
  const { tasks } = JSON.parse(
    await Deno.readTextFile(new URL("../../deno.json", import.meta.url)),
  );
  const { command } = tasks.serve;
  assert.match(command, /--no-prompt/);
  assert.doesNotMatch(command, / -A|--allow-all|--allow-run/);
  assert.match(command, / --allow-env=\S+ --allow-sys=\S+ /);
});
