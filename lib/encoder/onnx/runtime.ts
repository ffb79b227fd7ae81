/**
 * onnxruntime, and the only place that loads it: onnxruntime-node on the CPU,
 * onnxruntime-web on the GPU.
 *
 * Their versions are pinned here, and their hashes in encoders.lock. Deno would
 * fetch 291 MB for a literal `import("npm:onnxruntime-node")`, even one that is
 * never reached; a computed one is fetched when it is first reached, because
 * deno.json caches npm packages lazily. `deno task` fetches all that deno.lock
 * names: so the tasks that may use an encoder run with a lock of their own.
 *
 * @module
 */
import { EncoderError, oneLine } from "../../errors.ts";

/** Where a network runs: on the CPU beside the wasm engine, or on the GPU. */
export type OnnxEngine = "wasm" | "webgpu";

/** A dimension: its size, or its name if any size will do. */
export type Dimension = number | string;

/** An input or output that a file declares. */
export interface Declared {
  name: string;
  /** Type of its elements, such as float32; undefined: it is no tensor. */
  type: string | undefined;
  shape: readonly Dimension[];
}

/** Values of an output. */
export interface Values {
  data: Float32Array;
  dims: readonly number[];
}

/** Options of {@linkcode Session.open}. */
export interface SessionOptions {
  engine: OnnxEngine;
  /** Threads on the CPU; as many as cores if omitted. */
  threads?: number | undefined;
  /** Files that hold its weights, beside the file; by the names in it. */
  externalFiles?: readonly { name: string; path: string }[];
  /** With onnxruntime-web but on the CPU, to judge the GPU by. */
  asReference?: boolean;
}

/** What is used of onnxruntime's API, the same for both packages. */
interface Ort {
  env: { logLevel: string; wasm: { numThreads: number } };
  Tensor: new (
    type: string,
    data: Float32Array,
    dims: readonly number[],
  ) => OrtTensor;
  InferenceSession: {
    create(
      model: string | Uint8Array,
      options: Record<string, unknown>,
    ): Promise<OrtSession>;
  };
}

interface OrtTensor {
  readonly type: string;
  readonly dims: readonly number[];
  readonly data: unknown;
  dispose(): void;
}

interface OrtSession {
  readonly inputMetadata: readonly OrtMetadata[];
  readonly outputMetadata: readonly OrtMetadata[];
  run(
    feeds: Record<string, OrtTensor>,
    fetches: readonly string[],
  ): Promise<Record<string, OrtTensor>>;
  release(): Promise<void>;
}

type OrtMetadata =
  & { name: string }
  & ({ isTensor: false } | {
    isTensor: true;
    type: string;
    shape: readonly Dimension[];
  });

/** The packages, each with what is imported of it. */
export const PACKAGES: Record<OnnxEngine, { npm: string; path: string }> = {
  wasm: { npm: "onnxruntime-node@1.30.0", path: "" },
  webgpu: { npm: "onnxruntime-web@1.30.0", path: "/webgpu" },
};

const FATAL = 4; // all else is thrown, and would be printed besides

/** A network that is ready to run, one run at a time. */
export class Session {
  readonly inputs: readonly Declared[];
  readonly outputs: readonly Declared[];
  readonly #ort: Ort;
  readonly #path: string;
  #session: OrtSession | undefined;
  #last: Promise<unknown> = Promise.resolve();

  private constructor(ort: Ort, path: string, session: OrtSession) {
    this.#ort = ort;
    this.#path = path;
    this.#session = session;
    this.inputs = session.inputMetadata.map(declared);
    this.outputs = session.outputMetadata.map(declared);
  }

  /**
   * Opens the network in the file at `path`.
   *
   * @throws {EncoderError} If onnxruntime does not load, or refuses the file.
   */
  static async open(path: string, options: SessionOptions): Promise<Session> {
    const ort = await loadOrt(options.engine);
    try {
      const session = options.engine === "wasm"
        ? await openOnCpu(ort, path, options)
        : await openOnGpu(ort, path, options);
      return new Session(ort, path, session);
    } catch (cause) {
      throw new EncoderError(refusal(path, cause as Error), { cause });
    }
  }

  /**
   * The `outputs` by name, once the runs before are done.
   *
   * @param feed the only input.
   * @throws {EncoderError} If the run fails, or an output is not of float32.
   */
  run(
    feed: Values & { name: string },
    outputs: readonly string[],
  ): Promise<Map<string, Values>> {
    const result = this.#last.then(() => this.#run(feed, outputs));
    this.#last = result.catch(() => {});
    return result;
  }

  /** Frees the network, after the run that is on its way. */
  async dispose(): Promise<void> {
    await this.#last;
    const session = this.#session;
    this.#session = undefined;
    await session?.release();
  }

  async #run(
    { name, data, dims }: Values & { name: string },
    outputs: readonly string[],
  ): Promise<Map<string, Values>> {
    const session = this.#session;
    if (!session) throw new TypeError(`${this.#path} was disposed of`);
    const pixels = new this.#ort.Tensor("float32", data, dims);
    const results = await session.run({ [name]: pixels }, outputs)
      .catch((cause: Error) => {
        throw new EncoderError(
          `Cannot run ${this.#path} on an input of [${dims.join(", ")}]: ${
            reason(cause)
          }`,
          { cause },
        );
      });
    return new Map(outputs.map((name) => [name, this.#values(name, results)]));
  }

  #values(name: string, results: Record<string, OrtTensor>): Values {
    const { type, data, dims } = results[name]!;
    if (data instanceof Float32Array) return { data, dims };
    throw new EncoderError(
      `Cannot use ${this.#path} as an encoder: its output "${name}" is ${type}; export it in float32`,
    );
  }
}

function declared(metadata: OrtMetadata): Declared {
  const { name } = metadata;
  return metadata.isTensor
    ? { name, type: metadata.type, shape: metadata.shape }
    : { name, type: undefined, shape: [] };
}

async function loadOrt(engine: OnnxEngine): Promise<Ort> {
  const { npm: name, path } = PACKAGES[engine];
  try {
    const ort: Ort = await import(`npm:${name}${path}`);
    ort.env.logLevel = "fatal";
    return ort;
  } catch (cause) {
    throw new EncoderError(
      `Cannot load ${name}, which runs encoders: ${
        reason(cause as Error)
      }; the first use fetches it from npm, and it needs --allow-ffi`,
      { cause },
    );
  }
}

function openOnCpu(
  { InferenceSession }: Ort,
  path: string,
  { threads = navigator.hardwareConcurrency }: SessionOptions,
): Promise<OrtSession> {
  return InferenceSession.create(path, {
    executionProviders: ["cpu"],
    executionMode: "sequential",
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    logSeverityLevel: FATAL,
    // Threads that wait by spinning would take the cores of other workers.
    extra: { session: { intra_op: { allow_spinning: "0" } } },
  });
}

/** A program of WebAssembly reads no files: it is given their bytes. */
async function openOnGpu(
  { env, InferenceSession }: Ort,
  path: string,
  { externalFiles = [], asReference = false }: SessionOptions,
): Promise<OrtSession> {
  env.wasm.numThreads = 1; // else it starts Workers
  const externalData = await Promise.all(
    externalFiles.map(async ({ name, path }) => ({
      path: name,
      data: await Deno.readFile(path),
    })),
  );
  return await InferenceSession.create(await Deno.readFile(path), {
    executionProviders: [asReference ? "wasm" : "webgpu"],
    logSeverityLevel: FATAL,
    ...(externalData.length > 0 && { externalData }),
  });
}

function refusal(path: string, cause: Error): string {
  const why = reason(cause);
  return /protobuf|invalid_protobuf|No graph was found/i.test(why)
    ? `Cannot use ${path} as an encoder: it is no ONNX file (${why}); export the network anew`
    : `Cannot use ${path} as an encoder: onnxruntime refuses it (${why}); see docs/encoders.md for how to export one`;
}

/** One line, without the file's name and onnxruntime's own places. */
function reason({ message }: Error): string {
  return oneLine(message).trim().slice(0, MAX_REASON);
}
const MAX_REASON = 300;
