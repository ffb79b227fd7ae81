/**
 * A job that classifies one image.
 *
 * @module
 */
import { join } from "node:path";
import { writeFileAtomically, writeJson } from "../../files.ts";
import { ConflictError } from "../errors.ts";
import type { HeldImage, Images } from "../intake/images.ts";
import { hasImage, HEATMAP_FILE, IMAGE_FILE, RESULT_FILE } from "./files.ts";
import type { JobContext, JobWork } from "./runner.ts";
import type { Job } from "./store.ts";
import type { ModelRegistry } from "../models.ts";
import type { HowToClassify, Predictor } from "../predictor.ts";

/** Request of a job that classifies: an image, a model and options. */
export interface ClassifyJobRequest extends HowToClassify {
  /** Both absent if the image was uploaded: it lies in the job's folder. */
  uri?: string | undefined;
  path?: string | undefined;
  /** The sender's name for the image. */
  upload?: string | undefined;
  model: string;
}

/** Parts of the server that jobs of one image use. */
export interface ClassifyWorkOptions {
  images: Images;
  models: ModelRegistry;
  predictor: Predictor;
}

/** Classifies one image and keeps its heat map. */
export function classifyWork(
  { images, models, predictor }: ClassifyWorkOptions,
): JobWork {
  return async function classifyJob({ job, folder, signal }) {
    const request = job.request as ClassifyJobRequest;
    const { uri, path, upload, model: name, ...options } = request;
    const model = models.loaded(name);
    using _held = models.hold(model);
    await assertHasImage(job, folder);
    await using image = cameWith(job)
      ? uploadedWith(folder, upload)
      : await images.named({ uri, path });
    const { result, heatmap } = await predictor.classifyLater(
      image,
      model,
      { ...options, heatmap: true },
      signal,
    );
    await writeFileAtomically(join(folder, HEATMAP_FILE), heatmap!);
    await writeJson(join(folder, RESULT_FILE), { id: job.id, ...result });
  };
}

/** Checks that the image of a job still exists, if it was uploaded. */
export async function assertHasImage(job: Job, folder: string): Promise<void> {
  if (!cameWith(job) || await hasImage(folder)) return;
  throw new ConflictError(
    "The uploaded image was removed: send it again, as a new job",
  );
}

/** True if the image was uploaded with the job. */
function cameWith({ kind, request }: Job): boolean {
  const { uri, path } = request as ClassifyJobRequest;
  return kind === "classify" && uri === undefined && path === undefined;
}

/** The uploaded image; it stays until the job is done. */
function uploadedWith(
  folder: JobContext["folder"],
  name = "the upload",
): HeldImage {
  return {
    path: join(folder, IMAGE_FILE),
    name,
    alone: true,
    bytes: 0,
    async [Symbol.asyncDispose]() {},
  };
}
