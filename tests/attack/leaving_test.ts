/** Clients that leave, and a stop of the server, while a request is under way. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { folderOfFile } from "../commands/process.ts";
import { drawModels, imageOf, serve, withServer } from "../serve/served.ts";
import { eventually, within } from "../waiting.ts";

const folder = folderOfFile(drawModels);

/** A body of each kind that holds or names an image, with its type. */
async function bodies(): Promise<Record<string, Request>> {
  const image = await imageOf(folder);
  const form = new FormData();
  form.append("file", new Blob([image]), "a.png");
  form.append("seed", "1");
  const ask = (body: BodyInit, type?: string) =>
    new Request("http://localhost/v1/classify", {
      method: "POST",
      body,
      ...(type !== undefined && { headers: { "content-type": type } }),
    });
  return {
    raw: ask(image, "image/png"),
    form: ask(form),
    JSON: ask(
      JSON.stringify({ path: "images/test_00000.png" }),
      "application/json",
    ),
  };
}

/** Bytes of a request: its head, and its body in two parts. */
async function bytesOf(request: Request) {
  const body = new Uint8Array(await request.arrayBuffer());
  const head = `POST /v1/classify HTTP/1.1\r\nhost: localhost\r\n` +
    `content-type: ${request.headers.get("content-type")}\r\n` +
    `content-length: ${body.length}\r\n\r\n`;
  const half = body.length >> 1;
  return {
    head: new TextEncoder().encode(head),
    parts: [body.subarray(0, half), body.subarray(half)] as const,
  };
}

async function connect(url: string): Promise<Deno.Conn> {
  const { hostname, port } = new URL(url);
  return await Deno.connect({ hostname, port: Number(port) });
}

async function sendAll(connection: Deno.Conn, bytes: Uint8Array) {
  for (let at = 0; at < bytes.length;) {
    at += await connection.write(bytes.subarray(at));
  }
}

Deno.test("a client that leaves after its request is noticed", async () => {
  const held = join(folder, "held");
  await Deno.writeTextFile(held, "");
  const engineModule = new URL("../serve/held_engine.ts", import.meta.url);
  engineModule.searchParams.set("file", held);
  await withServer(folder, { engineModule }, async (url, { predictor }) => {
    await using _held = { [Symbol.asyncDispose]: () => Deno.remove(held) };
    for (const [kind, request] of Object.entries(await bodies())) {
      const { head, parts } = await bytesOf(request);
      {
        using connection = await connect(url);
        for (const part of [head, ...parts]) await sendAll(connection, part);
        await eventually(
          `${kind} is under way`,
          () => predictor.pending === 1,
        );
        // Whole, and with the engine: no body is read any more.
        await new Promise((done) => setTimeout(done, 200));
        assert.equal(predictor.pending, 1, kind);
      }
      await eventually(
        `the end of ${kind} is noticed`,
        () => predictor.pending === 0,
        20_000,
      );
    }
  });
});

Deno.test("a stop lets uploads under way end, and answers them", async () => {
  for (const [kind, request] of Object.entries(await bodies())) {
    await using served = await serve(
      folder,
      ...["--models", "models", "--data-root", "set", "--workers", "1"],
    );
    const { head, parts: [first, rest] } = await bytesOf(request);
    using connection = await connect(served.url);
    await sendAll(connection, head);
    await sendAll(connection, first);
    await eventually(`${kind} is under way`, async () => {
      const metrics = await fetch(`${served.url}/metrics`);
      const pending = /^inference_pending_requests (\d+)$/m
        .exec(await metrics.text())![1];
      // JSON is read before it takes a place.
      return pending === "1" || kind === "JSON";
    });
    const stopped = served.stop();
    await eventually(
      "it is stopping",
      () => served.log.some(({ event }) => event === "stopping"),
    );
    await sendAll(connection, rest);
    const buffer = new Uint8Array(4096);
    const count = await within("an answer", connection.read(buffer));
    const answer = new TextDecoder().decode(buffer.subarray(0, count ?? 0));
    // A request whose place was taken is answered, any other is told to wait.
    assert.match(
      answer,
      kind === "JSON" ? /^HTTP\/1.1 (200|503) / : /^HTTP\/1.1 200 /,
    );
    assert.equal((await stopped).code, 0, served.stderr);
  }
});
