/**
 * Images of a request of the Open Inference Protocol: files, URLs or pixels, in
 * JSON or as bytes after it.
 *
 * @module
 */
import { ImageError } from "../../errors.ts";
import type { Size } from "../../image/geometry.ts";
import { RGB_BYTES, rgbTiffHeader } from "../../image/tiff/write/strips.ts";
import type { BodyReader } from "../intake/paced_body.ts";
import { InputError } from "../errors.ts";
import type { HeldImage, Images } from "../intake/images.ts";
import type { Limits } from "../limits.ts";
import { MAX_TEXT } from "../schemas.ts";
import type { Uploads } from "../intake/uploads.ts";
import {
  HEADER_LENGTH,
  type InferInput,
  INPUTS,
  MAX_IMAGES,
} from "./schemas.ts";

/** Parts that fetch or store images, and the stack that frees them. */
interface Receiver {
  images: Images;
  uploads: Uploads;
  limits: Pick<Limits, "maxPixels">;
  held: AsyncDisposableStack;
}

/** The tensor of a request: in its JSON, or in the bytes after it. */
interface Tensors {
  tensor: Uint8Array[] | undefined;
  tensors: BodyReader | undefined;
}

/** One element of a tensor in pieces, read before the next element begins. */
type Element = AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

// A request has one input.
const FIELD = "inputs.0";
const DATA = `${FIELD}.data`;
const BINARY_SIZE = `${FIELD}.parameters.binary_data_size`;

// 3 GiB, because the TIFF file that holds them can have 4.
const MAX_PIXELS = 2 ** 30;

// Binary form of BYTES: a 32-bit length before each element.
const LENGTH_BYTES = 4;

/**
 * Receives the images of `input`, in order.
 *
 * @param received the tensor of the JSON, or the bytes after it: read to the
 *   end.
 * @throws {InputError | ImageError | TooLargeError | StalledError | ForbiddenError}
 */
export async function receiveImages(
  input: InferInput,
  { tensor, tensors }: Tensors,
  receiver: Receiver,
): Promise<HeldImage[]> {
  const elements = tensor?.map((bytes) => [bytes]) ??
    binaryElements(input, countOf(input), tensors);
  const take = takerOf(input, receiver);
  const images: HeldImage[] = [];
  for await (const element of elements) {
    images.push(receiver.held.use(await take(element, images.length)));
  }
  await tensors?.assertEnd();
  return images;
}

/**
 * Bytes of each element of a tensor in JSON; undefined if bytes follow the JSON.
 *
 * @throws {InputError} If the input does not fit together.
 */
export function jsonTensor(input: InferInput): Uint8Array[] | undefined {
  assertDatatype(input);
  const count = countOf(input);
  return isBinary(input) ? undefined : [...jsonElements(input, count)];
}

function assertDatatype({ name, datatype }: InferInput): void {
  const expected = INPUTS[name].datatype;
  if (datatype === expected) return;
  const advice = name === "image" ? '; send pixels as the input "pixels"' : "";
  throw new InputError(
    `${FIELD}.datatype`,
    `The input "${name}" has the datatype ${datatype}: it must be ${expected}${advice}`,
  );
}

/** Number of images in a shape. */
function countOf({ name, shape }: InferInput): number {
  const isShape = name === "pixels"
    ? shape.length >= 3 && shape.at(-1) === RGB_BYTES
    : shape.length === 1 || (shape.length === 2 && shape[1] === 1);
  if (!isShape) {
    throw new InputError(
      `${FIELD}.shape`,
      `The input "${name}" has the shape [${shape}]: it must be ${
        name === "pixels"
          ? "[n, height, width, 3] or [height, width, 3]"
          : "[n] or [n, 1]"
      }`,
    );
  }
  const count = name === "pixels" && shape.length === 3 ? 1 : shape[0]!;
  if (count <= MAX_IMAGES) return count;
  throw new InputError(
    `${FIELD}.shape`,
    `The request has ${count} images: send at most ${MAX_IMAGES} at a time`,
  );
}

/** True if the tensor comes as bytes; checks that it has one form. */
function isBinary({ data, parameters }: InferInput): boolean {
  const size = parameters?.binary_data_size;
  if (size === undefined && data === undefined) {
    throw new InputError(
      DATA,
      'The input has no tensor: send "data", or bytes and their "binary_data_size"',
    );
  }
  if (size === undefined) return false;
  if (data !== undefined) {
    throw new InputError(
      DATA,
      'The tensor is given twice: send "data" or "binary_data_size", not both',
    );
  }
  return true;
}

/** Function that turns an element into an image. */
function takerOf(
  { name, shape }: InferInput,
  { images, uploads, limits }: Receiver,
): (element: Element, index: number) => Promise<HeldImage> {
  const keep = async (element: Element, index: number) =>
    images.uploaded(await uploads.keep(element, `${name}[${index}]`));
  switch (name) {
    case "image":
      return keep;
    case "uri":
      return async (element) => {
        const value = await textOf(element);
        return await images.named(
          URL.canParse(value) ? { uri: value } : { path: value },
        );
      };
    case "pixels": {
      const header = rgbTiffHeader(pixelSize(shape, limits));
      return (element, index) => keep(following(header, element), index);
    }
    default:
      throw new TypeError(`Unknown input ${name satisfies never}`);
  }
}

function pixelSize(
  shape: readonly number[],
  { maxPixels }: Pick<Limits, "maxPixels">,
): Size {
  const [height, width] = shape.slice(-3) as [number, number, number];
  const most = Math.min(maxPixels, MAX_PIXELS);
  if (width * height <= most) return { width, height };
  throw new ImageError(
    `The tensor has ${width} x ${height} px, and at most ${most} px are allowed: send the image as a file`,
  );
}

async function* following(
  header: Uint8Array,
  element: Element,
): AsyncGenerator<Uint8Array> {
  yield header;
  yield* element;
}

async function textOf(element: Element): Promise<string> {
  const bytes = new Uint8Array(
    await new Blob(
      await Array.fromAsync(element) as BlobPart[],
    ).arrayBuffer(),
  );
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new InputError(DATA, "A URI is not UTF-8: encode it as UTF-8", {
      cause,
    });
  }
}

/** Elements of a tensor in the bytes after the JSON. */
async function* binaryElements(
  { name, shape, parameters }: InferInput,
  count: number,
  tensors: BodyReader | undefined,
): AsyncGenerator<Element> {
  if (!tensors) {
    throw new InputError(
      BINARY_SIZE,
      `The tensor is sent as bytes without the header "${HEADER_LENGTH}": set it to the length of the JSON`,
    );
  }
  const size = parameters!.binary_data_size!;
  if (name === "pixels") {
    const bytes = product(shape) / count;
    if (size !== bytes * count) {
      throw new InputError(
        BINARY_SIZE,
        `The tensor has ${size} bytes, but UINT8 of shape [${shape}] needs ${
          bytes * count
        }`,
      );
    }
    for (let i = 0; i < count; i++) yield tensors.pieces(bytes);
    return;
  }
  let left = size;
  for (let i = 0; i < count; i++) {
    if (left < LENGTH_BYTES) {
      throw badBytes(i, `its length takes 4 bytes, and ${left} are left`);
    }
    const length = lengthOf(await tensors.take(LENGTH_BYTES));
    left -= LENGTH_BYTES;
    if (length > left) {
      throw badBytes(i, `its length is ${length} bytes, and ${left} are left`);
    }
    if (name === "uri" && length > MAX_TEXT) {
      throw badBytes(i, `${length} bytes are too many for a URI`);
    }
    if (length === 0) throw badBytes(i, "it is empty");
    yield tensors.pieces(length);
    left -= length;
  }
  if (left === 0) return;
  throw new InputError(
    BINARY_SIZE,
    `The tensor has ${size} bytes, but BYTES of shape [${shape}] end ${left} bytes earlier`,
  );
}

function badBytes(index: number, why: string): InputError {
  return new InputError(DATA, `Cannot read element ${index}: ${why}`);
}

function lengthOf(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
}

function product(shape: readonly number[]): number {
  return shape.reduce((product, side) => product * side, 1);
}

/** Elements of a tensor in JSON, nested as its shape or flat. */
function* jsonElements(
  { name, shape, data }: InferInput,
  count: number,
): Generator<Uint8Array> {
  const values = data!.flat(shape.length - 1);
  if (values.length !== product(shape)) {
    throw new InputError(
      `${FIELD}.shape`,
      `The tensor has ${values.length} values, which do not fit the shape [${shape}]`,
    );
  }
  if (name === "pixels") {
    const bytes = Uint8Array.from(values, byteOf);
    const each = bytes.length / count;
    for (let i = 0; i < count; i++) {
      yield bytes.subarray(i * each, (i + 1) * each);
    }
    return;
  }
  for (const [i, value] of values.entries()) {
    if (typeof value !== "string" || value === "") {
      throw badBytes(i, "it must be a non-empty string");
    }
    yield name === "image" ? decoded(value) : addressOf(value, i);
  }
}

function byteOf(value: unknown, index: number): number {
  if (Number.isInteger(value) && Number(value) >= 0 && Number(value) <= 255) {
    return Number(value);
  }
  throw badBytes(index, "a pixel must be an integer from 0 to 255");
}

function addressOf(value: string, index: number): Uint8Array {
  if (value.length > MAX_TEXT) {
    throw badBytes(
      index,
      `${value.length} characters are too many for a URI`,
    );
  }
  return new TextEncoder().encode(value);
}

function decoded(base64: string): Uint8Array {
  try {
    return Uint8Array.fromBase64(base64);
  } catch (cause) {
    throw new InputError(
      DATA,
      `Cannot read an image from base64: ${(cause as Error).message}`,
      { cause },
    );
  }
}
