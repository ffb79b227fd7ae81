/**
 * Writes small ONNX files: the fixture, and odd ones for tests.
 *
 *     deno run --allow-write tests/encoder/onnx_files.ts    writes the fixture
 *
 * Source: onnx.proto (https://github.com/onnx/onnx), whose numbers of fields
 * these are.
 *
 * @module
 */
import { fileURLToPath } from "node:url";

/** A dimension: a size, or a name if any will do. */
type Dimension = number | string;

/** An input or output. */
export interface ValueInfo {
  name: string;
  shape: readonly Dimension[];
  /** Number of its type; float32 if omitted. */
  type?: number;
}

/** Weights, or their place in another file. */
export interface Weights {
  name: string;
  dims: readonly number[];
  values: readonly number[];
  type?: number;
  external?: string;
}

/** An operation. */
export interface Operation {
  op: string;
  inputs: readonly string[];
  outputs: readonly string[];
  attributes?: Readonly<Record<string, number | readonly number[]>>;
}

/** A network. */
export interface Network {
  inputs: readonly ValueInfo[];
  outputs: readonly ValueInfo[];
  weights?: readonly Weights[];
  operations: readonly Operation[];
  metadata?: Readonly<Record<string, string>>;
}

/** Numbers of types. */
export const TYPES = { float32: 1, int64: 7, float16: 10, float64: 11 };

/** The file of a network. */
export function onnxFile(network: Network): Uint8Array<ArrayBuffer> {
  const graph = message(
    ...network.operations.map((one) => bytesField(1, operationOf(one))),
    textField(2, "graph"),
    ...(network.weights ?? []).map((one) => bytesField(5, weightsOf(one))),
    ...network.inputs.map((one) => bytesField(11, valueOf(one))),
    ...network.outputs.map((one) => bytesField(12, valueOf(one))),
  );
  const metadata = Object.entries(network.metadata ?? {});
  return message(
    numberField(1, 8), // version of the format
    textField(2, "zoomin"),
    textField(3, "1"),
    bytesField(7, graph),
    bytesField(8, message(textField(1, ""), numberField(2, 17))),
    ...metadata.map((entry) => bytesField(14, entryOf(...entry))),
  );
}

function operationOf(
  { op, inputs, outputs, attributes = {} }: Operation,
): Uint8Array {
  return message(
    ...inputs.map((name) => textField(1, name)),
    ...outputs.map((name) => textField(2, name)),
    textField(4, op),
    ...Object.entries(attributes).map(([name, value]) =>
      bytesField(5, attributeOf(name, value))
    ),
  );
}

function attributeOf(
  name: string,
  value: number | readonly number[],
): Uint8Array {
  return typeof value === "number"
    ? message(textField(1, name), numberField(3, value), numberField(20, 2))
    : message(
      textField(1, name),
      ...value.map((one) => numberField(8, one)),
      numberField(20, 7),
    );
}

function weightsOf(
  { name, dims, values, type = TYPES.float32, external }: Weights,
): Uint8Array {
  const data = type === TYPES.int64
    ? BigInt64Array.from(values, BigInt)
    : Float32Array.from(values);
  return message(
    ...dims.map((size) => numberField(1, size)),
    numberField(2, type),
    textField(8, name),
    ...(external === undefined
      ? [bytesField(9, new Uint8Array(data.buffer))]
      : [
        bytesField(13, entryOf("location", external)),
        numberField(14, 1),
      ]),
  );
}

function valueOf({ name, shape, type = TYPES.float32 }: ValueInfo): Uint8Array {
  const dimensions = shape.map((size) =>
    bytesField(
      1,
      typeof size === "number" ? numberField(1, size) : textField(2, size),
    )
  );
  const tensor = message(
    numberField(1, type),
    bytesField(2, message(...dimensions)),
  );
  return message(textField(1, name), bytesField(2, bytesField(1, tensor)));
}

function entryOf(key: string, value: string): Uint8Array {
  return message(textField(1, key), textField(2, value));
}

function message(...fields: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(
    fields.reduce((sum, { length }) => sum + length, 0),
  );
  let at = 0;
  for (const field of fields) {
    all.set(field, at);
    at += field.length;
  }
  return all;
}

function numberField(number: number, value: number): Uint8Array {
  return Uint8Array.from([...varint(number * 8), ...varint(value)]);
}

function bytesField(number: number, bytes: Uint8Array): Uint8Array {
  return message(
    Uint8Array.from([...varint(number * 8 + 2), ...varint(bytes.length)]),
    bytes,
  );
}

function textField(number: number, text: string): Uint8Array {
  return bytesField(number, new TextEncoder().encode(text));
}

function varint(value: number): number[] {
  const bytes: number[] = [];
  for (; value >= 128; value = Math.floor(value / 128)) {
    bytes.push(value % 128 + 128);
  }
  return [...bytes, value];
}

/** A 3 x 3 convolution of the fixture: half the rows and columns. */
export interface Layer {
  weights: number[]; // [to, from, 3, 3]
  bias: number[];
  from: number;
  to: number;
}

const CHANNELS = [3, 4, 8, 12];
const VECTOR = 5;

/** Weights of the fixture: three convolutions, and a linear layer. */
export function fixtureWeights(): { layers: Layer[]; linear: Layer } {
  let state = 1;
  // Park and Miller's generator: the same weights wherever it runs.
  const random = () => {
    state = (state * 48271) % (2 ** 31 - 1);
    return Math.fround(state / (2 ** 31 - 1) - 0.5);
  };
  const many = (count: number) => Array.from({ length: count }, random);
  const layers = CHANNELS.slice(1).map((to, i) => {
    const from = CHANNELS[i]!;
    return { from, to, weights: many(to * from * 9), bias: many(to) };
  });
  const last = CHANNELS.at(-1)!;
  const linear = {
    from: last,
    to: VECTOR,
    weights: many(VECTOR * last),
    bias: many(VECTOR),
  };
  return { layers, linear };
}

/** The fixture: maps at strides 4 and 8, a vector, and tokens. */
export function fixtureNetwork(
  size: readonly [Dimension, Dimension] = ["height", "width"],
): Network {
  const { layers, linear } = fixtureWeights();
  const convolutions = layers.flatMap((_, i): Operation[] => [
    {
      op: "Conv",
      inputs: [i === 0 ? "pixels" : NAMES[i - 1]!, `w${i}`, `b${i}`],
      outputs: [`c${i}`],
      attributes: {
        kernel_shape: [3, 3],
        strides: [2, 2],
        pads: [1, 1, 1, 1],
      },
    },
    { op: "Relu", inputs: [`c${i}`], outputs: [NAMES[i]!] },
  ]);
  return {
    inputs: [{ name: "pixels", shape: ["n", 3, ...size] }],
    outputs: [
      { name: "s4", shape: ["n", 8, "h4", "w4"] },
      { name: "s8", shape: ["n", 12, "h8", "w8"] },
      { name: "vector", shape: ["n", VECTOR] },
      { name: "tokens", shape: ["n", "t", 12] },
    ],
    weights: [
      ...layers.flatMap(({ weights, bias, from, to }, i): Weights[] => [
        { name: `w${i}`, dims: [to, from, 3, 3], values: weights },
        { name: `b${i}`, dims: [to], values: bias },
      ]),
      { name: "w", dims: [VECTOR, linear.from], values: linear.weights },
      { name: "b", dims: [VECTOR], values: linear.bias },
      { name: "flat", dims: [3], values: [0, 0, -1], type: TYPES.int64 },
    ],
    operations: [
      ...convolutions,
      { op: "GlobalAveragePool", inputs: ["s8"], outputs: ["mean"] },
      { op: "Flatten", inputs: ["mean"], outputs: ["means"] },
      {
        op: "Gemm",
        inputs: ["means", "w", "b"],
        outputs: ["vector"],
        attributes: { transB: 1 },
      },
      { op: "Reshape", inputs: ["s8", "flat"], outputs: ["cells"] },
      {
        op: "Transpose",
        inputs: ["cells"],
        outputs: ["tokens"],
        attributes: { perm: [0, 2, 1] },
      },
    ],
    metadata: {
      mean: "[0.5,0.4,0.3]",
      std: "[0.25,0.2,0.3]",
      source: "random weights",
    },
  };
}
const NAMES = ["s2", "s4", "s8"];

/** Path of the fixture. */
export const FIXTURE: string = fileURLToPath(
  new URL("../../fixtures/onnx/taps.onnx", import.meta.url),
);

if (import.meta.main) {
  await Deno.writeFile(FIXTURE, onnxFile(fixtureNetwork()));
}
