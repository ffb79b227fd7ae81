import assert from "node:assert/strict";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { listen } from "../../lib/commands/serve.ts";
import { DEFAULT_LIMITS } from "../../lib/serve/limits.ts";
import { type Server, startServer } from "../../lib/serve/server.ts";
import {
  drawModels,
  ended,
  post,
  serve,
  SMALL_SETTINGS,
} from "../serve/served.ts";
import { assertFailsInOneLine, folderOfFile, zoomin } from "./process.ts";
import { eventually, LONGEST_MS, within } from "../waiting.ts";

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
    [["--models", "empty", "--state", "absent"], /--state absent/],
    [["--models", "empty", "--port", "70000"], /--port/],
    [["--models", "empty", "--timeout", "0"], /--timeout/],
    [["--models", "empty", "--host", "0.0.0.0"], /Without a token/],
    [["--models", "empty", "--host", "::"], /Without a token/],
    [["--models", "empty", "--host", "example.org"], /Without a token/],
    [
      ["--models", "empty", "--allow-host", "s3://slides"],
      /--allow-host s3:\/\/slides needs credentials, and the server may not read AWS_ACCESS_KEY_ID,AWS_SECRET_ACCESS_KEY,.*--allow-env/,
    ],
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

Deno.test("a server with no model yet trains one, and is then ready", async () => {
  await Deno.mkdir(join(folder, "first"));
  await using served = await serve(
    folder,
    ...["--models", "first", "--data-root", "set", "--workers", "1"],
  );
  const ready = await fetch(`${served.url}/readyz`);
  assert.equal(ready.status, 503); // a balancer would send what gets a 404
  const { model, reason } = await ready.json();
  assert.equal(model, null);
  assert.match(reason, /no model yet: train one \(POST \/v1\/train\)/);
  const live = await fetch(`${served.url}/livez`);
  await live.body?.cancel();
  assert.equal(live.status, 200);
  const answer = await post(`${served.url}/v1/classify`, {
    path: "images/test_00000.png",
  });
  assert.equal(answer.status, 404);
  assert.match((await answer.json()).error, /no model yet/);

  const accepted = await post(`${served.url}/v1/train`, {
    ...{ data: "manifest.csv", name: "first", preset: "needle", epochs: 1 },
    settings: SMALL_SETTINGS,
  });
  const job = await ended(served.url, (await accepted.json()).id);
  assert.equal(job.state, "succeeded", job.error ?? "");
  const now = await fetch(`${served.url}/readyz`);
  assert.equal(now.status, 200);
  assert.equal((await now.json()).model, "first");
});

Deno.test("jobs and uploads lie apart from the models where that is asked for", async () => {
  const models = join(folder, "apart", "models");
  await Deno.mkdir(join(folder, "apart", "state"), { recursive: true });
  await Deno.mkdir(models);
  await Deno.symlink(join(folder, "models", "first"), join(models, "first"));
  await using served = await serve(
    folder,
    ...["--models", "apart/models", "--state", "apart/state"],
    ...["--data-root", "set", "--workers", "1"],
  );
  const answer = await post(`${served.url}/v1/train`, {
    ...{ data: "manifest.csv", name: "second", preset: "needle", epochs: 1 },
    settings: SMALL_SETTINGS,
  });
  const { id } = await answer.json();
  const job = await ended(served.url, id);
  assert.equal(job.state, "succeeded", job.error ?? "");
  const names = (path: string) =>
    [...Deno.readDirSync(path)].map(({ name }) => name).toSorted();
  assert.deepEqual(names(models), ["first", "second"]);
  const state = join(folder, "apart", "state");
  assert.ok(names(state).includes("jobs.sqlite"));
  assert.deepEqual(names(join(state, "jobs")), [id]);
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

/** A server of an empty folder that waits `drainMs` for requests at its end. */
async function emptyServer(drainMs: number): Promise<Server> {
  return await startServer({
    models: join(folder, "empty"),
    dataRoots: [],
    allowedHosts: [],
    backend: "wasm",
    workers: 1,
    log() {},
    limits: { ...DEFAULT_LIMITS, drainMs },
  });
}

/** Listens on a port of the system's choice; `url` is what it prints. */
async function listening(server: Server, stop: AbortSignal) {
  const { log } = console;
  const printed = Promise.withResolvers<string>();
  console.log = printed.resolve;
  try {
    const stopped = listen(server, { hostname: "127.0.0.1", port: 0, stop });
    return { url: await within("it listens", printed.promise), stopped };
  } finally {
    console.log = log;
  }
}

/** Sends a part of a request, and waits until it is under way. */
async function halfAnUpload(url: string, server: Server): Promise<Deno.Conn> {
  const { hostname, port } = new URL(url);
  const upload = await Deno.connect({ hostname, port: Number(port) });
  await upload.write(new TextEncoder().encode(
    "POST /v1/classify HTTP/1.1\r\nhost: localhost\r\n" +
      "content-type: image/png\r\ncontent-length: 1000\r\n\r\nabc",
  ));
  await eventually("it is under way", () => server.predictor.pending === 1);
  return upload;
}

Deno.test("a stop waits for what is under way", async () => {
  const server = await emptyServer(10 * LONGEST_MS);
  try {
    const stopping = new AbortController();
    const { url, stopped } = await listening(server, stopping.signal);
    let isStopped = false;
    stopped.then(() => isStopped = true);
    {
      using _upload = await halfAnUpload(url, server);
      stopping.abort();
      await server.drain(); // a stop that does not wait ends with this
      await setImmediate();
      assert.equal(isStopped, false);
    } // it is given up
    await within("it has stopped", stopped);
  } finally {
    server.close();
  }
});

Deno.test("a stop does not wait for ever", async () => {
  const server = await emptyServer(100);
  try {
    const stopping = new AbortController();
    const { url, stopped } = await listening(server, stopping.signal);
    using _upload = await halfAnUpload(url, server);
    stopping.abort();
    await within("it has stopped", stopped);
  } finally {
    server.close();
  }
});

Deno.test("a stop while the server starts is heard", async () => {
  const server = await emptyServer(DEFAULT_LIMITS.drainMs);
  try {
    const { stopped } = await listening(server, AbortSignal.abort());
    await within("it has stopped", stopped);
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
