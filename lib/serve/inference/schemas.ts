/**
 * Requests and responses of the Open Inference Protocol, version 2.
 *
 * Sources: kserve/open-inference-protocol, specification/protocol/
 * inference_rest.md; triton-inference-server/server, docs/protocol/
 * extension_binary_data.md.
 *
 * @module
 */
import { z } from "@hono/zod-openapi";
import { bounded, closedObject, optionShape } from "../schemas.ts";

/** Most images of one request. */
export const MAX_IMAGES = 16;

/** The protocol's name of the extension for tensors as bytes. */
export const BINARY_EXTENSION = "binary_tensor_data";

/** Header with the length of the JSON before the bytes of tensors. */
export const HEADER_LENGTH = "inference-header-content-length";

/** Possible inputs; a request has one of them. */
export const INPUTS = {
  image: { datatype: "BYTES", shape: [-1] }, // encoded files
  uri: { datatype: "BYTES", shape: [-1] },
  pixels: { datatype: "UINT8", shape: [-1, -1, -1, 3] },
} as const;

/** Possible outputs; a model of a number has that in the place of probabilities. */
export const OUTPUTS = ["label", "probabilities", "value", "risk"] as const;

const binarySize = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);

/**
 * A parameter of an unsupported extension: refused, because it must not be
 * ignored.
 */
function notOffered(message: string) {
  return z.unknown().optional()
    .refine((value) => value === undefined, { error: message })
    .openapi({ description: `Not supported: ${message}` });
}

const noSharedMemory = notOffered("send the tensor itself");

const inputSchema = z.object({
  name: z.enum(Object.keys(INPUTS) as (keyof typeof INPUTS)[]),
  datatype: z.enum(["BYTES", "UINT8"]),
  shape: z.array(z.number().int().min(1).max(2 ** 31 - 1)).min(1).max(4),
  data: z.array(z.unknown()).min(1).optional().openapi({
    description: "image: files in base64; uri: URLs or paths; " +
      "pixels: numbers from 0 to 255, flat or nested",
    items: {},
  }),
  parameters: bounded(z.looseObject({
    binary_data_size: binarySize.optional().openapi({
      description: "Bytes of the tensor after the JSON, in place of `data`",
    }),
    shared_memory_region: noSharedMemory,
  })).optional(),
});

const requestedOutputSchema = z.object({
  name: z.enum(OUTPUTS),
  parameters: bounded(z.looseObject({
    binary_data: z.boolean().optional(),
    shared_memory_region: noSharedMemory,
    classification: notOffered("take both outputs"),
  })).optional(),
});

/** The JSON of a request. */
export const inferSchema = z.object({
  id: z.string().max(200).optional(),
  parameters: closedObject({
    samples: optionShape.samples,
    draws: optionShape.draws,
    seed: optionShape.seed,
    binary_data_output: z.boolean().optional().openapi({
      description: "Send outputs as bytes unless an output says otherwise",
    }),
  }).optional(),
  inputs: z.array(inputSchema).length(1)
    .openapi({ minItems: 1, maxItems: 1 }),
  outputs: z.array(requestedOutputSchema).max(OUTPUTS.length).optional()
    .openapi({ description: "Outputs to send; all if omitted" }),
}).openapi("InferRequest");

export const tensorSchema = z.object({
  name: z.string(),
  datatype: z.string(),
  shape: z.array(z.number().int()),
});

const outputSchema = z.object({
  ...tensorSchema.shape,
  data: z.array(z.union([z.string(), z.number()])).optional(),
  parameters: z.object({ binary_data_size: binarySize }).optional(),
});

/** The JSON of a response. */
export const inferResponseSchema = z.object({
  id: z.string(),
  model_name: z.string(),
  model_version: z.string(),
  outputs: z.array(outputSchema),
}).openapi("InferResponse");

export const modelMetadataSchema = z.object({
  name: z.string(),
  versions: z.array(z.string()),
  platform: z.string(),
  inputs: z.array(tensorSchema),
  outputs: z.array(tensorSchema),
}).openapi("ModelMetadata");

export type InferRequest = z.infer<typeof inferSchema>;
export type InferInput = z.infer<typeof inputSchema>;
export type InferResponse = z.infer<typeof inferResponseSchema>;
export type OutputTensor = z.infer<typeof outputSchema>;
