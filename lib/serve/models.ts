/**
 * The models of a folder: each entry is a run of `train` or a checkpoint file,
 * and the entry's name is the model's. The folder is the source of truth; the
 * engine holds the loaded models.
 *
 * @module
 */
import { basename, extname, join } from "node:path";
import {
  ChangedCheckpointError,
  CheckpointError,
  EncoderError,
} from "../errors.ts";
import { writeFileAtomically } from "../files.ts";
import {
  checkpointFile,
  type CheckpointInfo,
  modelReference,
  readCheckpointInfo,
} from "../model/checkpoint.ts";
import type { EnginePool } from "./engine/pool.ts";
import { ConflictError, NotFoundError, NotReadyError } from "./errors.ts";
import type { Messages } from "./redaction.ts";

/**
 * Valid name of a model: a file name that needs no quoting, without the ending
 * that a checkpoint file's name loses as the name of its model.
 */
export const MODEL_NAME =
  /^(?!.*\.safetensors$)[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/;

/** A model of the folder. */
export interface ModelEntry {
  name: string;
  /** First characters of the hash. */
  version: string;
  /** Path of the entry. */
  entry: string;
  info: CheckpointInfo;
}

/** An entry of the folder that is not a model, with the reason. */
export interface ModelFault {
  name: string;
  error: string;
}

/** What was read of an entry while its files had a stamp. */
type Known =
  & { file: string; stamp: string }
  & ({ info: CheckpointInfo } | { fault: CheckpointError });

/** Why the engine refused a model while its files had a stamp. */
interface Refusal {
  stamp: string;
  error: Error;
}

/** Functions of the engine that a registry uses. */
export type ModelEngine = Pick<EnginePool, "load" | "unload">;

const DEFAULT_FILE = "default";

const NO_MODEL =
  "There is no model yet: train one (POST /v1/train), or put a checkpoint in the folder of models";

/** Models by name. */
export class ModelRegistry {
  readonly #folder: string;
  readonly #stateFolder: string;
  readonly #engine: ModelEngine;
  readonly #encoderFiles: readonly string[];
  readonly #messages: Messages;
  readonly #onRemoved: (name: string) => Promise<void>;
  #models = new Map<string, ModelEntry>();
  #faults: ModelFault[] = [];
  /** By path of the entry: what was read of it, or its fault. */
  readonly #known = new Map<string, Known>();
  /** By path of the entry: why the engine did not load it. */
  readonly #refused = new Map<string, Refusal>();
  // SHA-256 by name: two models of the same bytes share their weights.
  readonly #loaded = new Map<string, string>();
  /** Number of tasks by the SHA-256 of their model. */
  readonly #held = new Map<string, number>();
  // Models that a caller unloaded stay unloaded; all others are loaded.
  readonly #unloaded = new Set<string>();
  #default: string | undefined;
  // One scan or change at a time.
  #last: Promise<unknown> = Promise.resolve();

  /**
   * @param stateFolder folder of the server's persistent state.
   * @param encoderFiles where the engine looks for encoders.
   */
  constructor(
    { folder, stateFolder, engine, encoderFiles, messages, onRemoved }: {
      folder: string;
      stateFolder: string;
      engine: ModelEngine;
      encoderFiles: readonly string[];
      messages: Messages;
      /** Called after the files of a model were removed. */
      onRemoved: (name: string) => Promise<void>;
    },
  ) {
    this.#folder = folder;
    this.#stateFolder = stateFolder;
    this.#engine = engine;
    this.#encoderFiles = encoderFiles;
    this.#messages = messages;
    this.#onRemoved = onRemoved;
  }

  /**
   * Reads the folder: loads new models, replaces changed ones, and retries
   * those that could not be loaded; if the fault is theirs, once they change.
   */
  refresh(): Promise<void> {
    return this.#alone(() => this.#scan());
  }

  /** Models found by the last scan, by name. */
  get models(): ModelEntry[] {
    return [...this.#models.values()];
  }

  get faults(): readonly ModelFault[] {
    return this.#faults;
  }

  /**
   * Model of requests that name none; the first by name until one is chosen.
   */
  get defaultName(): string | undefined {
    return this.#default !== undefined && this.#models.has(this.#default)
      ? this.#default
      : this.#models.keys().next().value;
  }

  /** Fault of the default model, if its entry exists but is damaged. */
  get defaultFault(): string | undefined {
    return this.defaultName === this.#default
      ? undefined
      : this.#faults.find(({ name }) => name === this.#default)?.error;
  }

  /** Reason why a request that names no model cannot be answered. */
  get notReady(): string | undefined {
    if (this.defaultFault !== undefined) return this.defaultFault;
    const model = this.#models.get(this.defaultName ?? "");
    if (model && this.isLoaded(model)) return undefined;
    const fault = this.#faults.find(({ name }) => name === model?.name) ??
      this.#faults[0];
    if (fault) return `no model can be used: ${fault.error}`;
    return model ? `the model "${model.name}" is not loaded` : NO_MODEL;
  }

  /**
   * A model by name and version, or the default.
   *
   * @throws {NotFoundError} If there is none.
   * @throws {NotReadyError} If the default is damaged: no other replaces it.
   */
  get(name?: string, version?: string): ModelEntry {
    if (name === undefined && this.defaultFault !== undefined) {
      throw new NotReadyError(
        `The default model cannot be used: ${this.defaultFault}`,
      );
    }
    name ??= this.defaultName;
    const model = name === undefined ? undefined : this.#models.get(name);
    if (!model) {
      throw new NotFoundError(
        name === undefined
          ? NO_MODEL
          : `There is no model "${name}": GET /v1/models lists them`,
      );
    }
    if (version !== undefined && version !== model.version) {
      throw new NotFoundError(
        `The model "${name}" has no version "${version}": its version is "${model.version}"`,
      );
    }
    return model;
  }

  isLoaded({ name, info }: ModelEntry): boolean {
    return this.#loaded.get(name) === info.sha256;
  }

  /**
   * As {@linkcode get}, but loaded.
   *
   * @throws {ConflictError} If it is unloaded.
   */
  loaded(name?: string, version?: string): ModelEntry {
    const model = this.get(name, version);
    if (this.isLoaded(model)) return model;
    throw new ConflictError(
      `The model "${model.name}" is not loaded: load it with POST /v1/models/${model.name}/load`,
    );
  }

  /** Keeps the weights of a loaded model until disposed, whatever replaces it. */
  hold({ info: { sha256 } }: ModelEntry): Disposable {
    this.#held.set(sha256, (this.#held.get(sha256) ?? 0) + 1);
    return {
      [Symbol.dispose]: () => {
        const left = this.#held.get(sha256)! - 1;
        if (left > 0) return this.#held.set(sha256, left);
        this.#held.delete(sha256);
        this.#alone(() => this.#free(sha256)).catch(() => {}); // engine lost
      },
    };
  }

  load(name: string): Promise<ModelEntry> {
    return this.#alone(async () => {
      const model = this.get(name);
      this.#unloaded.delete(name);
      await this.#load(model);
      this.#faults = this.#faults.filter((fault) => fault.name !== name);
      return model;
    });
  }

  unload(name: string): Promise<ModelEntry> {
    return this.#alone(async () => {
      const model = this.get(name);
      this.#unloaded.add(name);
      await this.#unload(model);
      return model;
    });
  }

  makeDefault(name: string): Promise<ModelEntry> {
    return this.#alone(async () => {
      const model = this.get(name);
      await writeFileAtomically(join(this.#stateFolder, DEFAULT_FILE), name);
      this.#default = name;
      return model;
    });
  }

  /** Unloads a model and removes its files. */
  remove(name: string): Promise<void> {
    return this.#alone(async () => {
      const model = this.get(name);
      if (this.#models.size > 1 && name === this.defaultName) {
        throw new ConflictError(
          `The model "${name}" is the default: make another model the default first`,
        );
      }
      await this.#unload(model);
      await Deno.remove(model.entry, { recursive: true });
      this.#unloaded.delete(name);
      this.#models.delete(name);
      await this.#onRemoved(name);
    });
  }

  /** True if an entry of that name exists, even if it is not a model. */
  isTaken(name: string): boolean {
    return [name, `${name}.safetensors`].some((entry) => {
      try {
        Deno.lstatSync(join(this.#folder, entry));
        return true;
      } catch (error) {
        if (error instanceof Deno.errors.NotFound) return false;
        throw error;
      }
    });
  }

  /** Path for the entry of a new model. */
  placeOf(name: string): string {
    return join(this.#folder, name);
  }

  #alone<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(work);
    this.#last = done.catch(() => {}); // the caller handles the error
    return done;
  }

  async #scan(): Promise<void> {
    const file = join(this.#stateFolder, DEFAULT_FILE); // shared by all processes
    this.#default = await Deno.readTextFile(file).catch(() => undefined);
    const models: ModelEntry[] = [], faults: ModelFault[] = [];
    for await (const { name: file } of Deno.readDir(this.#folder)) {
      if (file.startsWith(".")) continue;
      const entry = join(this.#folder, file);
      const name = basename(file, ".safetensors");
      try {
        const info = await this.#read(entry);
        if (!MODEL_NAME.test(name)) {
          throw new CheckpointError(
            "This is not a valid model name: use letters, digits, dots and dashes",
          );
        }
        const { version } = modelReference(entry, info.sha256);
        models.push({ name, version, entry, info });
      } catch (error) {
        if (!(error instanceof CheckpointError)) throw error;
        // A folder, or a dangling link, was meant to be a model.
        const isOurs = extname(file) === ".safetensors" ||
          !await isPlainFile(entry);
        if (isOurs) faults.push({ name, error: this.#messages.of(error) });
      }
    }
    models.sort((a, b) => a.name < b.name ? -1 : 1);
    const found = new Map(models.map((model) => [model.name, model]));
    this.#faults = [...faults, ...await this.#take(found)];
  }

  /** Metadata of a checkpoint, or its fault; read again if the file changed. */
  async #read(entry: string): Promise<CheckpointInfo> {
    const known = this.#known.get(entry);
    if (known && await stampOf(entry, known.file) === known.stamp) {
      if ("fault" in known) throw known.fault;
      return known.info;
    }
    const file = await checkpointFile(entry);
    const stamp = await stampOf(entry, file); // before: it may change meanwhile
    try {
      const info = await readCheckpointInfo(file);
      this.#known.set(entry, { file, stamp, info });
      return info;
    } catch (fault) {
      if (!(fault instanceof CheckpointError)) throw fault;
      this.#known.set(entry, { file, stamp, fault });
      throw fault;
    }
  }

  /**
   * Replaces the set of models; returns those that could not be loaded. A model
   * that is replaced serves on until its successor is loaded.
   */
  async #take(found: Map<string, ModelEntry>): Promise<ModelFault[]> {
    const before = this.#models, faults: ModelFault[] = [];
    this.#models = new Map(
      [...found].map(([name, model]) => {
        const former = before.get(name);
        return [name, former && this.isLoaded(former) ? former : model];
      }),
    );
    for (const name of this.#unloaded) {
      if (!found.has(name)) this.#unloaded.delete(name); // the name may return
    }
    for (const model of found.values()) {
      if (!this.isLoaded(model) && !this.#unloaded.has(model.name)) {
        const error = await this.#tryToLoad(model);
        if (error !== undefined) faults.push({ name: model.name, error });
      }
      // As it is listed, loaded or not.
      if (this.#models.get(model.name)?.info.sha256 !== model.info.sha256) {
        this.#models.set(model.name, model);
      }
    }
    for (const model of before.values()) {
      if (this.#models.get(model.name)?.info.sha256 !== model.info.sha256) {
        await this.#unload(model);
      }
    }
    return faults;
  }

  /**
   * Loads a model; returns the fault instead of throwing, so that others load.
   */
  async #tryToLoad(model: ModelEntry): Promise<string | undefined> {
    const { entry } = model;
    const stamp = await this.#stampOf(model); // before: it may change meanwhile
    const refused = this.#refused.get(entry);
    if (refused?.stamp === stamp) return this.#messages.of(refused.error);
    try {
      await this.#load(model);
      return undefined;
    } catch (thrown) {
      const error = thrown as Error;
      if (isOfFiles(error)) this.#refused.set(entry, { stamp, error });
      else this.#known.delete(entry); // the file may have changed
      return this.#messages.of(error);
    }
  }

  /** A stamp of all files that a model is loaded from. */
  #stampOf({ entry, info }: ModelEntry): Promise<string> {
    const { encoder } = info.config.network;
    const encoders = this.#encoderFiles.length > 0
      ? this.#encoderFiles
      : encoder
      ? [encoder.path]
      : [];
    return stampOf(entry, info.path, ...encoders);
  }

  async #load(model: ModelEntry): Promise<void> {
    const { name, info } = model;
    await this.#engine.load(info.path, info.sha256);
    this.#refused.delete(model.entry);
    this.#loaded.set(name, info.sha256); // in one turn: none sees half of it
    this.#models.set(name, model);
  }

  async #unload(model: ModelEntry): Promise<void> {
    const { name, info } = model;
    if (this.isLoaded(model)) this.#loaded.delete(name);
    await this.#free(info.sha256);
  }

  /** Frees weights that no model of the folder and no task uses. */
  async #free(sha256: string): Promise<void> {
    const isUsed = this.#held.has(sha256) ||
      [...this.#loaded.values()].includes(sha256);
    if (!isUsed) await this.#engine.unload(sha256);
  }
}

async function isPlainFile(path: string): Promise<boolean> {
  const info = await Deno.stat(path).catch(() => undefined); // gone
  return info?.isFile ?? false;
}

/** True if the engine can load a model only once a file of it has changed. */
function isOfFiles(error: Error): boolean {
  return !(error instanceof ChangedCheckpointError) &&
    (error instanceof CheckpointError || error instanceof EncoderError);
}

/** A stamp that changes when one of the files is replaced. */
async function stampOf(...paths: readonly string[]): Promise<string> {
  const infos = await Promise.all(
    paths.map((path) => Deno.stat(path).catch(() => undefined)), // gone
  );
  return infos.map((info) => `${info?.mtime?.getTime()} ${info?.size}`).join();
}
