/**
 * Puts tasks that can share a pass together: what waits while the engine
 * computes goes through in one batch. The next batch is prepared (its images
 * opened) while this one computes.
 *
 * @module
 */
import { setTimeout } from "node:timers/promises";

/** What a batcher runs. */
export interface BatchWork<Task, Prepared, Answer> {
  /** Tasks of one key may share a batch. */
  keyOf(task: Task): string;
  urgent(task: Task): boolean;
  /** Tasks a batch at most. */
  size(): number;
  /** Fails for one task alone. */
  prepare(task: Task, signal: AbortSignal): Promise<Prepared>;
  /** Frees what was prepared for a task, however it ended. */
  release(prepared: Prepared): void;
  /** One answer a task, or a failure of all. */
  run(prepared: Prepared[], signal: AbortSignal): Promise<Answer[]>;
}

/** A task that someone waits for. */
interface Waiting<Task, Answer> {
  task: Task;
  signal: AbortSignal;
  answer: PromiseWithResolvers<Answer>;
}

/** A task that is ready to run. */
interface Ready<Task, Prepared, Answer> {
  waiting: Waiting<Task, Answer>;
  prepared: Prepared;
}

/** Runs tasks in batches, one batch at a time; urgent ones first. */
export class Batcher<Task, Prepared, Answer> {
  readonly #work: BatchWork<Task, Prepared, Answer>;
  readonly #urgent: Waiting<Task, Answer>[] = [];
  readonly #others: Waiting<Task, Answer>[] = [];
  #running = false;

  constructor(work: BatchWork<Task, Prepared, Answer>) {
    this.#work = work;
  }

  /** The answer to `task`, once its batch has run. */
  async submit(task: Task, signal: AbortSignal): Promise<Answer> {
    const answer = Promise.withResolvers<Answer>();
    const queue = this.#work.urgent(task) ? this.#urgent : this.#others;
    queue.push({ task, signal, answer });
    if (!this.#running) this.#runAll();
    return await answer.promise;
  }

  async #runAll(): Promise<void> {
    this.#running = true;
    let next: Promise<Ready<Task, Prepared, Answer>[]> | undefined;
    for (;;) {
      await setTimeout(0); // wasm never waits: let new tasks and aborts in
      const batch = await (next ?? this.#prepareNext());
      if (batch === undefined) break;
      next = this.#prepareNext();
      await this.#run(batch);
    }
    this.#running = false;
  }

  /** Takes the tasks that go next and prepares them; undefined if none waits. */
  #prepareNext(): Promise<Ready<Task, Prepared, Answer>[]> | undefined {
    const taken = this.#take();
    if (taken.length === 0) return undefined;
    return Promise.all(taken.map((waiting) => this.#prepare(waiting)))
      .then((ready) => ready.filter((one) => one !== undefined));
  }

  #take(): Waiting<Task, Answer>[] {
    const queue = this.#urgent.length > 0 ? this.#urgent : this.#others;
    const [first] = queue;
    if (first === undefined) return [];
    const key = this.#work.keyOf(first.task);
    const taken = queue
      .filter(({ task }) => this.#work.keyOf(task) === key)
      .slice(0, this.#work.size());
    for (const waiting of taken) queue.splice(queue.indexOf(waiting), 1);
    return taken;
  }

  async #prepare(
    waiting: Waiting<Task, Answer>,
  ): Promise<Ready<Task, Prepared, Answer> | undefined> {
    const { task, signal, answer } = waiting;
    try {
      signal.throwIfAborted();
      return { waiting, prepared: await this.#work.prepare(task, signal) };
    } catch (error) {
      answer.reject(error);
      return undefined;
    }
  }

  async #run(batch: Ready<Task, Prepared, Answer>[]): Promise<void> {
    const live = batch.filter(({ waiting, prepared }) => {
      if (!waiting.signal.aborted) return true;
      this.#work.release(prepared);
      waiting.answer.reject(waiting.signal.reason);
      return false;
    });
    if (live.length === 0) return;
    try {
      const answers = await this.#work.run(
        live.map(({ prepared }) => prepared),
        allAborted(live.map(({ waiting }) => waiting.signal)),
      );
      live.forEach(({ waiting }, i) => waiting.answer.resolve(answers[i]!));
    } catch (error) {
      if (live.length === 1) live[0]!.waiting.answer.reject(error);
      else await this.#runApart(live); // one bad image must not fail the others
    } finally {
      for (const { prepared } of live) this.#work.release(prepared);
    }
  }

  async #runApart(batch: Ready<Task, Prepared, Answer>[]): Promise<void> {
    for (const { waiting, prepared } of batch) {
      const { answer, signal } = waiting;
      await this.#work.run([prepared], signal)
        .then(([only]) => answer.resolve(only!), answer.reject);
    }
  }
}

/** A signal that aborts once nobody waits any more. */
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
