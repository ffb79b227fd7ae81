/**
 * Reads a request of the Open Inference Protocol: JSON, and after it the bytes of
 * tensors, if a header gives the length of the JSON.
 *
 * @module
 */
import {
  type BodyOptions,
  BodyReader,
  chunksOf,
  readBody,
} from "../intake/paced_body.ts";
import type { HeldBody } from "../intake/body_room.ts";
import { InputError, TooLargeError } from "../errors.ts";
import type { Limits } from "../limits.ts";
import type { JsonRequest } from "./json.ts";
import type { JsonReader } from "./json_reader.ts";
import { HEADER_LENGTH } from "./schemas.ts";

/** A request, and the bytes after its JSON. */
export interface ReceivedRequest extends JsonRequest, AsyncDisposable {
  /** Undefined if the body is JSON alone. */
  tensors: BodyReader | undefined;
}

/** A body as received. */
interface IncomingBody {
  body: ReadableStream<Uint8Array> | null;
  /** Value of the header {@linkcode HEADER_LENGTH}, if sent. */
  headerLength: string | undefined;
  /** Announced length of the body, if sent. */
  announced: number | undefined;
  /** What the request holds in memory. */
  held: HeldBody;
  signal: AbortSignal;
}

/**
 * Waits until there is room for the JSON of a request, if it is large and its
 * length is announced; other bodies take room as they arrive.
 *
 * @throws {InputError | TooLargeError | BusyError}
 */
export async function awaitRoom(
  { headerLength, announced, held, signal }: IncomingBody,
  { jsonBytes, requestBytes }: Limits,
): Promise<void> {
  // A header may state more than there is, and would take the room of others.
  const bytes = headerLength === undefined
    ? announced ?? 0
    : Math.min(jsonLength(headerLength, jsonBytes), announced ?? Infinity);
  if (bytes > requestBytes && bytes <= jsonBytes) {
    await held.reserve(bytes, signal);
  }
}

/**
 * Reads the JSON of a request; the bytes after it are read as they are used.
 *
 * @throws {InputError | TooLargeError | StalledError | BusyError}
 */
export async function receiveRequest(
  { body, headerLength, announced, held, signal }: IncomingBody,
  { jsonBytes, uploadBytes, pace }: Limits,
  reader: JsonReader,
): Promise<ReceivedRequest> {
  const isBinary = headerLength !== undefined;
  const mostBytes = isBinary ? jsonBytes + uploadBytes : jsonBytes;
  const tooLarge = `Cannot take ${
    isBinary ? "a request" : "a JSON body"
  } of more than ${mostBytes} bytes`;
  if ((announced ?? 0) > mostBytes) throw new TooLargeError(tooLarge);
  const bounds: BodyOptions = { mostBytes, pace, tooLarge, signal };
  const chunks = chunksOf(body ?? ReadableStream.from([]), bounds);
  if (!isBinary) {
    const json = await readBody(chunks, held);
    const request = await reader.read(json, signal);
    return { ...request, tensors: undefined, async [Symbol.asyncDispose]() {} };
  }
  const tensors = new BodyReader(chunks, held);
  try {
    const length = jsonLength(headerLength, jsonBytes);
    const request = await reader.read(await tensors.take(length), signal);
    const end = () => tensors[Symbol.asyncDispose]();
    return { ...request, tensors, [Symbol.asyncDispose]: end };
  } catch (error) {
    await tensors[Symbol.asyncDispose]();
    throw error;
  }
}

function jsonLength(text: string, jsonBytes: number): number {
  if (!/^[1-9]\d*$/.test(text)) {
    throw new InputError(
      HEADER_LENGTH,
      `The header "${HEADER_LENGTH}" is invalid: it must be the length of the JSON in bytes, 1 or more`,
    );
  }
  if (Number(text) <= jsonBytes) return Number(text);
  throw new TooLargeError(
    `The JSON has ${text} bytes, and at most ${jsonBytes} are allowed: send tensors as bytes after it`,
  );
}
