/**
 * The models of a folder: each entry is a run of `train` or a checkpoint file,
 * and its name is the entry's. What is in the folder is the truth; the engine
 * holds what was loaded.
 *
 * @module
 */
import { basename, extname, join } from "node:path";
import { CheckpointError } from "../errors.ts";
import { writeFileAtomically } from "../files.ts";
import {
  type CheckpointInfo,
  modelReference,
  readCheckpointInfo,
} from "../model/checkpoint.ts";
import type { EnginePool } from "./engine/pool.ts";
import { ConflictError, NotFoundError, NotReadyError } from "./errors.ts";
import type { Messages } from "./redaction.ts";

/**
 * What a model may be called: a file name that needs no quoting anywhere, and
 * none that would be called something else as a file.
 */
export const MODEL_NAME =
  /^(?!.*\.safetensors$)[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/;

/** A model of the folder. */
export interface ModelEntry {
  name: string;
  /** The first characters of the hash. */
  version: string;
  /** The entry of the folder. */
  entry: string;
  info: CheckpointInfo;
}

/** An entry of the folder that is no model, and why. */
export interface ModelFault {
  name: string;
  error: string;
}

/** What a registry needs of the engine. */
export type ModelEngine = Pick<EnginePool, "load" | "unload">;

const DEFAULT_FILE = "default";

/** Models by name. */
export class ModelRegistry {
  readonly #folder: string;
  readonly #stateFolder: string;
  readonly #engine: ModelEngine;
  readonly #messages: Messages;
  #models = new Map<string, ModelEntry>();
  #faults: ModelFault[] = [];
  readonly #known = new Map<string, { stamp: string; info: CheckpointInfo }>();
  // SHA-256 by name: two models of the same bytes share their weights.
  readonly #loaded = new Map<string, string>();
  // What a caller unloaded stays so; everything else is to be loaded.
  readonly #unloaded = new Set<string>();
  #default: string | undefined;
  // One scan or change at a time.
  #last: Promise<unknown> = Promise.resolve();

  /** @param stateFolder where the server keeps what it must remember. */
  constructor(
    { folder, stateFolder, engine, messages }: {
      folder: string;
      stateFolder: string;
      engine: ModelEngine;
      messages: Messages;
    },
  ) {
    this.#folder = folder;
    this.#stateFolder = stateFolder;
    this.#engine = engine;
    this.#messages = messages;
  }

  /**
   * Reads the folder: a new model is loaded, one that changed takes the place of
   * its former self, and one that could not be loaded is tried again.
   */
  refresh(): Promise<void> {
    return this.#alone(() => this.#scan());
  }

  /** The models that were found last, by name. */
  get models(): ModelEntry[] {
    return [...this.#models.values()];
  }

  get faults(): readonly ModelFault[] {
    return this.#faults;
  }

  /** The model that is meant where none is named; the first by name at first. */
  get defaultName(): string | undefined {
    return this.#default !== undefined && this.#models.has(this.#default)
      ? this.#default
      : this.#models.keys().next().value;
  }

  /** What is wrong with the model that was made the default, if it is there. */
  get defaultFault(): string | undefined {
    return this.defaultName === this.#default
      ? undefined
      : this.#faults.find(({ name }) => name === this.#default)?.error;
  }

  /**
   * A model by name and version, or the default.
   *
   * @throws {NotFoundError} If there is none.
   * @throws {NotReadyError} If the default is damaged: no other is meant.
   */
  get(name?: string, version?: string): ModelEntry {
    if (name === undefined && this.defaultFault !== undefined) {
      throw new NotReadyError(`The default model: ${this.defaultFault}`);
    }
    name ??= this.defaultName;
    const model = name === undefined ? undefined : this.#models.get(name);
    if (!model) {
      throw new NotFoundError(
        name === undefined
          ? "There is no model yet: train one, or put a checkpoint in the folder of models"
          : `There is no model "${name}"`,
      );
    }
    if (version !== undefined && version !== model.version) {
      throw new NotFoundError(
        `There is no version "${version}" of the model "${name}", only "${model.version}"`,
      );
    }
    return model;
  }

  isLoaded({ name, info }: ModelEntry): boolean {
    return this.#loaded.get(name) === info.sha256;
  }

  /** As {@linkcode get}, for use. @throws {ConflictError} If it is unloaded. */
  loaded(name?: string, version?: string): ModelEntry {
    const model = this.get(name, version);
    if (this.isLoaded(model)) return model;
    throw new ConflictError(
      `The model "${model.name}" is not loaded: POST /v1/models/${model.name}/load`,
    );
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
          `The model "${name}" is the default: make another one the default first`,
        );
      }
      await this.#unload(model);
      await Deno.remove(model.entry, { recursive: true });
      this.#unloaded.delete(name);
      this.#models.delete(name);
    });
  }

  /** Whether an entry of that name is there, be it a model or not. */
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

  /** Where the entry of a new model goes. */
  placeOf(name: string): string {
    return join(this.#folder, name);
  }

  #alone<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(work);
    this.#last = done.catch(() => {}); // heard by who asked for it
    return done;
  }

  async #scan(): Promise<void> {
    const file = join(this.#stateFolder, DEFAULT_FILE); // of all processes
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
            "Cannot call a model that: use letters, digits, dots, dashes",
          );
        }
        const { version } = modelReference(entry, info.sha256);
        models.push({ name, version, entry, info });
      } catch (error) {
        if (!(error instanceof CheckpointError)) throw error;
        // A folder, or a link that leads nowhere, was meant to be a model.
        const isOurs = extname(file) === ".safetensors" ||
          !await isPlainFile(entry);
        if (isOurs) faults.push({ name, error: this.#messages.of(error) });
      }
    }
    models.sort((a, b) => a.name < b.name ? -1 : 1);
    const found = new Map(models.map((model) => [model.name, model]));
    this.#faults = [...faults, ...await this.#take(found)];
  }

  /** What a checkpoint says of itself, read again only once it has changed. */
  async #read(entry: string): Promise<CheckpointInfo> {
    const known = this.#known.get(entry);
    if (known && await stampOf(entry, known.info.path) === known.stamp) {
      return known.info;
    }
    const info = await readCheckpointInfo(entry);
    const stamp = await stampOf(entry, info.path);
    this.#known.set(entry, { stamp, info });
    return info;
  }

  /** Makes these the models; returns those that could not be loaded. */
  async #take(found: Map<string, ModelEntry>): Promise<ModelFault[]> {
    const before = this.#models, faults: ModelFault[] = [];
    this.#models = found;
    for (const name of this.#unloaded) {
      if (!found.has(name)) this.#unloaded.delete(name); // another may come
    }
    for (const model of found.values()) {
      if (this.isLoaded(model) || this.#unloaded.has(model.name)) continue;
      const error = await this.#tryToLoad(model);
      if (error !== undefined) faults.push({ name: model.name, error });
    }
    for (const model of before.values()) {
      if (found.get(model.name)?.info.sha256 !== model.info.sha256) {
        await this.#unload(model);
      }
    }
    return faults;
  }

  /** A model that cannot be loaded must not keep the others from being so. */
  async #tryToLoad(model: ModelEntry): Promise<string | undefined> {
    try {
      await this.#load(model);
      return undefined;
    } catch (error) {
      this.#known.delete(model.entry); // it may have changed since it was read
      return this.#messages.of(error as Error);
    }
  }

  async #load({ name, info }: ModelEntry): Promise<void> {
    await this.#engine.load(info.path, info.sha256);
    this.#loaded.set(name, info.sha256);
  }

  async #unload(model: ModelEntry): Promise<void> {
    const { name, info } = model;
    if (this.isLoaded(model)) this.#loaded.delete(name);
    const isShared = [...this.#loaded.values()].includes(info.sha256);
    if (!isShared) await this.#engine.unload(info.sha256);
  }
}

async function isPlainFile(path: string): Promise<boolean> {
  const info = await Deno.stat(path).catch(() => undefined); // gone
  return info?.isFile ?? false;
}

/** Changes when a file of the folder is replaced, or the file itself is. */
async function stampOf(entry: string, file: string): Promise<string> {
  const infos = await Promise.all(
    [entry, file].map((path) => Deno.stat(path).catch(() => undefined) // gone
    ),
  );
  return infos.map((info) => `${info?.mtime?.getTime()} ${info?.size}`).join();
}
