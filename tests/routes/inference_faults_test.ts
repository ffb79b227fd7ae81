/**
 * Faulty requests of the Open Inference Protocol: each is told by its field.
 */
import assert from "node:assert/strict";
import {
  assertRefused,
  filesIn,
  imageOf,
  post,
  serverOfFile,
} from "../serve/served.ts";
import {
  bytesOf,
  HEADER_LENGTH,
  images,
  joined,
  send,
  type SendOptions,
  type Sent,
} from "./inference_requests.ts";

const NAME = "test_00000.png";

const server = serverOfFile("--workers", "1", "--max-upload", "8");

Deno.test("a faulty tensor is refused by its field", async () => {
  const file = await imageOf(server.folder, NAME);
  const good = images(file);
  const size = good.bytes.length;
  const pixels: Sent = {
    input: { name: "pixels", datatype: "UINT8", shape: [2, 2, 3] },
    bytes: new Uint8Array(12),
  };
  const of = (sent: Sent, changes: Record<string, unknown>): Sent => ({
    ...sent,
    input: { ...sent.input, ...changes },
  });
  const faults: [Sent, SendOptions, number, string?, RegExp?][] = [
    [good, { header: "x" }, 400, HEADER_LENGTH],
    [good, { header: "0" }, 400, HEADER_LENGTH],
    [good, { header: "-5" }, 400, HEADER_LENGTH],
    [good, { header: "99999999" }, 413],
    [good, { header: "9" }, 400, "body", /JSON/],
    [{ ...good, bytes: good.bytes.slice(0, 50) }, { size }, 400, "body"],
    [good, { size: 3 }, 400, "inputs.0.data"],
    [good, { size: size - 1 }, 400, "inputs.0.data"],
    [good, { size: -1 }, 400, "inputs.0.parameters.binary_data_size"],
    [
      { ...good, bytes: joined(good.bytes as BlobPart, "more") },
      {},
      400,
      "inputs.0.parameters.binary_data_size",
    ],
    [
      { ...good, bytes: joined(good.bytes as BlobPart, "more") },
      { size },
      400,
      "body",
      /after the last tensor/,
    ],
    [of(good, { shape: [2] }), {}, 400, "inputs.0.data"],
    [of(good, { shape: [1, 2] }), {}, 400, "inputs.0.shape"],
    [of(good, { shape: [17] }), {}, 400, "inputs.0.shape"],
    [of(good, { data: ["x"] }), {}, 400, "inputs.0.data", /not both/],
    [of(good, { datatype: "UINT8" }), {}, 400, "inputs.0.datatype", /pixels/],
    [images(new Uint8Array()), {}, 400, "inputs.0.data", /empty/],
    [images(new Uint8Array(9)), {}, 415, "", /image\[0\]/],
    [images(new Uint8Array(2 ** 23 + 1)), {}, 413],
    [of(pixels, { shape: [2, 2, 4] }), {}, 400, "inputs.0.shape"],
    [of(pixels, { datatype: "FP32" }), {}, 400, "inputs.0.datatype"],
    [
      of(pixels, { shape: [2, 3, 3] }),
      {},
      400,
      "inputs.0.parameters.binary_data_size",
      /18/,
    ],
    [of(pixels, { shape: [9000, 9000, 3] }), { size: 243e6 }, 422],
    [
      {
        input: { name: "uri", datatype: "BYTES", shape: [1] },
        bytes: bytesOf(Uint8Array.of(0xff)),
      },
      {},
      400,
      "inputs.0.data",
      /UTF-8/,
    ],
  ];
  for (const [i, [sent, how, status, field, error]] of faults.entries()) {
    try {
      await assertRefused(await send(server.url, sent, how), {
        status,
        ...(field && { field }),
        ...(error && { error }),
      });
    } catch (cause) {
      throw new Error(`fault ${i}: ${JSON.stringify(sent.input)}`, { cause });
    }
  }
  assert.deepEqual(
    await filesIn(`${server.folder}/models/.server/uploads`),
    [],
  );
});

Deno.test("a faulty request in JSON is refused by its field", async () => {
  const pixels = { name: "pixels", datatype: "UINT8", shape: [1, 1, 3] };
  const image = { name: "image", datatype: "BYTES", shape: [1] };
  const faults: [Record<string, unknown>, string][] = [
    [{ ...pixels, data: [1, 2, 256] }, "inputs.0.data"],
    [{ ...pixels, data: [1, 2, 0.5] }, "inputs.0.data"],
    [{ ...pixels, data: [[[[1, 2, 3]]]] }, "inputs.0.shape"],
    [{ ...pixels, data: [1, 2] }, "inputs.0.shape"],
    [{ ...image, data: [7] }, "inputs.0.data"],
    [{ ...image, data: [""] }, "inputs.0.data"],
    [image, "inputs.0.data"],
    [
      { ...image, parameters: { binary_data_size: 9 } },
      "inputs.0.parameters.binary_data_size",
    ],
    [
      { ...image, parameters: { shared_memory_region: "x" } },
      "inputs.0.parameters.shared_memory_region",
    ],
    [{ ...image, name: "uri", data: ["x".repeat(5000)] }, "inputs.0.data"],
  ];
  for (const [input, field] of faults) {
    const response = await post(`${server.url}/v2/models/first/infer`, {
      inputs: [input],
    });
    await assertRefused(response, { status: 400, field });
  }
  const good = { ...image, data: ["aGVsbG8="] };
  const outputs = [{ name: "label", parameters: { classification: 2 } }];
  await assertRefused(
    await post(`${server.url}/v2/models/first/infer`, {
      inputs: [good],
      outputs,
    }),
    { status: 400, field: "outputs.0.parameters.classification" },
  );
});
