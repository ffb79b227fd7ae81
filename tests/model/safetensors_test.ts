import assert from "node:assert/strict";
import {
  decodeSafeTensors,
  encodeSafeTensors,
  type SafeTensors,
} from "../../lib/model/safetensors.ts";

const EXAMPLE: SafeTensors = {
  tensors: new Map([
    ["a", { shape: [2, 3], data: Float32Array.of(1, -2, 3.5, 0, -0, 1e-30) }],
    ["empty", { shape: [0, 4], data: new Float32Array(0) }],
    ["scalar", { shape: [], data: Float32Array.of(Infinity) }],
    ["é/ü", { shape: [1], data: Float32Array.of(7) }],
  ]),
  metadata: { zoomin: '{"with": "quotes"}', other: "µ" },
};

/** A file with this header and these bytes after it. */
function file(header: string, data = new Uint8Array(8)): Uint8Array {
  const text = new TextEncoder().encode(header);
  const bytes = new Uint8Array(8 + text.length + data.length);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true);
  bytes.set(text, 8);
  bytes.set(data, 8 + text.length);
  return bytes;
}

Deno.test("safetensors reads back the tensors it wrote", () => {
  assert.deepEqual(decodeSafeTensors(encodeSafeTensors(EXAMPLE)), EXAMPLE);
});

Deno.test("safetensors: the layout that other tools read", () => {
  const bytes = encodeSafeTensors({
    tensors: new Map([["w", { shape: [2], data: Float32Array.of(1, 2) }]]),
    metadata: { k: "v" },
  });
  const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
  assert.equal(length % 8, 0); // the values lie aligned
  const text = new TextDecoder().decode(bytes.subarray(8, 8 + length));
  assert.deepEqual(JSON.parse(text), {
    __metadata__: { k: "v" },
    w: { dtype: "F32", shape: [2], data_offsets: [0, 8] },
  });
  const values = new Float32Array(bytes.buffer.slice(8 + length));
  assert.deepEqual([...values], [1, 2]);
});

Deno.test("safetensors: part of a larger buffer", () => {
  const bytes = encodeSafeTensors(EXAMPLE);
  const larger = new Uint8Array(bytes.length + 20);
  larger.set(bytes, 3); // not even aligned
  const part = larger.subarray(3, 3 + bytes.length);
  assert.deepEqual(decodeSafeTensors(part), EXAMPLE);
  const values = new Float32Array([0, 5, 6]).subarray(1);
  const { tensors } = decodeSafeTensors(encodeSafeTensors({
    tensors: new Map([["x", { shape: [2], data: values }]]),
    metadata: {},
  }));
  assert.deepEqual([...tensors.get("x")!.data], [5, 6]);
});

Deno.test("safetensors: a file without metadata", () => {
  const header = '{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}';
  const { metadata, tensors } = decodeSafeTensors(file(header));
  assert.deepEqual(metadata, {});
  assert.deepEqual([...tensors.get("w")!.data], [0, 0]);
});

Deno.test("safetensors: damaged files", () => {
  const tensor = (fields: object) =>
    file(JSON.stringify({
      w: { dtype: "F32", shape: [2], data_offsets: [0, 8], ...fields },
    }));
  const damaged: [Uint8Array, RegExp][] = [
    [new Uint8Array(0), /only 0 bytes/],
    [new Uint8Array(7), /only 7 bytes/],
    [new Uint8Array(8).fill(255), /beyond the end/],
    [encodeSafeTensors(EXAMPLE).subarray(0, 40), /beyond the end/],
    [file("{no json"), /not JSON/],
    [file("[1]"), /"0" is not a float32 tensor/],
    [file("null"), /not a JSON object/],
    [file('{"w":null}'), /"w" is not a float32 tensor/],
    [file('{"w":3}'), /"w" is not a float32 tensor/],
    [file('{"__metadata__":3}'), /metadata/],
    [file('{"__metadata__":{"zoomin":3}}'), /metadata/],
    [tensor({ dtype: "BF16" }), /"w" is not a float32 tensor/],
    [tensor({ shape: "2" }), /"w" is not a float32 tensor/],
    [tensor({ shape: [3] }), /"w" does not fit/],
    [tensor({ shape: [-1, -2] }), /"w" is not a float32 tensor/],
    [tensor({ shape: [0.5, 4] }), /"w" is not a float32 tensor/],
    [tensor({ data_offsets: [4, 12] }), /"w" does not fit/],
    [tensor({ data_offsets: [-4, 4] }), /"w" is not a float32 tensor/],
    [tensor({ data_offsets: [0.5, 8.5] }), /"w" is not a float32 tensor/],
    [tensor({ data_offsets: ["0", "8"] }), /"w" is not a float32 tensor/],
    [tensor({ data_offsets: [] }), /"w" does not fit/],
    [
      file(JSON.stringify({
        v: { dtype: "F32", shape: [1], data_offsets: [4, 8] },
        w: { dtype: "F32", shape: [2], data_offsets: [0, 8] },
      })),
      /"w" and "v" share bytes/,
    ],
  ];
  for (const [bytes, message] of damaged) {
    assert.throws(() => decodeSafeTensors(bytes), (error: Error) => {
      assert.ok(error instanceof SyntaxError, `${error}`);
      assert.match(error.message, message);
      return true;
    });
  }
  const whole = encodeSafeTensors(EXAMPLE);
  for (const cut of [1, 4, 5]) {
    assert.throws(
      () => decodeSafeTensors(whole.subarray(0, whole.length - cut)),
      /SyntaxError: ".*" does not fit/,
    );
  }
});

Deno.test("safetensors: a header that ends beyond the file, by a byte even", () => {
  const header = file("{}", new Uint8Array(0));
  const claim = (more: number) => {
    const bytes = header.slice();
    new DataView(bytes.buffer).setBigUint64(0, BigInt(2 + more), true);
    return () => decodeSafeTensors(bytes);
  };
  assert.doesNotThrow(claim(0));
  for (const more of [1, 4, 8]) {
    assert.throws(claim(more), /beyond the end/, `${more}`);
  }
});
