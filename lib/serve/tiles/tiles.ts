/**
 * Pictures of images for a page that shows them, cut in a Worker that starts
 * with the first of them.
 *
 * @module
 */
import { EngineError } from "../../errors.ts";
import { WorkerCalls } from "../../workers/calls.ts";
import { withSignal } from "../../image/bytes/with_signal.ts";
import {
  BusyError,
  DeadlineError,
  NotFoundError,
  NotReadyError,
} from "../errors.ts";
import type { HeldImage } from "../intake/images.ts";
import type {
  CutPicture,
  CutTask,
  CutterMethods,
  CutterSetup,
  SeenFacts,
  SeenImage,
} from "./protocol.ts";

/** Options of {@linkcode Tiles}. */
export interface TilesOptions extends CutterSetup {
  /** Most pictures that wait or are being cut. */
  pending: number;
  /** Longest that one may take, ms. */
  timeoutMs: number;
}

const RETRY_SECONDS = 1;
const WORKER = new URL("./worker.ts", import.meta.url);

/** Cuts pictures of images. */
export class Tiles {
  readonly #options: TilesOptions;
  #calls: WorkerCalls<CutterMethods> | undefined;
  #started: Promise<void> | undefined;
  #pending = 0;

  constructor(options: TilesOptions) {
    this.#options = options;
  }

  /** Starts the Worker, which the first picture would else wait for. */
  prepare(): void {
    this.#worker().catch(() => {}); // the first picture tells
  }

  /**
   * Size and levels of an image.
   *
   * @throws {ImageError | BusyError | DeadlineError}
   */
  async describe(image: HeldImage, signal: AbortSignal): Promise<SeenFacts> {
    const seen = await seenOf(image);
    return await this.#ask(
      (calls, signal) => calls.call("describe", seen, signal),
      signal,
    );
  }

  /**
   * A tile, or a rectangle.
   *
   * @throws {NotFoundError} If the image has no such place.
   * @throws {ImageError | BusyError | DeadlineError}
   */
  async cut(
    image: HeldImage,
    task: Omit<CutTask, "image">,
    signal: AbortSignal,
  ): Promise<CutPicture> {
    const seen = await seenOf(image);
    const picture = await this.#ask(
      (calls, signal) => calls.call("cut", { ...task, image: seen }, signal),
      signal,
    );
    if (picture) return picture;
    throw new NotFoundError(
      `${image.name} has no such part: ${JSON.stringify(task.place)}`,
    );
  }

  close(): void {
    this.#calls?.close(
      new NotReadyError("The server is stopping: try again in a few seconds"),
    );
  }

  async #ask<T>(
    work: (
      calls: WorkerCalls<CutterMethods>,
      signal: AbortSignal,
    ) => Promise<T>,
    left: AbortSignal,
  ): Promise<T> {
    const { pending, timeoutMs } = this.#options;
    if (this.#pending >= pending) {
      throw new BusyError(
        `${pending} pictures are being cut: try again later`,
        RETRY_SECONDS,
      );
    }
    this.#pending++;
    const deadline = AbortSignal.timeout(timeoutMs);
    const signal = AbortSignal.any([left, deadline]);
    try {
      const answer = work(await this.#worker(), signal);
      return await withSignal(answer, signal);
    } catch (error) {
      if (!deadline.aborted || left.aborted) throw error;
      throw new DeadlineError(
        `The picture exceeded its limit of ${
          timeoutMs / 1000
        } s: check the server of the image, or store smaller levels in it`,
      );
    } finally {
      this.#pending--;
    }
  }

  /** The Worker, started once. */
  async #worker(): Promise<WorkerCalls<CutterMethods>> {
    const calls = this.#calls ??= this.#start();
    await this.#started;
    return calls;
  }

  #start(): WorkerCalls<CutterMethods> {
    const { pending: _pending, timeoutMs: _timeoutMs, ...setup } =
      this.#options;
    const calls = new WorkerCalls<CutterMethods>(WORKER, {
      onCrash: (reason) => {
        this.#calls = undefined; // the next picture starts another
        calls.close(new EngineError(`The cutting of tiles ended: ${reason}`));
      },
    });
    this.#started = calls.call("start", setup);
    return calls;
  }
}

/** The image as the Worker opens it: a file that was changed is opened anew. */
async function seenOf(
  { path, name, alone, bytes }: HeldImage,
): Promise<SeenImage> {
  const isFile = bytes > 0;
  const { mtime } = isFile ? await Deno.stat(path) : { mtime: null };
  const version = isFile ? `${bytes}|${mtime?.getTime()}` : "";
  return { path, name, alone, version };
}
