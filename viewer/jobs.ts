/**
 * The jobs of the server, and one of them with its progress as it grows.
 *
 * @module
 */
import { type Api, wordsOf } from "./api.ts";
import { calibrationChart } from "./chart.ts";
import { pause } from "./classify.ts";
import { confusionTable } from "./confusion.ts";
import { button, byId, element, say, share } from "./dom.ts";
import { type FoldName, foldParts } from "./folds.ts";
import { charts, isEpoch, logOf } from "./log.ts";
import type { Address } from "./state.ts";
import type { CrossValidated, Job, Model, Scores } from "./types.ts";

const LOOK_EVERY_MS = 1500;
const LISTED = 100;
const WORDS: Record<Job["kind"], string> = {
  train: "Training",
  classify: "Image",
  batch: "Table",
};

/** Shows the jobs while they are in view. */
export class JobsPage {
  readonly #api: Api;
  readonly #address: Address;
  readonly #onDone: () => void;
  readonly #error = byId("jobs-error");
  #looking: AbortController | undefined;
  #shown = ""; // the list
  #detailed = ""; // the job beside it, if it has ended
  #fold: FoldName & { job: string } | undefined; // whose curves are shown

  /** @param onDone called when a run has become a model. */
  constructor(api: Api, address: Address, onDone: () => void) {
    this.#api = api;
    this.#address = address;
    this.#onDone = onDone;
  }

  /** Looks again and again, until the page is left. */
  async show(): Promise<void> {
    this.#looking?.abort();
    const { signal } = this.#looking = new AbortController();
    this.#shown = this.#detailed = "";
    try {
      for (;;) {
        if (!document.hidden) await this.#look(signal);
        await pause(LOOK_EVERY_MS, signal);
      }
    } catch { // left
    }
  }

  leave(): void {
    this.#looking?.abort();
  }

  async #look(signal: AbortSignal): Promise<void> {
    const { job } = this.#address.now;
    try {
      const { jobs } = await this.#api.get<{ jobs: Job[] }>(
        `v1/jobs?limit=${LISTED}`,
        signal,
      );
      this.#list(jobs);
      const found = jobs.find(({ id }) => id === job) ??
        (job && await this.#api.get<Job>(`v1/jobs/${job}`, signal));
      if (found) await this.#detail(found, signal);
      else this.#empty(jobs.length > 0);
      say(this.#error, "");
    } catch (error) {
      signal.throwIfAborted();
      say(this.#error, wordsOf(error));
    }
  }

  #list(jobs: readonly Job[]): void {
    const { job: chosen } = this.#address.now;
    const text = JSON.stringify([chosen, jobs]);
    if (text === this.#shown) return; // the focus stays where it is
    const focused = document.activeElement?.getAttribute("data-job");
    this.#shown = text;
    byId("job-list").replaceChildren(...jobs.map((job) => {
      const { id, state } = job;
      const row = element(
        "li",
        {},
        button(titleOf(job), () => this.#choose(id), {
          "data-job": id,
          "aria-current": id === chosen ? "true" : undefined,
        }),
        element("span", { class: `state ${state}` }, percentOf(job) ?? state),
      );
      return row;
    }));
    if (focused) {
      byId("job-list").querySelector<HTMLElement>(`[data-job="${focused}"]`)
        ?.focus();
    }
  }

  #choose(job: string): void {
    this.#address.go({ job });
    this.show();
  }

  #empty(hasJobs: boolean): void {
    byId("job").replaceChildren(element(
      "p",
      { class: "muted" },
      hasJobs
        ? "Choose a job."
        : "No jobs yet. Training, tables and large images become jobs.",
    ));
  }

  async #detail(job: Job, signal: AbortSignal): Promise<void> {
    const text = JSON.stringify(job);
    if (text === this.#detailed) return;
    const parts: Node[] = [
      element("h2", {}, titleOf(job)),
      element(
        "p",
        { class: `state ${job.state}` },
        job.state,
        job.attempts > 1 ? `, attempt ${job.attempts}` : "",
      ),
      ...(job.error ? [element("p", { class: "error" }, job.error)] : []),
      ...progressOf(job),
      this.#actions(job),
    ];
    if (isOfFolds(job)) {
      parts.push(...await this.#folds(job, signal));
    } else if (job.kind === "train") {
      parts.push(...await this.#curves(job, signal));
      if (job.state === "succeeded") {
        parts.push(
          ...await this.#scores(job, signal),
          ...await this.#model(job, signal),
        );
      }
    }
    if (job.kind === "batch" && job.state === "succeeded") {
      parts.push(await this.#labels(job, signal));
    }
    parts.push(table("Asked for", flat(job.request)));
    const focused = document.activeElement?.id;
    byId("job").replaceChildren(...parts);
    if (focused) document.getElementById(focused)?.focus();
    this.#detailed = job.finishedAt === null ? "" : text;
  }

  #actions(job: Job): HTMLElement {
    const { links, id, kind, state, model } = job;
    const act = (link: string) => async () => {
      try {
        await this.#api.post(link.slice(1), {});
        this.show();
      } catch (error) {
        say(this.#error, wordsOf(error));
      }
    };
    const actions = element("p", { class: "actions" });
    const { cancel, resume } = links;
    if (cancel) actions.append(button("Cancel", act(cancel), { id: "act" }));
    if (resume) actions.append(button("Resume", act(resume), { id: "act" }));
    if (kind === "train" && state === "succeeded") {
      if (!isOfFolds(job)) {
        actions.append(button("Classify with this model", () => {
          this.#onDone();
          this.#address.go({ view: "look", model });
        }, { id: `use-${id}` }));
      }
      actions.append(button("Save the report", () => {
        this.#api.download(links.report!.slice(1), `${model}.html`)
          .catch((error) => say(this.#error, wordsOf(error)));
      }, { id: "report" }));
    }
    return actions;
  }

  async #curves(
    { links, progress }: Job,
    signal: AbortSignal,
  ): Promise<Node[]> {
    if (!progress) return []; // it has no log yet
    const response = await this.#api.send(links.log!.slice(1), { signal });
    const log = logOf(await response.text());
    const about = log.flatMap((line) =>
      line.type === "run" && line.boxes ? [boxesText(line.boxes)] : []
    ).slice(0, 1);
    return [...about, ...charts(log.filter(isEpoch))];
  }

  /** The folds of a cross-validation, each with its curve. */
  async #folds(
    { id, links, progress }: Job,
    signal: AbortSignal,
  ): Promise<Node[]> {
    if (!progress) return []; // it has no log yet
    const response = await this.#api.send(links.log!.slice(1), { signal });
    const result = links.result === undefined
      ? undefined
      : await this.#api.get<CrossValidated>(links.result.slice(1), signal);
    return foldParts(logOf(await response.text()), {
      result,
      chosen: this.#fold?.job === id ? this.#fold : undefined,
      onChoose: (name) => {
        this.#fold = { job: id, ...name };
        this.show();
      },
    });
  }

  async #scores({ links }: Job, signal: AbortSignal): Promise<Node[]> {
    const { scores } = await this.#api.get<{ scores?: Scores }>(
      links.result!.slice(1),
      signal,
    );
    if (!scores) return []; // it had no validation images
    const { images, classes, metrics } = scores;
    return [
      confusionTable(scores),
      calibrationChart(scores),
      table(
        `Scores of ${images} validation images, by which the epoch was chosen${
          classes.length === 2 ? `; AUC and F1 of ${classes[1]}` : ""
        }`,
        Object.fromEntries(
          Object.entries(metrics).map(([name, { value, interval }]) => [
            wordsOfName(name),
            value === null
              ? null
              : share(value) + (interval
                ? ` (${share(interval.low)} to ${share(interval.high)})`
                : ""),
          ]),
        ),
      ),
    ];
  }

  async #model({ model: name }: Job, signal: AbortSignal): Promise<Node[]> {
    const model = await this.#api.get<Model>(
      `v1/models/${encodeURIComponent(name)}`,
      signal,
    ).catch(() => undefined); // removed since
    if (!model) return [];
    const { metrics, calibration, epoch, parameterCount } = model;
    return [
      table("The model", {
        "best epoch": epoch,
        parameters: parameterCount,
        ...metrics,
      }),
      ...(calibration
        ? [table("Calibration, on validation images", { ...calibration })]
        : []),
    ];
  }

  async #labels({ links }: Job, signal: AbortSignal): Promise<Node> {
    const response = await this.#api.send(links.result!.slice(1), { signal });
    const counts: Record<string, number> = {};
    for (const line of (await response.text()).split("\n").filter(Boolean)) {
      const { label = "not read" } = JSON.parse(line) as { label?: string };
      counts[label] = (counts[label] ?? 0) + 1;
    }
    return table("Images by label", counts);
  }
}

function boxesText(
  { objects, images, ignored }: {
    objects: number;
    images: number;
    ignored: number;
  },
): HTMLElement {
  return element(
    "p",
    { class: "muted" },
    `Trained on labels and ${objects} objects in ${images} images${
      ignored > 0
        ? `; those in ${ignored} images for validation or test are not used`
        : ""
    }`,
  );
}

const METRICS: Record<string, string> = {
  auc: "AUC",
  f1: "F1",
  brier: "Brier score",
  expectedCalibrationError: "calibration error",
};

/** `balancedAccuracy` as "balanced accuracy". */
function wordsOfName(name: string): string {
  return METRICS[name] ??
    name.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}

/** True for a cross-validation. */
function isOfFolds({ request }: Job): boolean {
  return request.folds !== undefined;
}

function titleOf(job: Job): string {
  const words = isOfFolds(job) ? "Cross-validation" : WORDS[job.kind];
  return `${words}: ${job.model}`;
}

/** Share that is done; undefined if the job tells none. */
function doneOf({ progress }: Job): number | undefined {
  if (!progress) return undefined;
  const { epoch, epochs, step = 0, steps = 1, done, total } = progress;
  if (epoch !== undefined && epochs) {
    const trained = (epoch - 1 + step / steps) / epochs;
    return total ? (done! + trained) / total : trained; // of all folds
  }
  return done !== undefined && total ? done / total : undefined;
}

function percentOf(job: Job): string | undefined {
  const done = doneOf(job);
  return job.state === "running" && done !== undefined
    ? `${Math.round(100 * done)} %`
    : undefined;
}

function progressOf(job: Job): Node[] {
  const done = doneOf(job);
  if (job.state !== "running" || done === undefined) return [];
  const { epoch, epochs, secondsLeft, done: images, total } = job.progress!;
  const words = epoch === undefined
    ? `${images} of ${total} images`
    : `${foldText(job.progress!)}Epoch ${epoch} of ${epochs}${
      secondsLeft === undefined ? "" : `, ${timeText(secondsLeft)} left`
    }${job.progress!.fold === undefined ? "" : " in this training"}`;
  return [
    element("progress", { value: done, max: 1, "aria-label": words }),
    element("p", { class: "muted" }, words),
  ];
}

/** Which fold is trained; under two protocols each is twice. */
function foldText({ fold, folds, done, total }: Record<string, number>) {
  if (fold === undefined) return "";
  const training = total === folds ? "" : `, training ${done! + 1} of ${total}`;
  return `Fold ${fold} of ${folds}${training}. `;
}

function timeText(seconds: number): string {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  return seconds < 5400
    ? `${Math.round(seconds / 60)} min`
    : `${(seconds / 3600).toFixed(1)} h`;
}

/** The entries of a document, those inside it by their path. */
function flat(document: object, prefix = ""): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(document).flatMap(([key, value]) =>
      typeof value === "object" && value !== null && !Array.isArray(value)
        ? Object.entries(flat(value, `${prefix}${key}.`))
        : [[prefix + key, value]]
    ),
  );
}

function table(
  title: string,
  entries: Record<string, unknown>,
): HTMLTableElement {
  const rows = Object.entries(entries)
    .filter(([, value]) => value !== null && value !== undefined)
    .map(([name, value]) =>
      element(
        "tr",
        {},
        element("th", { scope: "row" }, name),
        element(
          "td",
          {},
          typeof value === "number" && !Number.isInteger(value)
            ? share(value)
            : String(value),
        ),
      )
    );
  return element(
    "table",
    { class: "facts" },
    element("caption", {}, title),
    element("tbody", {}, ...rows),
  );
}
