/**
 * Accepts jobs: a faulty request is refused before it is queued.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import type { Caller } from "../auth.ts";
import type { Annotations } from "../annotations/annotations.ts";
import { exists, keepFile, makeFolder, writeJson } from "../../files.ts";
import { batchHeatmap, batchLine } from "./batch.ts";
import { type ChecksOptions, JobChecks } from "./checks.ts";
import { assertHasImage, type ClassifyJobRequest } from "./classify.ts";
import type { ModelClassification } from "../../eval/classification.ts";
import {
  ConflictError,
  InputError,
  NotFoundError,
  NotReadyError,
} from "../errors.ts";
import {
  HEATMAP_FILE,
  IMAGE_FILE,
  RESULT_FILE,
  RESULTS_FILE,
} from "./files.ts";
import { REPORT_FILE } from "../../report/report_file.ts";
import { readFoldLogs } from "../../train/runs/fold_task.ts";
import { LOG_FILE } from "../../train/run_log.ts";
import { jobFolderName, type SharedFolders } from "./shared_folders.ts";
import type { SharedModels } from "./shared_models.ts";
import type { Messages } from "../redaction.ts";
import type { JobRunner } from "./runner.ts";
import type { Idempotency, Job, JobKind, JobStore, NewJob } from "./store.ts";
import type { HowToClassify } from "../predictor.ts";
import {
  type BatchRequest,
  type ClassifyNamed,
  type JobQuery,
  JOBS_LISTED,
  type TrainRequest,
} from "../schemas.ts";
import {
  DRAWN_FILE,
  foldChoice,
  isOfFolds,
  RUN_FOLDER,
  type TrainJobRequest,
} from "./train.ts";
import type { Upload } from "../intake/uploads.ts";

/** Parts of the server that accepting a job needs. */
export interface JobsOptions extends ChecksOptions {
  annotations: Pick<Annotations, "drawnOn">;
  store: JobStore;
  runner: JobRunner;
  /** Where other hosts keep the files of their jobs. */
  shared: SharedFolders;
  sharedModels: Pick<SharedModels, "offer">;
}

/** An accepted job: a new one, or the earlier one of the same key. */
export interface Accepted {
  job: Job;
  isNew: boolean;
}

/** Options of the request for a job. */
export interface AcceptOptions {
  /** Who sent it; the job is theirs. */
  caller: Caller;
  /** The caller's Idempotency-Key. */
  key?: string | undefined;
  /** Aborts when the caller leaves. */
  signal: AbortSignal;
}

/** A request for a job, as sent. */
interface Asked extends Pick<AcceptOptions, "key" | "caller"> {
  kind: JobKind;
  request: unknown;
  /** Hash of the uploaded image. */
  content?: string;
}

/** A checked request, ready to be queued. */
type Checked = Pick<NewJob, "request" | "model">;

/** The jobs of the server. */
export class Jobs {
  readonly #options: JobsOptions;
  readonly #checks: JobChecks;
  #draining = false;

  constructor(options: JobsOptions) {
    this.#options = options;
    this.#checks = new JobChecks(options);
  }

  /** Stops accepting jobs. */
  drain(): void {
    this.#draining = true;
  }

  /** Accepts an uploaded image, which moves into the job's folder. */
  async classifyUpload(
    upload: Upload,
    how: HowToClassify & { model?: string | undefined },
    { key, caller }: Pick<AcceptOptions, "key" | "caller">,
  ): Promise<Accepted> {
    const { models, runner } = this.#options;
    const asked = { ...how, upload: upload.name };
    return await this.#accept(
      { kind: "classify", request: asked, content: upload.sha256, key, caller },
      async (id) => {
        const { name: model } = models.loaded(how.model);
        const request: ClassifyJobRequest = { ...asked, model };
        const folder = runner.folderOf(id);
        await makeFolder(folder);
        await keepFile(upload.path, join(folder, IMAGE_FILE));
        return { request };
      },
    );
  }

  /** Accepts an image that the request names. */
  async classifyNamed(
    asked: ClassifyNamed,
    { key, caller }: Pick<AcceptOptions, "key" | "caller">,
  ): Promise<Accepted> {
    return await this.#accept(
      { kind: "classify", request: asked, key, caller },
      async () => ({ request: await this.#checks.image(asked) }),
    );
  }

  /**
   * Tells if a job of this key already has the image that a request names.
   *
   * @throws {ConflictError} If the key was used for another request.
   */
  async isKnown(
    request: ClassifyNamed,
    { key, caller }: Pick<AcceptOptions, "key" | "caller">,
  ): Promise<boolean> {
    return await this.#find({ kind: "classify", request, key, caller }) !==
      undefined;
  }

  /** Accepts a table of images. */
  async batch(
    asked: BatchRequest,
    { key, caller, signal }: AcceptOptions,
  ): Promise<Accepted> {
    return await this.#accept(
      { kind: "batch", request: asked, key, caller },
      async () => ({ request: await this.#checks.batch(asked, signal) }),
    );
  }

  /** Accepts a model to train. */
  async train(
    asked: TrainRequest,
    { key, caller, signal }: AcceptOptions,
  ): Promise<Accepted> {
    const { models } = this.#options;
    const { name } = asked;
    return await this.#accept(
      { kind: "train", request: asked, key, caller },
      async (id) => {
        const request = await this.#checks.run(asked, signal);
        const model = foldChoice(request)
          ? undefined // a cross-validation makes none
          : { name, isTaken: () => models.isTaken(name) };
        if (request.boxes) await this.#keepDrawn(id, request);
        return { request, model };
      },
    );
  }

  /** Keeps the objects that are drawn by now in the folder of a new job. */
  async #keepDrawn(id: string, { data }: TrainJobRequest): Promise<void> {
    const { annotations, runner } = this.#options;
    const folder = runner.folderOf(id);
    await makeFolder(folder);
    await writeJson(join(folder, DRAWN_FILE), annotations.drawnOn(data));
  }

  /**
   * A job of the caller's; to an admin, any.
   *
   * @throws {NotFoundError} If there is none, with the same text for another's.
   */
  async get(id: string, caller: Caller): Promise<Job> {
    const job = found(await this.#options.store.get(id));
    const isSeen = caller.role === "admin" || job.owner === caller.name;
    return found(isSeen ? job : undefined);
  }

  /**
   * A page of the caller's jobs, to an admin of all, the latest first, and the
   * `before` of the next page.
   */
  async list(
    { state, before, limit = JOBS_LISTED }: JobQuery,
    caller: Caller,
  ): Promise<{ jobs: Job[]; next: string | null }> {
    const jobs = await this.#options.store.list({
      state,
      owner: caller.role === "admin" ? undefined : caller.name,
      before,
      limit: limit + 1,
    });
    const isMore = jobs.length > limit;
    if (isMore) jobs.pop();
    return { jobs, next: isMore ? jobs.at(-1)!.id : null };
  }

  /** Ends a waiting job, or stops a running one at its next step. */
  async cancel(id: string, caller: Caller): Promise<Job> {
    const { store, runner } = this.#options;
    await this.get(id, caller);
    const job = found(await store.cancel(id));
    if (job.state === "running") await runner.cancelled(id);
    return job;
  }

  /**
   * @throws {ConflictError} If the job neither failed nor was cancelled, or its
   *   uploaded image was removed.
   */
  async resume(id: string, caller: Caller): Promise<Job> {
    const { store, runner } = this.#options;
    const before = await this.get(id, caller);
    if (before.state === "failed") {
      await this.#bring(before, (file) => file === IMAGE_FILE);
      await assertHasImage(before, runner.folderOf(id));
    }
    const job = await store.resume(id);
    if (!job) {
      throw new ConflictError(
        `Cannot resume a job that is ${before.state}: only a failed or cancelled job can be resumed`,
      );
    }
    runner.wake();
    return job;
  }

  /** Opens a file of a job's folder. @throws {NotFoundError} */
  async open(
    job: Job,
    ...parts: string[]
  ): Promise<ReadableStream<Uint8Array<ArrayBuffer>>> {
    await this.#bring(job, (file) => file === parts.join("/"));
    return await openFile(
      join(this.#options.runner.folderOf(job.id), ...parts),
    );
  }

  /**
   * Classification of a job's only image, or of image `index` of a batch.
   *
   * @throws {InputError | NotFoundError}
   */
  async classified(
    job: Job,
    index: number | undefined,
  ): Promise<ModelClassification> {
    if (!isOfBatch(job, index)) {
      return await new Response(await this.open(job, RESULT_FILE)).json();
    }
    await this.#bring(job, (file) => file === RESULTS_FILE);
    const line = await batchLine(this.#options.runner.folderOf(job.id), index);
    if (line === undefined) throw noSuchFile();
    if ("error" in line) throw new NotFoundError(line.error);
    return line;
  }

  /** Heat map of an image, chosen as in {@linkcode classified}. */
  async openHeatmap(
    job: Job,
    index: number | undefined,
  ): Promise<ReadableStream<Uint8Array<ArrayBuffer>>> {
    return await this.open(
      job,
      ...isOfBatch(job, index) ? batchHeatmap(index) : [HEATMAP_FILE],
    );
  }

  /**
   * The log of a job that trains; of a cross-validation, those of its folds.
   *
   * @throws {NotFoundError} If it has none.
   */
  async openLog(job: Job): Promise<ReadableStream<Uint8Array<ArrayBuffer>>> {
    const run = join(this.#options.runner.folderOf(job.id), RUN_FOLDER);
    await this.#bring(job, isOfLog);
    const log = isOfFolds(job)
      ? ReadableStream.from(linesOf(readFoldLogs(run)))
      : (await this.#openOfRun(job, LOG_FILE))
        .pipeThrough(new TextDecoderStream());
    return log.pipeThrough(shownLines(this.#options.messages))
      .pipeThrough(new TextEncoderStream());
  }

  /** The report of a job that trained. @throws {NotFoundError} If it has none. */
  async openReport(
    job: Job,
  ): Promise<ReadableStream<Uint8Array<ArrayBuffer>>> {
    return await this.#openOfRun(job, REPORT_FILE);
  }

  async #openOfRun(
    job: Job,
    file: string,
  ): Promise<ReadableStream<Uint8Array<ArrayBuffer>>> {
    if (job.kind !== "train") throw noSuchFile();
    const { name } = job.request as TrainJobRequest;
    // A finished run has moved to the folder of models, if it became one.
    return job.state === "succeeded" && !isOfFolds(job)
      ? await openFile(join(this.#options.models.placeOf(name), file))
      : await this.open(job, RUN_FOLDER, file);
  }

  /**
   * Removes a job that has ended, with its files; a model that it trained
   * stays.
   *
   * @throws {ConflictError} If it has not ended.
   */
  async remove(id: string, caller: Caller): Promise<void> {
    const { store } = this.#options;
    const { state } = await this.get(id, caller);
    if (!await store.remove(id)) {
      throw new ConflictError(
        `The job is ${state}: cancel it before it is removed`,
      );
    }
    await this.#removeFolder(id);
  }

  /** Brings files of a job that ran on another host. */
  async #bring(
    { id }: Job,
    wanted: (file: string) => boolean,
  ): Promise<void> {
    const { runner, shared } = this.#options;
    if (runner.isRunning(id)) return;
    await shared.fetch(jobFolderName(id), runner.folderOf(id), wanted);
  }

  /**
   * Queues the request that `check` returns, or finds the job of the same key
   * unchecked: the files that it names may have changed meanwhile. If it is not
   * queued, nothing is left of the folder that `check` may have made.
   */
  async #accept(
    asked: Asked,
    check: (id: string) => Promise<Checked>,
  ): Promise<Accepted> {
    const { store, runner, shared, sharedModels } = this.#options;
    const known = await this.#find(asked);
    if (known) return { job: known, isNew: false };
    if (this.#draining) {
      throw new NotReadyError(
        "The server is stopping: try again in a few seconds",
      );
    }
    const id = crypto.randomUUID();
    const { kind, caller } = asked;
    const idempotency = idempotencyOf(asked);
    try {
      const { request, model } = await check(id);
      const { model: used } = request as { model?: string };
      if (used !== undefined) await sharedModels.offer(used);
      const folder = runner.folderOf(id);
      if (await exists(folder)) {
        await shared.keep(jobFolderName(id), folder, 0);
      }
      const accepted = await store.add({
        id,
        kind,
        owner: caller.name,
        request,
        idempotency,
        model,
      });
      if (accepted.isNew) runner.wake();
      else await this.#removeFolder(id);
      return accepted;
    } catch (error) {
      await this.#removeFolder(id);
      throw error;
    }
  }

  async #find(asked: Asked): Promise<Job | undefined> {
    const idempotency = idempotencyOf(asked);
    return idempotency && await this.#options.store.find(idempotency);
  }

  async #removeFolder(id: string): Promise<void> {
    const folder = this.#options.runner.folderOf(id);
    await Deno.remove(folder, { recursive: true }).catch(() => {}); // not created
    await this.#options.shared.remove(jobFolderName(id));
  }
}

function idempotencyOf(
  { kind, request, content = "", key, caller: { name } }: Asked,
): Idempotency | undefined {
  if (key === undefined) return undefined;
  const digest = createHash("sha256")
    .update(JSON.stringify([kind, request, content])).digest("hex");
  // No header holds a line end, so no key is another caller's.
  return { key: name === null ? key : `${name}\n${key}`, digest };
}

function found(job: Job | undefined): Job {
  if (job) return job;
  throw new NotFoundError("No such job: see GET /v1/jobs");
}

/** True for a file of a run that its log is read from. */
function isOfLog(file: string): boolean {
  return file.startsWith(`${RUN_FOLDER}/`) && /\.jsonl?$/.test(file);
}

/** Each value as a line of JSON. */
async function* linesOf(
  values: AsyncIterable<unknown>,
): AsyncGenerator<string> {
  for await (const value of values) yield `${JSON.stringify(value)}\n`;
}

/** True for a batch, which needs `index`; other jobs must not have one. */
function isOfBatch(
  { kind }: Job,
  index: number | undefined,
): index is number {
  if (kind === "train") throw noSuchFile();
  if ((kind === "batch") === (index !== undefined)) return kind === "batch";
  throw new InputError(
    "image",
    kind === "batch"
      ? 'A batch has many images: give "image", counted from 0'
      : 'The job has only one image: leave out "image"',
  );
}

async function openFile(
  path: string,
): Promise<ReadableStream<Uint8Array<ArrayBuffer>>> {
  try {
    return (await Deno.open(path)).readable;
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound)) throw cause;
    throw noSuchFile(cause);
  }
}

/** Takes out of lines of JSON what callers may not see. */
function shownLines(messages: Messages): TransformStream<string, string> {
  let rest = "";
  return new TransformStream({
    transform(text, controller) {
      const lines = (rest + text).split("\n");
      rest = lines.pop()!; // a line that is not whole yet is left out
      for (const line of lines) {
        const shown = JSON.parse(
          line,
          (_, value) =>
            typeof value === "string" ? messages.told(value) : value,
        );
        controller.enqueue(`${JSON.stringify(shown)}\n`);
      }
    },
  });
}

function noSuchFile(cause?: unknown): NotFoundError {
  return new NotFoundError("The job has no such file", { cause });
}
