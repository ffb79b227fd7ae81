/**
 * What an ONNX file says besides its network: metadata, who made it, and the
 * files beside it that hold its weights. onnxruntime's JavaScript tells none of
 * these. Only the few fields that are asked for are read, not the weights.
 *
 * Source: onnx.proto (https://github.com/onnx/onnx), and the encoding of
 * Protocol Buffers.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { dirname, isAbsolute, join, normalize, sep } from "node:path";
import { EncoderError } from "../../errors.ts";

/** Facts of an ONNX file. */
export interface OnnxFacts {
  /** Metadata by key, as the exporter wrote it. */
  metadata: Record<string, string>;
  /** The program that wrote it, with its version; "" if unknown. */
  producer: string;
  /** Version of ONNX's own operators. */
  opset: number | undefined;
  /** Files beside it that hold weights: their names in it, and paths. */
  externalFiles: { name: string; path: string }[];
}

// Numbers of fields in onnx.proto.
const MODEL = { producer: 2, version: 3, graph: 7, opset: 8, metadata: 14 };
const GRAPH = { initializer: 5 };
const TENSOR = { external: 13 };
const ENTRY = { key: 1, value: 2 };
const OPSET = { domain: 1, version: 2 };

/**
 * Reads the facts of the file at `path`.
 *
 * @throws {EncoderError} If it is missing, no ONNX file, or lacks the files of
 *   its weights.
 */
export async function readOnnxFacts(path: string): Promise<OnnxFacts> {
  using file = await opened(path);
  const reader = new Reader(file);
  const facts: OnnxFacts = {
    metadata: {},
    producer: "",
    opset: undefined,
    externalFiles: [],
  };
  const names = new Set<string>();
  const { size } = await file.stat();
  let hasGraph = false;
  try {
    for await (const field of reader.fields(0, size)) {
      hasGraph ||= field.number === MODEL.graph;
      await readField(reader, field, facts, names);
    }
    if (!hasGraph) throw new RangeError("it has no graph");
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw new EncoderError(
      `Cannot use ${path} as an encoder: it is no ONNX file (${cause.message}); export the network anew`,
      { cause },
    );
  }
  facts.externalFiles = [...names].sort().map((name) => ({
    name,
    path: externalPath(path, name),
  }));
  for (const { path: beside } of facts.externalFiles) {
    await requireFile(path, beside);
  }
  return facts;
}

/**
 * SHA-256 of an encoder, in hexadecimal: of its file, continued with those that
 * hold its weights, by name.
 */
export async function onnxHash(
  path: string,
  { externalFiles }: OnnxFacts,
): Promise<string> {
  const hash = createHash("sha256");
  for (const one of [path, ...externalFiles.map(({ path }) => path)]) {
    using file = await opened(one);
    for await (const chunk of file.readable) hash.update(chunk);
  }
  return hash.digest("hex");
}

async function opened(path: string): Promise<Deno.FsFile> {
  try {
    const file = await Deno.open(path);
    if ((await file.stat()).isFile) return file;
    file.close();
  } catch (cause) {
    throw new EncoderError(
      `Cannot use ${path} as an encoder: ${
        cause instanceof Deno.errors.NotFound
          ? "there is no such file"
          : (cause as Error).message
      }`,
      { cause },
    );
  }
  throw new EncoderError(`Cannot use ${path} as an encoder: it is no file`);
}

/** Only files beside the network, or below: a name may be a stranger's. */
function externalPath(path: string, name: string): string {
  const inside = normalize(name);
  if (isAbsolute(inside) || inside.split(sep)[0] === "..") {
    throw new EncoderError(
      `Cannot use ${path} as an encoder: it has weights in ${name}, outside its own folder; export it in one file`,
    );
  }
  return join(dirname(path), inside);
}

async function requireFile(path: string, beside: string): Promise<void> {
  if (await Deno.stat(beside).then(({ isFile }) => isFile, () => false)) return;
  throw new EncoderError(
    `Cannot use ${path} as an encoder: its weights are in ${beside}, which is missing; put it beside the file, or export the network in one file`,
  );
}

/** A field of a message: a number, or the place of its bytes. */
interface Field {
  number: number;
  value: number;
  from: number;
  to: number;
}

async function readField(
  reader: Reader,
  { number, from, to }: Field,
  facts: OnnxFacts,
  external: Set<string>,
): Promise<void> {
  switch (number) {
    case MODEL.producer:
    case MODEL.version:
      facts.producer = `${facts.producer} ${await reader.text(from, to)}`
        .trim();
      break;
    case MODEL.opset:
      facts.opset = await opsetOf(reader, from, to) ?? facts.opset;
      break;
    case MODEL.metadata: {
      const { key, value } = await entryOf(reader, from, to);
      facts.metadata[key] = value;
      break;
    }
    case MODEL.graph:
      await findExternal(reader, from, to, external);
  }
}

/** Version of ONNX's own operators; undefined for those of others. */
async function opsetOf(
  reader: Reader,
  from: number,
  to: number,
): Promise<number | undefined> {
  let domain = "", version = 0;
  for await (const field of reader.fields(from, to)) {
    if (field.number === OPSET.version) version = field.value;
    if (field.number === OPSET.domain) {
      domain = await reader.text(field.from, field.to);
    }
  }
  return domain === "" ? version : undefined;
}

async function entryOf(
  reader: Reader,
  from: number,
  to: number,
): Promise<{ key: string; value: string }> {
  const entry = { key: "", value: "" };
  for await (const field of reader.fields(from, to)) {
    const text = await reader.text(field.from, field.to);
    if (field.number === ENTRY.key) entry.key = text;
    if (field.number === ENTRY.value) entry.value = text;
  }
  return entry;
}

/** Adds the names of the files that hold the weights of a graph. */
async function findExternal(
  reader: Reader,
  from: number,
  to: number,
  names: Set<string>,
): Promise<void> {
  for await (const field of reader.fields(from, to)) {
    if (field.number !== GRAPH.initializer) continue;
    for await (const inner of reader.fields(field.from, field.to)) {
      if (inner.number !== TENSOR.external) continue;
      const { key, value } = await entryOf(reader, inner.from, inner.to);
      if (key === "location") names.add(value);
    }
  }
}

const CHUNK = 2 ** 16;
const MAX_TEXT = 2 ** 20;
const WIRE = { varint: 0, bits64: 1, bytes: 2, bits32: 5 };

/** Reads Protocol Buffers from a file, in chunks, and passes over the rest. */
class Reader {
  readonly #file: Deno.FsFile;
  #chunk = new Uint8Array(0);
  #start = 0;

  constructor(file: Deno.FsFile) {
    this.#file = file;
  }

  /** @throws {RangeError} If the bytes are no message. */
  async *fields(from: number, to: number): AsyncGenerator<Field> {
    for (let at = from; at < to;) {
      const [tag, afterTag] = await this.#varint(at, to);
      const number = Math.floor(tag / 8), wire = tag % 8;
      if (number === 0) throw new RangeError(`no field at byte ${at}`);
      if (wire === WIRE.varint) {
        const [value, next] = await this.#varint(afterTag, to);
        yield { number, value, from: afterTag, to: next };
        at = next;
        continue;
      }
      const [length, start] = wire === WIRE.bytes
        ? await this.#varint(afterTag, to)
        : [fixedLength(wire, at), afterTag];
      at = start + length;
      if (at > to) throw new RangeError(`it ends within byte ${start}'s field`);
      yield { number, value: length, from: start, to: at };
    }
  }

  async text(from: number, to: number): Promise<string> {
    if (to - from > MAX_TEXT) throw new RangeError("a text of over a MiB");
    const bytes = new Uint8Array(to - from);
    for (let i = 0; i < bytes.length; i++) {
      bytes[i] = await this.#byte(from + i);
    }
    return new TextDecoder().decode(bytes);
  }

  /** A number and the place behind it. */
  async #varint(at: number, to: number): Promise<[number, number]> {
    let value = 0;
    for (let i = 0; i < 10; i++) {
      if (at + i >= to) throw new RangeError("it ends within a number");
      const byte = await this.#byte(at + i);
      value += (byte & 127) * 2 ** (7 * i);
      if (byte < 128) return [value, at + i + 1];
    }
    throw new RangeError(`a number of over 64 bits at byte ${at}`);
  }

  #byte(at: number): number | Promise<number> {
    const known = this.#chunk[at - this.#start];
    return known !== undefined ? known : this.#read(at);
  }

  async #read(at: number): Promise<number> {
    const chunk = new Uint8Array(CHUNK);
    await this.#file.seek(at, Deno.SeekMode.Start);
    const read = await this.#file.read(chunk);
    if (read === null) throw new RangeError("it ends too early");
    this.#chunk = chunk.subarray(0, read);
    this.#start = at;
    return this.#chunk[0]!;
  }
}

function fixedLength(wire: number, at: number): number {
  if (wire === WIRE.bits64) return 8;
  if (wire === WIRE.bits32) return 4;
  throw new RangeError(`no field of ONNX at byte ${at}`);
}
