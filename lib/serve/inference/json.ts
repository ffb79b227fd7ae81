/**
 * The JSON of a request of the Open Inference Protocol, and the tensor in it.
 *
 * @module
 */
import { InputError } from "../errors.ts";
import { parsed } from "../schemas.ts";
import { jsonTensor } from "./inputs.ts";
import { type InferRequest, inferSchema } from "./schemas.ts";

/** A request, its tensor apart. */
export interface JsonRequest {
  request: InferRequest;
  /** Bytes of each image, or of its address; undefined if not in the JSON. */
  tensor: Uint8Array[] | undefined;
}

/**
 * Reads JSON.
 *
 * @throws {InputError}
 */
export function readJson(json: Uint8Array): JsonRequest {
  const request = parsed(inferSchema, jsonOf(json));
  const [input] = request.inputs;
  const tensor = jsonTensor(input!);
  delete input!.data;
  return { request, tensor };
}

function jsonOf(json: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(json));
  } catch (cause) {
    throw new InputError(
      "body",
      `Cannot read the JSON of the body: ${(cause as Error).message}`,
      { cause },
    );
  }
}
