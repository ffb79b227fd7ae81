/**
 * Models that jobs of all hosts use, by name.
 *
 * @module
 */
import { join } from "node:path";
import { exists, moveFolder, temporaryBeside } from "../../files.ts";
import { BEST } from "../../model/checkpoint.ts";
import type { ModelEntry, ModelRegistry } from "../models.ts";
import { OWN_FOLDERS, type SharedFolders } from "./shared_folders.ts";

const FOLDERS = "model.";

type Models = Pick<
  ModelRegistry,
  "get" | "isLoaded" | "isTaken" | "models" | "placeOf" | "refresh"
>;

/** Brings models to the hosts that need them. */
export class SharedModels {
  readonly #folders: SharedFolders;
  readonly #models: Models;
  #last: Promise<void> = Promise.resolve();
  /** SHA-256 of models that were offered, by name. */
  readonly #offered = new Map<string, string>();

  constructor(
    folders: SharedFolders,
    models: Models,
  ) {
    this.#folders = folders;
    this.#models = models;
  }

  /** Keeps a model of this host for the others. */
  async offer(name: string): Promise<void> {
    const { entry, info: { sha256 } } = this.#models.get(name);
    const isKept = this.#offered.get(name) === sha256;
    if (isKept || this.#folders === OWN_FOLDERS) return;
    if ((await Deno.stat(entry)).isDirectory) {
      await this.#folders.keep(folderName(name), entry, 0);
    } else await this.#offerFile(name, entry);
    this.#offered.set(name, sha256);
  }

  /** A checkpoint alone, as a run that has no other file. */
  async #offerFile(name: string, file: string): Promise<void> {
    const folder = await Deno.makeTempDir({ prefix: "zoomin-model-" });
    try {
      await Deno.copyFile(file, join(folder, BEST));
      await this.#folders.keep(folderName(name), folder, 0);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  }

  /**
   * Brings the model of a job that another host accepted, and waits until it is
   * loaded: its files may be there, brought for another job, before that.
   */
  async ensure(name: string): Promise<void> {
    if (this.#models.models.some((model) => this.#isReady(model, name))) return;
    await this.#takeAlone(name);
    await this.#models.refresh();
  }

  /** Brings all models that this host lacks, to be found by a refresh. */
  async takeAll(): Promise<void> {
    for (const folder of await this.#folders.list(FOLDERS)) {
      await this.#takeAlone(modelOf(folder));
    }
  }

  /** Keeps no copy of a model that was removed on this host. */
  async remove(name: string): Promise<void> {
    this.#offered.delete(name);
    await this.#folders.remove(folderName(name));
  }

  #isReady(model: ModelEntry, name: string): boolean {
    return model.name === name && this.#models.isLoaded(model);
  }

  /** Brings a model that this host lacks, one at a time. */
  #takeAlone(name: string): Promise<void> {
    const taken = this.#last.then(() => this.#take(name));
    this.#last = taken.catch(() => {}); // the caller handles the error
    return taken;
  }

  async #take(name: string): Promise<void> {
    if (this.#models.isTaken(name)) return;
    const place = this.#models.placeOf(name);
    const temporary = temporaryBeside(place);
    await this.#folders.fetch(folderName(name), temporary);
    if (!await exists(temporary)) return; // nobody offered it
    if (this.#models.isTaken(name)) { // meanwhile
      await Deno.remove(temporary, { recursive: true });
    } else await moveFolder(temporary, place);
  }
}

function folderName(model: string): string {
  return FOLDERS + btoa(model).replaceAll("=", "").replaceAll("/", "_")
    .replaceAll("+", "-");
}

function modelOf(folder: string): string {
  const coded = folder.slice(FOLDERS.length);
  return atob(coded.replaceAll("_", "/").replaceAll("-", "+"));
}
