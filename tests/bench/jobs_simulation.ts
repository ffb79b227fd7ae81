/**
 * A thousand workers and ten million images behind one NATS: where the first wall
 * is, and what moves it. The costs of a call are those that
 * {@linkcode ./jobs_cost.ts} measured; the network adds none, and no worker dies.
 *
 *     deno run --allow-read tests/bench/jobs_simulation.ts COSTS.json > simulation.json
 *
 * A worker claims, works, beats and ends a job, and claims the next. Every call
 * waits for a free core of the leading node, in the order of arrival.
 *
 * @module
 */
import type { JobCosts } from "./jobs_cost.ts";

/** An installation, and what it is asked to do. */
interface Setting {
  workers: number;
  images: number;
  /** Images of a job: a batch is cut into pieces of so many. */
  pieceImages: number;
  /** Time that an image takes a worker, ms. */
  imageMs: number;
  /** Cores of the node that leads. */
  cores: number;
  /** Hosts that follow every change, to list and to count. */
  followers: number;
}

/** What it came to. */
interface Outcome extends Setting {
  jobs: number;
  hours: number;
  imagesPerSecond: number;
  /** Of what the workers could do if calls cost nothing. */
  efficiency: number;
  /** Of the cores of the leading node. */
  busy: number;
  /** Longest wait for a core, ms. */
  waitMs: number;
  /** Memory of a node while all jobs wait, GB. */
  waitingGb: number;
}

const BEAT_MS = 5000 / 3;

/** Simulates a setting from the first claim to the last job's end. */
export function simulate(costs: JobCosts, setting: Setting): Outcome {
  const { workers, images, pieceImages, imageMs, cores, followers } = setting;
  const jobs = Math.ceil(images / pieceImages);
  const jobMs = pieceImages * imageMs;
  // A claim and an end are a change each, told to all that follow.
  const told = followers * costs.tellMs;
  const beatsMs = Math.floor(jobMs / BEAT_MS) * costs.beat.serverMs;
  const claimMs = costs.claim.serverMs + told;
  const endMs = costs.finish.serverMs + beatsMs + told;
  const free = new Float64Array(cores); // when each core is free
  let busyMs = 0, waitMs = 0, done = 0, claimed = 0, now = 0;
  const serve = (at: number, ms: number) => {
    let core = 0;
    for (let i = 1; i < cores; i++) if (free[i]! < free[core]!) core = i;
    const begin = Math.max(at, free[core]!);
    waitMs = Math.max(waitMs, begin - at);
    busyMs += ms;
    return free[core] = begin + ms;
  };
  const queue = new Wakes(workers);
  // Not all at once: the first ones come over the length of a job.
  for (let i = 0; i < workers; i++) queue.push(i * jobMs / workers, i);
  const isWorking = new Uint8Array(workers);
  while (done < jobs) {
    const worker = queue.first;
    now = queue.firstAt;
    if (isWorking[worker]) {
      isWorking[worker] = 0;
      done++;
      queue.replaceFirst(now = serve(now, endMs));
    } else if (claimed === jobs) {
      queue.replaceFirst(Infinity);
    } else {
      isWorking[worker] = 1;
      claimed++;
      queue.replaceFirst(serve(now, claimMs) + jobMs);
    }
  }
  const ideal = workers * 1000 / imageMs;
  const imagesPerSecond = 1000 * images / now;
  return {
    ...setting,
    jobs,
    hours: round(now / 3_600_000),
    imagesPerSecond: round(imagesPerSecond),
    efficiency: round(imagesPerSecond / ideal),
    busy: round(busyMs / now / cores),
    waitMs: round(waitMs),
    waitingGb: round(jobs * costs.waitingBytes / 1e9),
  };
}

/** A heap of workers by the time at which each wakes. */
class Wakes {
  readonly #at: Float64Array;
  readonly #worker: Uint32Array;
  #size = 0;

  constructor(capacity: number) {
    this.#at = new Float64Array(capacity);
    this.#worker = new Uint32Array(capacity);
  }

  get first(): number {
    return this.#worker[0]!;
  }

  get firstAt(): number {
    return this.#at[0]!;
  }

  push(at: number, worker: number): void {
    let i = this.#size++;
    for (; i > 0; i = (i - 1) >> 1) {
      const above = (i - 1) >> 1;
      if (this.#at[above]! <= at) break;
      this.#move(above, i);
    }
    this.#at[i] = at;
    this.#worker[i] = worker;
  }

  /** Lets the first worker wake at another time. */
  replaceFirst(at: number): void {
    const worker = this.first;
    let i = 0;
    for (;;) {
      let below = 2 * i + 1;
      if (below >= this.#size) break;
      if (below + 1 < this.#size && this.#at[below + 1]! < this.#at[below]!) {
        below++;
      }
      if (this.#at[below]! >= at) break;
      this.#move(below, i);
      i = below;
    }
    this.#at[i] = at;
    this.#worker[i] = worker;
  }

  #move(from: number, to: number): void {
    this.#at[to] = this.#at[from]!;
    this.#worker[to] = this.#worker[from]!;
  }
}

function round(value: number): number {
  return Number(value.toPrecision(3));
}

const USUAL: Setting = {
  workers: 1000,
  images: 10_000_000,
  pieceImages: 1,
  imageMs: 250,
  cores: 4,
  followers: 2,
};

/** From the usual setting, one thing after the other is moved. */
const SETTINGS: readonly Setting[] = [
  USUAL,
  { ...USUAL, imageMs: 60 },
  { ...USUAL, imageMs: 5000 },
  { ...USUAL, cores: 16 },
  { ...USUAL, followers: 0 },
  { ...USUAL, followers: 1000 },
  { ...USUAL, pieceImages: 10 },
  { ...USUAL, pieceImages: 100 },
  { ...USUAL, pieceImages: 100, followers: 1000 },
  { ...USUAL, pieceImages: 100, imageMs: 60 },
  { ...USUAL, pieceImages: 1000 },
];

if (import.meta.main) {
  const costs: JobCosts = JSON.parse(await Deno.readTextFile(Deno.args[0]!));
  const outcomes = SETTINGS.map((setting) => simulate(costs, setting));
  console.log(JSON.stringify({ costs, outcomes }, null, 2));
}
