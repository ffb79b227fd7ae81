/**
 * Groups tasks that can share a batch: those that wait while the engine computes
 * run together next. Tasks are prepared (their images opened) while a batch
 * computes; one that is slow to prepare, because its server does not answer,
 * delays no other.
 *
 * @module
 */
import { setImmediate } from "node:timers/promises";

// Longest that an idle engine waits for a task that is being prepared, ms. An
// image of 500 x 500 px takes about 5 ms.
const PATIENCE_MS = 100;

// Late tasks of a lane that do not take the places of waiting ones.
const MAX_LATE = 4;

// Time that tasks which are not urgent may claim for each ms that urgent ones
// ran: a quarter of the engine's time.
const CLAIM = 1 / 3;

/** Functions that prepare and run the tasks of a batcher. */
export interface BatchWork<Task, Prepared, Answer> {
  /** Key of a task; tasks of one key may share a batch. */
  keyOf(task: Task): string;
  urgent(task: Task): boolean;
  /** Most tasks of a batch. */
  size(): number;
  /** Tasks of each urgency that are prepared while a batch computes. */
  ahead(): number;
  /** Prepares a task; a failure concerns this task alone. */
  prepare(task: Task, signal: AbortSignal): Promise<Prepared>;
  /** Frees a prepared task, however it ended. */
  release(prepared: Prepared): void;
  /** Runs a batch: one answer a task, or one failure for all. */
  run(prepared: Prepared[], signal: AbortSignal): Promise<Answer[]>;
}

/** A submitted task whose caller waits. */
interface Waiting<Task, Answer> {
  task: Task;
  signal: AbortSignal;
  answer: PromiseWithResolvers<Answer>;
}

/** A prepared task. */
interface Ready<Task, Prepared, Answer> {
  waiting: Waiting<Task, Answer>;
  prepared: Prepared;
}

/** Tasks of equal urgency on their way to the engine. */
class Lane<Task, Prepared, Answer> {
  readonly waiting: Waiting<Task, Answer>[] = [];
  /**
   * Tasks in preparation, with the time that the idle engine waited for each,
   * ms.
   */
  readonly preparing = new Map<Waiting<Task, Answer>, number>();
  readonly ready: Ready<Task, Prepared, Answer>[] = [];

  /** Number of tasks in preparation that are worth waiting for. */
  get soon(): number {
    return [...this.preparing.values()].filter((ms) => ms < PATIENCE_MS).length;
  }

  /**
   * Number of tasks, prepared or in preparation, that hold a place of the lane.
   */
  get held(): number {
    const late = this.preparing.size - this.soon;
    return this.ready.length + this.soon + Math.max(0, late - MAX_LATE);
  }

  /** Removes a task that waits or is ready. */
  remove(
    task: Waiting<Task, Answer>,
    release: (prepared: Prepared) => void,
  ): void {
    const at = this.waiting.indexOf(task);
    if (at >= 0) this.waiting.splice(at, 1);
    const place = this.ready.findIndex(({ waiting }) => waiting === task);
    if (place < 0) return;
    const [{ prepared }] = this.ready.splice(place, 1) as [
      Ready<Task, Prepared, Answer>,
    ];
    release(prepared);
  }

  /** Adds the time that the engine idled to each task in preparation. */
  addWait(ms: number): void {
    for (const [waiting, before] of this.preparing) {
      this.preparing.set(waiting, before + ms);
    }
  }
}

/**
 * Runs tasks in batches, one batch at a time, urgent tasks first; where both
 * wait, the others keep a quarter of the time. At most `ahead` tasks of each
 * urgency are prepared, plus a few late ones.
 */
export class Batcher<Task, Prepared, Answer> {
  readonly #work: BatchWork<Task, Prepared, Answer>;
  readonly #urgent = new Lane<Task, Prepared, Answer>();
  readonly #others = new Lane<Task, Prepared, Answer>();
  #running = false;
  /** Tasks of the batch that computes. */
  #computing: readonly Waiting<Task, Answer>[] = [];
  /** Time that the others may claim before urgent tasks, ms. */
  #claimMs = 0;
  /** Resolves when a task is submitted, is ready or has failed. */
  #news = Promise.withResolvers<void>();

  constructor(work: BatchWork<Task, Prepared, Answer>) {
    this.#work = work;
  }

  /**
   * Submits `task` and resolves to its answer. When `signal` aborts, it rejects
   * as soon as nothing is done for the task any more.
   */
  async submit(task: Task, signal: AbortSignal): Promise<Answer> {
    const answer = Promise.withResolvers<Answer>();
    const lane = this.#work.urgent(task) ? this.#urgent : this.#others;
    const waiting = { task, signal, answer };
    const giveUp = () => this.#giveUp(lane, waiting);
    signal.addEventListener("abort", giveUp);
    lane.waiting.push(waiting);
    this.#fill(lane);
    this.#wake();
    try {
      return await answer.promise;
    } finally {
      signal.removeEventListener("abort", giveUp);
    }
  }

  /** Drops a task, unless it is being prepared or computes for nobody else. */
  #giveUp(
    lane: Lane<Task, Prepared, Answer>,
    waiting: Waiting<Task, Answer>,
  ): void {
    if (lane.preparing.has(waiting)) return;
    if (this.#computing.includes(waiting)) {
      if (this.#computing.every(({ signal }) => signal.aborted)) return;
    } else lane.remove(waiting, this.#work.release);
    waiting.answer.reject(waiting.signal.reason);
  }

  #wake(): void {
    this.#news.resolve();
    if (!this.#running) this.#runAll();
  }

  /** Runs batches until no task is ready or about to be. */
  async #runAll(): Promise<void> {
    this.#running = true;
    for (;;) {
      await setImmediate(); // wasm never yields: let new tasks and aborts in
      const lanes = [this.#urgent, this.#others];
      for (const lane of lanes) this.#fill(lane);
      const lane = this.#claims()
        ? this.#others
        : lanes.find(({ ready, soon }) => ready.length + soon > 0);
      if (lane === undefined) break;
      const batch = this.#take(lane);
      if (batch.length === 0) await this.#waitFor(lane);
      else {
        const started = performance.now();
        await this.#run(batch);
        this.#count(lane, performance.now() - started);
      }
    }
    this.#running = false;
  }

  /** True if it is the turn of a task that is not urgent. */
  #claims(): boolean {
    const { ready, soon } = this.#others;
    const isWhole = soon === 0 || ready.length >= this.#work.size();
    return this.#claimMs > 0 && ready.length > 0 && isWhole;
  }

  /** Counts the time of a batch. */
  #count(lane: Lane<Task, Prepared, Answer>, ms: number): void {
    if (lane === this.#others) this.#claimMs = Math.max(0, this.#claimMs - ms);
    else if (this.#others.ready.length > 0) this.#claimMs += CLAIM * ms;
    else this.#claimMs = 0;
  }

  /** Starts to prepare as many tasks of a lane as it has places for. */
  #fill(lane: Lane<Task, Prepared, Answer>): void {
    while (lane.held < this.#work.ahead()) {
      const waiting = lane.waiting.shift();
      if (waiting === undefined) return;
      this.#prepare(lane, waiting);
    }
  }

  async #prepare(
    lane: Lane<Task, Prepared, Answer>,
    waiting: Waiting<Task, Answer>,
  ): Promise<void> {
    const { task, signal, answer } = waiting;
    lane.preparing.set(waiting, 0);
    try {
      signal.throwIfAborted();
      const prepared = await this.#work.prepare(task, signal);
      if (signal.aborted) this.#work.release(prepared);
      signal.throwIfAborted();
      lane.ready.push({ waiting, prepared });
    } catch (error) {
      answer.reject(error);
    } finally {
      lane.preparing.delete(waiting);
      this.#wake();
    }
  }

  /** Takes the next batch; none if more tasks will soon be ready to join it. */
  #take(
    lane: Lane<Task, Prepared, Answer>,
  ): Ready<Task, Prepared, Answer>[] {
    const { ready, soon } = lane;
    const [first] = ready;
    if (first === undefined) return [];
    const size = this.#work.size();
    const key = this.#work.keyOf(first.waiting.task);
    const batch = ready
      .filter(({ waiting }) => this.#work.keyOf(waiting.task) === key)
      .slice(0, size);
    if (batch.length < size && soon > 0) return [];
    for (const one of batch) ready.splice(ready.indexOf(one), 1);
    this.#fill(lane); // while the batch computes
    return batch;
  }

  /** Waits for tasks in preparation, until an event or the time limit. */
  async #waitFor(lane: Lane<Task, Prepared, Answer>): Promise<void> {
    const started = performance.now();
    this.#news = Promise.withResolvers();
    const timer = setTimeout(this.#news.resolve, PATIENCE_MS);
    await this.#news.promise;
    clearTimeout(timer);
    lane.addWait(performance.now() - started);
  }

  async #run(batch: Ready<Task, Prepared, Answer>[]): Promise<void> {
    this.#computing = batch.map(({ waiting }) => waiting);
    try {
      const answers = await this.#work.run(
        batch.map(({ prepared }) => prepared),
        allAborted(batch.map(({ waiting }) => waiting.signal)),
      );
      batch.forEach(({ waiting }, i) => waiting.answer.resolve(answers[i]!));
    } catch (error) {
      if (batch.length === 1) batch[0]!.waiting.answer.reject(error);
      else await this.#runApart(batch); // one bad image must not fail all
    } finally {
      this.#computing = [];
      for (const { prepared } of batch) this.#work.release(prepared);
    }
  }

  async #runApart(batch: Ready<Task, Prepared, Answer>[]): Promise<void> {
    for (const { waiting, prepared } of batch) {
      const { answer, signal } = waiting;
      this.#computing = [waiting];
      if (signal.aborted) answer.reject(signal.reason);
      else {
        await this.#work.run([prepared], signal)
          .then(([only]) => answer.resolve(only!), answer.reject);
      }
    }
  }
}

/** A signal that aborts once no caller waits any more. */
function allAborted(signals: readonly AbortSignal[]): AbortSignal {
  if (signals.length === 1) return signals[0]!;
  const controller = new AbortController();
  let left = signals.length;
  for (const signal of signals) {
    const count = () => {
      if (--left === 0) controller.abort(signal.reason);
    };
    if (signal.aborted) count();
    else signal.addEventListener("abort", count, { once: true });
  }
  return controller.signal;
}
