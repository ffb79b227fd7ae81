/**
 * Requests of the Open Inference Protocol with tensors as bytes.
 *
 * @module
 */

export const HEADER_LENGTH = "inference-header-content-length";

/** A request's input and the bytes of its tensor. */
export interface Sent {
  input: Record<string, unknown>;
  bytes: Uint8Array;
}

/** A tensor of BYTES: each element behind its length. */
export function bytesOf(...elements: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const parts = elements.flatMap((element) => [
    Uint32Array.of(element.length),
    element as Uint8Array<ArrayBuffer>,
  ]);
  return joined(...parts);
}

/** All parts as bytes, one behind the other. */
export function joined(...parts: BlobPart[]): Uint8Array<ArrayBuffer> {
  const sizes = parts.map((part) =>
    part instanceof Uint8Array || part instanceof Uint32Array
      ? new Uint8Array(part.buffer, part.byteOffset, part.byteLength)
      : new TextEncoder().encode(part as string)
  );
  const all = new Uint8Array(
    sizes.reduce((sum, { length }) => sum + length, 0),
  );
  let at = 0;
  for (const part of sizes) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** An input `image`, whose bytes announce their length. */
export function images(...files: Uint8Array[]): Sent {
  const bytes = bytesOf(...files);
  return {
    input: { name: "image", datatype: "BYTES", shape: [files.length] },
    bytes,
  };
}

/** Options of sending a request; by default it is complete and valid. */
export interface SendOptions {
  /** Its `binary_data_size`. */
  size?: number;
  /** Announced length of its JSON. */
  header?: string;
  type?: string;
  packing?: CompressionFormat;
  headers?: Record<string, string>;
  /** More of its JSON. */
  json?: Record<string, unknown>;
}

/** Sends JSON and the bytes of its tensor behind it. */
export function send(
  url: string,
  { input, bytes }: Sent,
  { size = bytes.length, header, type, packing, headers, json: more }:
    SendOptions = {},
): Promise<Response> {
  const json = new TextEncoder().encode(JSON.stringify({
    inputs: [{ ...input, parameters: { binary_data_size: size } }],
    parameters: { seed: 3 },
    ...more,
  }));
  let body: ReadableStream<Uint8Array> = new Blob([
    json,
    bytes as Uint8Array<ArrayBuffer>,
  ]).stream();
  if (packing) {
    body = (body as ReadableStream<Uint8Array<ArrayBuffer>>)
      .pipeThrough(new CompressionStream(packing));
  }
  return fetch(`${url}/v2/models/first/infer`, {
    method: "POST",
    headers: {
      [HEADER_LENGTH]: header ?? String(json.length),
      ...(type === undefined ? {} : { "content-type": type }),
      ...(packing && { "content-encoding": packing }),
      ...headers,
    },
    body, // a stream: fetch gives it no type
  });
}
