/**
 * Tables that requests and jobs name. Each is read in a Worker of its own,
 * because a million rows would keep the HTTP thread busy for seconds.
 *
 * @module
 */
import { LRUCache } from "lru-cache";
import type {
  AnnotatedImage,
  AnnotatedObject,
} from "../../data/annotations/object.ts";
import { WorkerCalls } from "../../workers/calls.ts";
import { BusyError } from "../errors.ts";
import type { SourcesOptions } from "../intake/allowed_sources.ts";
import type { TableRowsDocument } from "../documents.ts";
import type { BatchImage, TableMethods, TrainingTable } from "./protocol.ts";

const WORKER = new URL("./worker.ts", import.meta.url);

// Requests whose tables wait; one is read at a time, for its memory.
const MAX_WAITING = 16;
const RETRY_AFTER_SECONDS = 10;
// Tables whose URLs are kept.
const MAX_KEPT = 8;

/** A table of images that is held in its Worker until it is disposed of. */
export interface BatchTable extends Disposable {
  /** Number of images. */
  length: number;
  /** Image `from`, and the `count - 1` after it. */
  images(from: number, count: number): Promise<BatchImage[]>;
}

/** Reads the tables of requests and of jobs. */
export class Tables {
  readonly #sources: SourcesOptions;
  readonly #urls = new LRUCache<string, Promise<ReadonlyMap<string, string>>>({
    max: MAX_KEPT,
  });
  #waiting = 0;
  /** Settles when the tables of all earlier requests are read. */
  #last: Promise<unknown> = Promise.resolve();

  /** @param sources files and hosts that a manifest may name. */
  constructor({ roots, hosts }: SourcesOptions) {
    this.#sources = { roots: [...roots], hosts: [...hosts] };
  }

  /**
   * Runs `check`, one of the methods below, when the tables of earlier requests
   * are read.
   *
   * @throws {BusyError} If too many wait.
   */
  async inTurn<T>(check: () => Promise<T>): Promise<T> {
    if (this.#waiting >= MAX_WAITING) {
      throw new BusyError(
        `${MAX_WAITING} tables are waiting to be read: try again later`,
        RETRY_AFTER_SECONDS,
      );
    }
    this.#waiting++;
    const result = this.#last.then(check);
    this.#last = result.catch(() => {}); // the caller handles it
    try {
      return await result;
    } finally {
      this.#waiting--;
    }
  }

  /**
   * Checks a manifest to train on with `config`, in the folds of `choice`, if
   * any.
   *
   * @throws {DataError | UsageError}
   */
  async checkTraining(
    path: string,
    { signal, ...how }:
      & Pick<TrainingTable, "config" | "choice" | "labelsAsTheyAre">
      & { signal: AbortSignal },
  ): Promise<void> {
    using worker = new TableWorker(signal);
    await worker.call("checkTraining", { path, ...how, ...this.#sources });
  }

  /** The first images of a manifest. @throws {DataError} If it has faults. */
  async rows(path: string, signal: AbortSignal): Promise<TableRowsDocument> {
    using worker = new TableWorker(signal);
    return await worker.call("rowsOf", { path, ...this.#sources });
  }

  /**
   * The URLs of the first images of a manifest that are not shown, by their
   * names; kept, because each tile of such an image asks for them.
   *
   * @throws {DataError} If it has faults.
   */
  async urls(path: string): Promise<ReadonlyMap<string, string>> {
    const { mtime } = await Deno.stat(path);
    const version = `${mtime?.getTime()} ${path}`;
    const known = this.#urls.get(version);
    if (known) return await known;
    const urls = this.inTurn(() => this.#readUrls(path));
    this.#urls.set(version, urls);
    urls.catch(() => this.#urls.delete(version)); // the caller handles it
    return await urls;
  }

  async #readUrls(path: string): Promise<ReadonlyMap<string, string>> {
    // Others may wait for it when its caller has left.
    using worker = new TableWorker(new AbortController().signal);
    return await worker.call("urlsOf", { path, ...this.#sources });
  }

  /**
   * The objects that a manifest's own files state of an image; undefined if it
   * has no such image.
   *
   * @throws {DataError} If a file has faults.
   */
  async objects(
    path: string,
    image: string,
    signal: AbortSignal,
  ): Promise<AnnotatedObject[] | undefined> {
    using worker = new TableWorker(signal);
    return await worker.call("objectsOf", { path, image, ...this.#sources });
  }

  /**
   * The objects of all images as CSV: those drawn, else the manifest's own.
   *
   * @throws {DataError} If a file has faults.
   */
  async boxes(
    path: string,
    drawn: readonly AnnotatedImage[],
    signal: AbortSignal,
  ): Promise<string> {
    using worker = new TableWorker(signal);
    return await worker.call("boxesOf", { path, drawn, ...this.#sources });
  }

  /**
   * Reads a table of images to classify.
   *
   * @throws {DataError} With every fault, by its line.
   */
  async openBatch(path: string, signal: AbortSignal): Promise<BatchTable> {
    const worker = new TableWorker(signal);
    try {
      const length = await worker.call("readBatch", { path });
      return {
        length,
        images: (from, count) => worker.call("imagesOf", { from, count }),
        [Symbol.dispose]: () => worker[Symbol.dispose](),
      };
    } catch (error) {
      worker[Symbol.dispose]();
      throw error;
    }
  }
}

/** A Worker that ends with its table, or when `signal` aborts. */
class TableWorker implements Disposable {
  readonly #signal: AbortSignal;
  readonly #calls: WorkerCalls<TableMethods>;
  // It need not be asked: it holds nothing that must be put away.
  readonly #abort = () => this.#calls.close(this.#signal.reason);

  constructor(signal: AbortSignal) {
    signal.throwIfAborted();
    this.#signal = signal;
    this.#calls = new WorkerCalls<TableMethods>(WORKER, {
      onCrash: (reason) =>
        this.#calls.close(
          new Error(`The Worker that reads a table ended: ${reason}`),
        ),
    });
    signal.addEventListener("abort", this.#abort);
  }

  call: WorkerCalls<TableMethods>["call"] = (method, input) =>
    this.#calls.call(method, input);

  [Symbol.dispose](): void {
    this.#signal.removeEventListener("abort", this.#abort);
    this.#calls.close(new Error("The table was closed"));
  }
}
