/**
 * Metrics for Prometheus: base units, and labels of few values (never an image
 * or a request).
 *
 * @module
 */
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import { workerName, type WorkerStatus } from "./jobs/workers.ts";

/** Sources of the gauges, read at each scrape. */
export interface MetricSources {
  pending(): number;
  gpuBytes(): Promise<number>;
  /** Number of engines by state. */
  engines(): Record<string, number>;
  jobs(): Promise<Record<string, number>>;
  /** Number of jobs that wait, by kind. */
  waiting(): Promise<Record<string, number>>;
  /** The processes that share jobs. */
  workers(): Promise<WorkerStatus[]>;
  diskFree(): Promise<number>;
}

// Buckets from a cache hit to a slide over the network, s.
const BUCKETS = [
  ...[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5],
  ...[1, 2.5, 5, 10, 30, 60],
];

// Callers may invent others without limit.
const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/** How the classification of an image ended. */
export type Outcome =
  | "ok"
  | "image"
  | "timeout"
  | "cancelled"
  | "unavailable"
  | "error";

/** The server's counters and gauges. */
export class ServerMetrics {
  readonly #registry = new Registry();
  readonly #requests = new Counter({
    name: "http_requests_total",
    help: "Requests answered",
    labelNames: ["route", "method", "code"],
    registers: [this.#registry],
  });
  readonly #durations = new Histogram({
    name: "http_request_duration_seconds",
    help: "Time from the first byte of a request to its response",
    labelNames: ["route"],
    buckets: BUCKETS,
    registers: [this.#registry],
  });
  readonly #stages = new Histogram({
    name: "inference_stage_duration_seconds",
    help: "Time of one image (or its batch) in a stage",
    labelNames: ["model", "stage"],
    buckets: BUCKETS,
    registers: [this.#registry],
  });
  readonly #bytesRead = new Counter({
    name: "bytes_read_total",
    help: "Bytes read from classified images",
    registers: [this.#registry],
  });
  readonly #classifications = new Counter({
    name: "classifications_total",
    help:
      "Images classified, or not: ok, image (it cannot be read), timeout, cancelled (the caller left), unavailable (no engine) or error",
    labelNames: ["model", "outcome"],
    registers: [this.#registry],
  });
  readonly #ended = new Counter({
    name: "jobs_ended_total",
    help: "Jobs that this process ended",
    labelNames: ["kind", "state"],
    registers: [this.#registry],
  });
  readonly #lost = new Counter({
    name: "gpu_device_lost_total",
    help: "Number of times that the engine was lost and restarted",
    registers: [this.#registry],
  });

  /** The workers at the time of a scrape. */
  #workers: Promise<WorkerStatus[]> | undefined;

  /** @param queueLimit most requests that may wait or run. */
  constructor(sources: MetricSources, queueLimit: number) {
    this.#gauge("inference_pending_requests", {
      help:
        "Requests whose classifications wait or run; a request of several images counts once, jobs do not count",
      collect: (gauge) => gauge.set(sources.pending()),
    });
    this.#gauge("inference_queue_limit", {
      help: "Most requests that may wait or run; more are refused",
      collect: (gauge) => gauge.set(queueLimit),
    });
    this.#gauge("inference_engines", {
      help:
        "Engines by state: idle, busy, stopping (its work was given up) or down",
      labelNames: ["state"],
      collect(gauge) {
        for (const [state, count] of Object.entries(sources.engines())) {
          gauge.set({ state }, count);
        }
      },
    });
    this.#gauge("gpu_buffer_bytes", {
      help: "Bytes of GPU buffers in use or kept for the next image",
      // An engine that has just been lost holds nothing.
      collect: async (gauge) =>
        gauge.set(await sources.gpuBytes().catch(() => 0)),
    });
    this.#gauge("process_resident_memory_bytes", {
      help: "Resident memory of the process",
      collect: (gauge) => gauge.set(Deno.memoryUsage().rss),
    });
    this.#gauge("disk_free_bytes", {
      help: "Free bytes of the disk that holds jobs and uploads",
      collect: async (gauge) => gauge.set(await sources.diskFree()),
    });
    this.#gauge("jobs", {
      help: "Jobs by state",
      labelNames: ["state"],
      async collect(gauge) {
        for (const [state, count] of Object.entries(await sources.jobs())) {
          gauge.set({ state }, count);
        }
      },
    });
    this.#gauge("jobs_waiting", {
      help: "Jobs that wait, by kind; piece: pieces of batches",
      labelNames: ["kind"],
      async collect(gauge) {
        for (const [kind, count] of Object.entries(await sources.waiting())) {
          gauge.set({ kind }, count);
        }
      },
    });
    this.#addWorkers(() => this.#workers ??= sources.workers());
  }

  /** Content type of {@linkcode text}. */
  get contentType(): string {
    return this.#registry.contentType;
  }

  /** All metrics in Prometheus' text format. */
  text(): Promise<string> {
    this.#workers = undefined; // asked for once a scrape
    return this.#registry.metrics();
  }

  /** Counts a request; `route` is the pattern, not the path. */
  request(
    { route, method, code, seconds }: {
      route: string;
      method: string;
      code: number;
      seconds: number;
    },
  ): void {
    const known = METHODS.includes(method) ? method : "other";
    this.#requests.inc({ route, method: known, code });
    this.#durations.observe({ route }, seconds);
  }

  /** Counts a classified image; times in ms, named `stageMs`. */
  classified(
    { model, timings, bytesRead }: {
      model: string;
      timings: Readonly<Record<string, number>>;
      bytesRead: number;
    },
  ): void {
    for (const [name, ms] of Object.entries(timings)) {
      const stage = name.replace(/Ms$/, "");
      this.#stages.observe({ model, stage }, ms / 1000);
    }
    this.#bytesRead.inc(bytesRead);
  }

  /** Counts an image that was to be classified. */
  classification(model: string, outcome: Outcome): void {
    this.#classifications.inc({ model, outcome });
  }

  jobEnded(kind: string, state: string): void {
    this.#ended.inc({ kind, state });
  }

  engineLost(): void {
    this.#lost.inc();
  }

  /** Metrics of each process that shares jobs, named HOST:PID. */
  #addWorkers(list: () => Promise<WorkerStatus[]>): void {
    this.#ofWorkers("worker_lanes", {
      help: "Most jobs that a worker does at a time",
      list,
      figures: ({ lanes }) => [[{}, lanes]],
    });
    this.#ofWorkers("worker_lanes_busy", {
      help: "Jobs that a worker does now",
      list,
      figures: ({ running }) => [[{}, running.length]],
    });
    this.#ofWorkers("worker_drained", {
      help: "1 if the host of a worker is drained",
      list,
      figures: ({ isDrained }) => [[{}, Number(isDrained)]],
    });
    this.#ofWorkers("worker_images_total", {
      help: "Images that a worker has classified",
      list,
      figures: ({ images }) => [[{}, images]],
    });
    this.#ofWorkers("worker_jobs_ended_total", {
      help: "Jobs and pieces of batches that a worker has ended",
      labelNames: ["state"],
      list,
      figures: ({ ended }) =>
        Object.entries(ended).map(([state, count]) => [{ state }, count]),
    });
  }

  #ofWorkers(
    name: string,
    { help, labelNames = [], list, figures }: {
      help: string;
      labelNames?: string[];
      list: () => Promise<WorkerStatus[]>;
      /** Labels and values of a worker. */
      figures: (worker: WorkerStatus) => [Record<string, string>, number][];
    },
  ): void {
    const collect = async (metric: Counter | Gauge) => {
      metric.reset(); // some have left
      for (const status of await list().catch(() => [])) { // NATS is away
        const worker = workerName(status);
        for (const [labels, value] of figures(status)) {
          metric.inc({ worker, ...labels }, value);
        }
      }
    };
    const Metric = name.endsWith("_total") ? Counter : Gauge;
    const metric: Counter | Gauge = new Metric({
      name,
      help,
      labelNames: ["worker", ...labelNames],
      registers: [this.#registry],
      collect: (): Promise<void> => collect(metric),
    });
  }

  #gauge(
    name: string,
    { help, labelNames = [], collect }: {
      help: string;
      labelNames?: string[];
      collect: (gauge: Gauge) => void | Promise<void>;
    },
  ): void {
    const gauge: Gauge = new Gauge({
      name,
      help,
      labelNames,
      registers: [this.#registry],
      collect: (): void | Promise<void> => collect(gauge),
    });
  }
}
