/** The binary tensor extension, packed bodies and tensors of pixels. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { type IncomingMessage, request } from "node:http";
import { gunzipSync, inflateSync } from "node:zlib";
import sharp from "sharp";
import { assertRefused, imageOf, post, serverOfFile } from "../serve/served.ts";
import {
  bytesOf,
  HEADER_LENGTH,
  images,
  joined,
  send,
} from "./inference_requests.ts";

const NAME = "test_00000.png";
const PACKINGS = ["gzip", "deflate"] as const;

const server = serverOfFile("--workers", "1", "--max-upload", "8");

/** The label and probabilities of each image, of either form. */
async function told(response: Response) {
  const text = response.headers.get(HEADER_LENGTH);
  const body = new Uint8Array(await response.arrayBuffer());
  const length = text === null ? body.length : Number(text);
  const json = JSON.parse(new TextDecoder().decode(body.subarray(0, length)));
  assert.equal(response.status, 200, JSON.stringify(json));
  let at = length;
  const values: Record<string, (string | number)[]> = {};
  for (const { name, datatype, data, parameters } of json.outputs) {
    if (data) {
      values[name] = data;
      continue;
    }
    const bytes = body.slice(at, at + parameters.binary_data_size);
    at += bytes.length;
    values[name] = datatype === "FP32"
      ? [...new Float32Array(bytes.buffer)]
      : textsOf(bytes);
  }
  assert.equal(at, body.length);
  return { id: json.id, values };
}

function textsOf(bytes: Uint8Array): string[] {
  const texts: string[] = [];
  for (let at = 0; at < bytes.length;) {
    const length = new DataView(bytes.buffer, bytes.byteOffset + at)
      .getUint32(0, true);
    texts.push(
      new TextDecoder().decode(bytes.subarray(at + 4, at + 4 + length)),
    );
    at += 4 + length;
  }
  return texts;
}

async function expected() {
  const answer = await post(`${server.url}/v1/classify`, {
    path: `images/${NAME}`,
    seed: 3,
  });
  const { label, probabilities } = await answer.json();
  return { label, probabilities: Object.values<number>(probabilities) };
}

async function assertLike(response: Response, count = 1): Promise<void> {
  const { label, probabilities } = await expected();
  const { values } = await told(response);
  assert.deepEqual(values.label, new Array(count).fill(label));
  const all = Array.from({ length: count }, () => probabilities).flat();
  assert.equal(values.probabilities!.length, all.length);
  values.probabilities!.forEach((p, i) =>
    assert.ok(Math.abs(Number(p) - all[i]!) < 1e-5)
  );
}

Deno.test("files come as bytes, with a type and without one", async () => {
  const file = await imageOf(server.folder, NAME);
  await assertLike(await send(server.url, images(file)));
  await assertLike(
    await send(server.url, images(file), { type: "application/octet-stream" }),
  );
  const { input, bytes } = images(file, file);
  await assertLike(
    await send(server.url, { input: { ...input, shape: [2, 1] }, bytes }),
    2,
  );
});

Deno.test("addresses come as bytes", async () => {
  const path = new TextEncoder().encode(`images/${NAME}`);
  await assertLike(
    await send(server.url, {
      input: { name: "uri", datatype: "BYTES", shape: [1] },
      bytes: bytesOf(path),
    }),
  );
});

Deno.test("JSON without a type, and as a column, is taken", async () => {
  const data = [[(await imageOf(server.folder, NAME)).toBase64()]];
  const input = { name: "image", datatype: "BYTES", shape: [1, 1], data };
  const body = JSON.stringify({ inputs: [input], parameters: { seed: 3 } });
  await assertLike(
    await fetch(`${server.url}/v2/models/first/infer`, {
      method: "POST",
      body: new Blob([body]).stream(),
    }),
  );
  const refused = await fetch(`${server.url}/v2/models/first/infer`, {
    method: "POST",
    headers: { "content-type": "application/x-www-form-urlencoded" },
    body,
  });
  await assertRefused(refused, { status: 415, error: /application\/json/ });
});

Deno.test("pixels are classified as the file that holds them", async () => {
  const { data, info } = await sharp(await imageOf(server.folder, NAME))
    .removeAlpha().raw().toBuffer({ resolveWithObject: true });
  const shape = [info.height, info.width, 3];
  const pixels = { name: "pixels", datatype: "UINT8" };
  await assertLike(
    await send(server.url, { input: { ...pixels, shape }, bytes: data }),
  );
  const two = joined(new Uint8Array(data), new Uint8Array(data));
  await assertLike(
    await send(server.url, {
      input: { ...pixels, shape: [2, ...shape] },
      bytes: two,
    }),
    2,
  );
  const rows = Array.from(
    { length: info.height },
    (_, y) =>
      Array.from({ length: info.width }, (_, x) => {
        const at = (y * info.width + x) * 3;
        return [...data.subarray(at, at + 3)];
      }),
  );
  for (const data of [[rows], rows.flat(2)]) {
    const input = { ...pixels, shape: [1, ...shape], data };
    await assertLike(
      await post(`${server.url}/v2/models/first/infer`, {
        inputs: [input],
        parameters: { seed: 3 },
      }),
    );
  }
});

Deno.test("outputs come as bytes where that is asked for", async () => {
  const sent = images(await imageOf(server.folder, NAME));
  const ask = async (json: Record<string, unknown>) => {
    const response = await send(server.url, sent, { json });
    const type = response.headers.get("content-type");
    return { type, ...await told(response) };
  };
  const plain = await ask({});
  assert.match(plain.type!, /^application\/json/);
  const all = await ask({
    id: "mine",
    parameters: { seed: 3, binary_data_output: true },
  });
  assert.deepEqual([all.type, all.id], ["application/octet-stream", "mine"]);
  assert.deepEqual(all.values.label, plain.values.label);
  const float = new Float32Array(plain.values.probabilities as number[]);
  assert.deepEqual(all.values.probabilities, [...float]);
  // The setting of an output overrides that of the request.
  const one = await ask({
    parameters: { seed: 3, binary_data_output: true },
    outputs: [{ name: "label", parameters: { binary_data: false } }],
  });
  assert.match(one.type!, /^application\/json/);
  assert.deepEqual(one.values, { label: plain.values.label });
});

Deno.test("packed bodies are taken, and answers packed where asked", async () => {
  const sent = images(await imageOf(server.folder, NAME));
  for (const packing of PACKINGS) {
    await assertLike(await send(server.url, sent, { packing }));
    for (const binary_data_output of [true, false]) {
      const { headers, body } = await asked(binary_data_output, packing);
      assert.equal(headers["content-encoding"], packing);
      assert.match(headers.vary!, /accept-encoding/i);
      const unpacked = packing === "gzip"
        ? gunzipSync(body)
        : inflateSync(body);
      const length = headers[HEADER_LENGTH];
      assert.equal(length !== undefined, binary_data_output);
      const json = unpacked.subarray(0, Number(length ?? unpacked.length));
      const { outputs } = JSON.parse(json.toString());
      assert.equal(outputs[1].name, "probabilities");
      assert.equal("data" in outputs[1], !binary_data_output);
    }
  }
});

/** An answer as it comes over the wire: fetch would unpack it. */
async function asked(binary_data_output: boolean, packing: string) {
  const data = [(await imageOf(server.folder, NAME)).toBase64()];
  const asking = request(`${server.url}/v2/models/first/infer`, {
    method: "POST",
    headers: { "accept-encoding": packing },
  });
  asking.end(JSON.stringify({
    inputs: [{ name: "image", datatype: "BYTES", shape: [1], data }],
    parameters: { binary_data_output },
  }));
  const [{ headers }, body] = await new Promise<[IncomingMessage, Buffer]>(
    (resolve, reject) => {
      asking.on("error", reject);
      asking.on(
        "response",
        async (answer) =>
          resolve([answer, Buffer.concat(await Array.fromAsync(answer))]),
      );
    },
  );
  return { headers, body };
}

Deno.test("what a body unpacks to is bounded", async () => {
  const packed = async (bytes: number, packing: CompressionFormat) => {
    const zeros = new Blob([new Uint8Array(bytes)]).stream();
    return new Uint8Array(
      await new Response(zeros.pipeThrough(new CompressionStream(packing)))
        .arrayBuffer(),
    );
  };
  for (const packing of PACKINGS) {
    const bomb = await packed(2 ** 25, packing);
    assert.ok(bomb.length < 2 ** 16);
    for (
      const [path, type] of [
        ["/v2/models/first/infer", "application/json"],
        ["/v2/models/first/infer", "application/octet-stream"],
        ["/v1/jobs", "application/json"],
        ["/v1/classify", "image/png"],
      ] as const
    ) {
      const response = await fetch(server.url + path, {
        method: "POST",
        headers: { "content-type": type, "content-encoding": packing },
        body: bomb,
      });
      await assertRefused(response, { status: 413 });
    }
  }
});

Deno.test("a body that cannot be unpacked is refused", async () => {
  const sent = images(await imageOf(server.folder, NAME));
  const headers = { "content-encoding": "gzip" };
  await assertRefused(await send(server.url, sent, { headers }), {
    status: 400,
    field: "body",
    error: /gzip/,
  });
  await assertRefused(
    await send(server.url, sent, { headers: { "content-encoding": "br" } }),
    { status: 415, error: /"br".*gzip, deflate/ },
  );
});
