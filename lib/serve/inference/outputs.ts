/**
 * Responses of the Open Inference Protocol: outputs in JSON, or as bytes after it
 * if the caller asks for that.
 *
 * @module
 */
import { labelReader } from "../../data/goals.ts";
import type { ModelEntry } from "../models.ts";
import type { ModelClassification } from "../predictor.ts";
import type { InferRequest, InferResponse, OutputTensor } from "./schemas.ts";

/** Outputs of a response, and the bytes of those that are not in JSON. */
export interface EncodedOutputs {
  outputs: InferResponse["outputs"];
  /** One for each output with a `binary_data_size`, in order. */
  tensors: Uint8Array<ArrayBuffer>[];
}

/** An output before it is encoded. */
interface Tensor extends Pick<OutputTensor, "name" | "datatype" | "shape"> {
  data: (string | number)[];
}

/** Encodes the outputs that `request` asks for, one row an image. */
export function encodeOutputs(
  model: ModelEntry,
  results: readonly ModelClassification[],
  request: InferRequest,
): EncodedOutputs {
  const tensors: Uint8Array<ArrayBuffer>[] = [];
  const outputs = outputsOf(model, results)
    .filter(({ name }) => isWanted(name, request))
    .map(({ data, ...output }) => {
      if (!isBinary(output.name, request)) return { ...output, data };
      const bytes = encodeData(data);
      tensors.push(bytes);
      return { ...output, parameters: { binary_data_size: bytes.length } };
    });
  return { outputs, tensors };
}

/** Output tensors of a model, for its metadata. */
export function outputMetadata(
  { info: { classes, config } }: ModelEntry,
): Omit<Tensor, "data">[] {
  const { fixed } = labelReader(config.target);
  return [
    { name: "label", datatype: "BYTES", shape: [-1] },
    {
      name: fixed ? fixed[0]! : "probabilities",
      datatype: "FP32",
      shape: [-1, classes.length],
    },
  ];
}

function outputsOf(model: ModelEntry, results: readonly ModelClassification[]) {
  const { classes } = model.info;
  const data: Record<string, Tensor["data"]> = {
    label: results.map(({ label }) => label),
    probabilities: results.flatMap(({ probabilities }) =>
      classes.map((name) => probabilities[name]!)
    ),
    value: results.map(({ value }) => value!),
    risk: results.map(({ risk }) => risk!),
  };
  return outputMetadata(model).map(({ shape, ...output }) => ({
    ...output,
    shape: [results.length, ...shape.slice(1)],
    data: data[output.name]!,
  }));
}

function isWanted(output: string, { outputs = [] }: InferRequest): boolean {
  return outputs.length === 0 || outputs.some(({ name }) => name === output);
}

function isBinary(
  output: string,
  { outputs = [], parameters }: InferRequest,
): boolean {
  const asked = outputs.find(({ name }) => name === output);
  return asked?.parameters?.binary_data ?? parameters?.binary_data_output ??
    false;
}

/**
 * Bytes of a tensor, little-endian: FP32, or BYTES with a 32-bit length before
 * each.
 */
function encodeData(data: Tensor["data"]): Uint8Array<ArrayBuffer> {
  const parts = data.map((value) => {
    if (typeof value === "string") {
      const text = new TextEncoder().encode(value);
      return [numberBytes("setUint32", text.length), text];
    }
    return [numberBytes("setFloat32", value)];
  }).flat();
  const bytes = new Uint8Array(
    parts.reduce((sum, { length }) => sum + length, 0),
  );
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

function numberBytes(
  set: "setUint32" | "setFloat32",
  value: number,
): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer)[set](0, value, true);
  return bytes;
}
