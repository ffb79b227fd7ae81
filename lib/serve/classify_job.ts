/**
 * A job that classifies one image.
 *
 * @module
 */
import { join } from "node:path";
import { ImageError } from "../errors.ts";
import { writeFileAtomically, writeJson } from "../files.ts";
import type { HeldImage, Images } from "./images.ts";
import { HEATMAP_FILE, IMAGE_FILE, RESULT_FILE } from "./job_files.ts";
import type { JobContext, JobWork } from "./job_runner.ts";
import type { ModelRegistry } from "./models.ts";
import type { ClassifyOptions, Predictor } from "./predictor.ts";

/** Which image, by which model, and how. */
export interface ClassifyJobRequest extends ClassifyOptions {
  /** Neither where the image lies in the job's folder. */
  uri?: string | undefined;
  path?: string | undefined;
  model: string;
}

/** What jobs that classify work with. */
export interface ClassifyWorkOptions {
  images: Images;
  models: ModelRegistry;
  predictor: Predictor;
}

/** Classifies one image, and keeps its heat map. */
export function classifyWork(
  { images, models, predictor }: ClassifyWorkOptions,
): JobWork {
  return async function classifyJob({ job, folder, signal }) {
    const request = job.request as ClassifyJobRequest;
    const { uri, path, model: name, ...options } = request;
    const model = models.loaded(name);
    await using image = uri === undefined && path === undefined
      ? uploadedWith(folder)
      : await images.named({ uri, path });
    const { result, heatmap } = await predictor.classifyLater(
      image,
      model,
      { ...options, heatmap: true },
      signal,
    ).catch(async (error) => {
      // It will not become readable, and may be gigabytes.
      if (error instanceof ImageError) await removeImage(folder);
      throw error;
    });
    await writeFileAtomically(join(folder, HEATMAP_FILE), heatmap!);
    await writeJson(join(folder, RESULT_FILE), { id: job.id, ...result });
    await removeImage(folder);
  };
}

async function removeImage(folder: string): Promise<void> {
  await Deno.remove(join(folder, IMAGE_FILE)).catch(() => {}); // named, not sent
}

/** The image that came with the job; it stays until the job is done. */
function uploadedWith(folder: JobContext["folder"]): HeldImage {
  return {
    path: join(folder, IMAGE_FILE),
    name: "the upload",
    alone: true,
    bytes: 0,
    async [Symbol.asyncDispose]() {},
  };
}
