/**
 * Classifying the image of the address, with one seed or several. A large image
 * becomes a job, which is waited for.
 *
 * @module
 */
import type { Api } from "./api.ts";
import { imageOf, type State } from "./state.ts";
import type { Classification, Job, Model, SeenImage } from "./types.ts";

/** An image with a model, classified with several seeds. */
export interface Runs {
  /** That of the first seed, whose regions are shown. */
  first: Classification;
  /** Probabilities by class, one a seed. */
  probabilities: Record<string, number[]>;
}

/** What is classified. */
export interface Question {
  state: State;
  image: SeenImage;
  model: Model;
}

const LOOK_EVERY_MS = 500;

/**
 * Classifies with one seed after the other.
 *
 * @param tell is told what is waited for.
 */
export async function* classify(
  api: Api,
  question: Question,
  { signal, tell }: { signal: AbortSignal; tell: (what: string) => void },
): AsyncGenerator<Runs> {
  const { seed, runs } = question.state;
  let done: Runs | undefined;
  for (let i = 0; i < runs; i++) {
    tell(
      runs === 1 ? "Classifying…" : `Classifying, seed ${i + 1} of ${runs}…`,
    );
    const result = await once(api, question, { seed: seed + i, signal, tell });
    const probabilities = Object.fromEntries(
      Object.entries(result.probabilities).map(([name, value]) => [
        name,
        [...done?.probabilities[name] ?? [], value],
      ]),
    );
    done = { first: done?.first ?? result, probabilities };
    yield done;
  }
}

async function once(
  api: Api,
  { state, image, model }: Question,
  { seed, signal, tell }: {
    seed: number;
    signal: AbortSignal;
    tell: (what: string) => void;
  },
): Promise<Classification> {
  const { samples } = state;
  const isFirst = seed === state.seed;
  const request = {
    ...imageOf(state),
    model: model.name,
    seed,
    ...(samples > 0 && { samples }),
    ...(isFirst && { maps: true }),
  };
  // If it becomes a job, the same question finds the same one.
  const key = ["viewer", image.version, model.version, samples, seed, isFirst];
  const response = await api.post("v1/classify", request, {
    headers: { "idempotency-key": key.join(" ") },
    signal,
  });
  return response.status === 202
    ? await resultOf(api, await response.json(), { signal, tell })
    : await response.json();
}

/** Waits for a job, and continues one that was stopped. */
async function resultOf(
  api: Api,
  job: Job,
  { signal, tell }: { signal: AbortSignal; tell: (what: string) => void },
): Promise<Classification> {
  const { resume } = job.links;
  if (resume) await api.post(resume.slice(1), {}, { signal });
  tell("The image is large: it is classified as a job…");
  const path = `v1/jobs/${job.id}`;
  for (;;) {
    const { state, error } = await api.get<Job>(path, signal);
    if (state === "succeeded") return await api.get(`${path}/result`, signal);
    if (state === "failed" || state === "cancelled") {
      throw new Error(error ?? `The job was ${state}`);
    }
    await pause(LOOK_EVERY_MS, signal);
  }
}

/** Waits. @throws The reason of `signal`. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((done, fail) => {
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      fail(signal.reason);
    }, { once: true });
  });
}
