/**
 * Settings and figures of a run, sent to an MLflow server as they come.
 *
 * Source: "REST API" of MLflow 3, version 2.0 of the interface
 * (https://mlflow.org/docs/latest/api_reference/rest-api.html).
 *
 * @module
 */
import { join } from "node:path";
import { oneLine, TrainingError } from "../errors.ts";
import { exists, writeJson } from "../files.ts";

/** A run as the server keeps it. */
export interface MlflowOptions {
  /** Address of the server. */
  uri: string;
  /** Folder of the run, which keeps the id that the server gave it. */
  folder: string;
  /** Continues the run of the folder, with the settings it was started with. */
  resume: boolean;
  /** The experiment of the run; made if there is none. */
  experiment: string;
  /** Name of the run. */
  name: string;
  /** Settings, such as a configuration. */
  params: object;
}

const BATCH = 100; // params of a request, at most
const MAX_VALUE = 6000; // characters of a param, at most
// Training must not wait for a server that is stuck; a busy one takes seconds.
const ANSWER_SECONDS = 15;
const EXISTS = "RESOURCE_ALREADY_EXISTS", GONE = "RESOURCE_DOES_NOT_EXIST";
// In the run's folder: the server and the id.
const FILE = "mlflow.json";

/** A run on an MLflow server. */
export class MlflowRun {
  private constructor(readonly uri: string, readonly id: string) {}

  /** @throws {TrainingError} If the server cannot be reached, or refuses. */
  static async start(
    { uri, folder, resume, experiment, name, params }: MlflowOptions,
  ): Promise<MlflowRun> {
    const known = resume ? await idIn(folder, uri) : undefined;
    if (known !== undefined) {
      const continued = new MlflowRun(uri, known);
      const { error_code } = await continued.#send("runs/update", {
        status: "RUNNING",
      });
      if (error_code !== GONE) return continued;
    }
    const { run } = await ask(uri, "runs/create", {
      experiment_id: await experimentId(uri, experiment),
      run_name: name,
      start_time: Date.now(),
    });
    const started = new MlflowRun(uri, run.info.run_id);
    const all = flat(params);
    for (let at = 0; at < all.length; at += BATCH) {
      const params = all.slice(at, at + BATCH);
      await started.#send("runs/log-batch", { params });
    }
    await Deno.mkdir(folder, { recursive: true });
    await writeJson(join(folder, FILE), { uri: shownUri(uri), id: started.id });
    return started;
  }

  /** Adds the figures of an epoch. @throws {TrainingError} */
  async add(
    step: number,
    figures: Readonly<Record<string, number | null>>,
  ): Promise<void> {
    const timestamp = Date.now();
    const metrics = Object.entries(figures)
      .filter(([, value]) => value !== null)
      .map(([key, value]) => ({ key, value, timestamp, step }));
    await this.#send("runs/log-batch", { metrics });
  }

  /** Notes how the run ended. @throws {TrainingError} */
  async end(status: "FINISHED" | "FAILED" | "KILLED"): Promise<void> {
    await this.#send("runs/update", { status, end_time: Date.now() });
  }

  async #send(route: string, body: object): Promise<Answer> {
    return await ask(this.uri, route, { run_id: this.id, ...body });
  }
}

/** The id of the folder's run on a server, if it has one there. */
async function idIn(folder: string, uri: string): Promise<string | undefined> {
  const file = join(folder, FILE);
  if (!await exists(file)) return undefined;
  const kept = JSON.parse(await Deno.readTextFile(file));
  return kept.uri === shownUri(uri) ? kept.id : undefined;
}

/** `uri` without its password: it is kept in files and logs. */
function shownUri(uri: string): string {
  return uri.replace(/(?<=^https?:\/\/)[^/]*@/i, "");
}

/** Settings by their path, as JSON. */
function flat(value: object, prefix = ""): { key: string; value: string }[] {
  return Object.entries(value).flatMap(([name, inside]) => {
    const key = prefix + name;
    if (Object.getPrototypeOf(inside ?? []) === Object.prototype) {
      return flat(inside, `${key}.`);
    }
    return [{ key, value: JSON.stringify(inside).slice(0, MAX_VALUE) }];
  });
}

async function experimentId(uri: string, name: string): Promise<string> {
  const made = await ask(uri, "experiments/create", { name });
  if (made.error_code !== EXISTS) return made.experiment_id;
  const query = new URLSearchParams({ experiment_name: name });
  const found = await ask(uri, `experiments/get-by-name?${query}`);
  return found.experiment.experiment_id;
}

/** An answer of the server: the fields that are read. */
interface Answer {
  run: { info: { run_id: string } };
  experiment: { experiment_id: string };
  experiment_id: string;
  error_code?: string;
  message?: string;
}

/** Posts `body`, or gets. */
async function ask(uri: string, route: string, body?: object): Promise<Answer> {
  try {
    const address = `${uri.replace(/\/+$/, "")}/api/2.0/mlflow/${route}`;
    const headers = { "content-type": "application/json" };
    const post = { method: "POST", headers, body: JSON.stringify(body) };
    const signal = AbortSignal.timeout(ANSWER_SECONDS * 1000);
    const response = await fetch(address, { ...(body && post), signal });
    const answer: Answer = await response.json();
    const { error_code } = answer;
    if (response.ok || error_code === EXISTS || error_code === GONE) {
      return answer;
    }
    throw new Error(answer.message ?? `it answers ${response.status}`);
  } catch (cause) {
    const { name, message } = cause as Error;
    const reason = name === "TimeoutError"
      ? `it does not answer within ${ANSWER_SECONDS} s`
      : oneLine(message);
    throw new TrainingError(
      `Cannot use ${
        shownUri(uri)
      } as an MLflow server: ${reason}; check its address`,
      { cause },
    );
  }
}
