import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";
import { Batcher } from "../../../lib/serve/engine/batcher.ts";
import { Clock } from "../../clock.ts";
import { eventually, within } from "../../waiting.ts";

interface Task {
  key: string;
  value: number;
  urgent?: boolean;
}

const never = new AbortController().signal;

// Value of a task that is never prepared, because its server does not answer.
const SILENT = 404;

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, fail) =>
    signal.addEventListener("abort", () => fail(signal.reason))
  );
}

/** A batcher that doubles values, with a record of its calls. */
function doubling(
  { prepares, computes }: {
    prepares?: Promise<void>;
    computes?: Promise<void>;
  } = {},
) {
  const batches: number[][] = [];
  let open = 0, begun = 0;
  const batcher = new Batcher<Task, Task, number>({
    keyOf: ({ key }) => key,
    urgent: ({ urgent = true }) => urgent,
    size: () => 3,
    ahead: () => 3,
    async prepare(task, signal) {
      begun++;
      await (prepares ?? pause(0));
      if (task.value === SILENT) await aborted(signal);
      if (task.value < 0) throw new RangeError("cannot be prepared");
      open++;
      return task;
    },
    release: () => {
      open--;
    },
    async run(tasks) {
      batches.push(tasks.map(({ value }) => value));
      await (computes ?? pause(0));
      if (tasks.some(({ value }) => value === 13)) throw new TypeError("13");
      return tasks.map(({ value }) => 2 * value);
    },
  });
  return { batcher, batches, open: () => open, begun: () => begun };
}

Deno.test("tasks of one key share batches; each gets its own answer", async () => {
  const { batcher, batches, open } = doubling();
  const tasks = [1, 2, 3, 4, 5, 6, 7].map((value) => ({
    key: value % 2 ? "odd" : "even",
    value,
  }));
  const answers = await Promise.all(
    tasks.map((task) => batcher.submit(task, never)),
  );
  assert.deepEqual(answers, [2, 4, 6, 8, 10, 12, 14]);
  for (const batch of batches) {
    assert.ok(batch.length <= 3);
    assert.equal(new Set(batch.map((value) => value % 2)).size, 1);
  }
  assert.ok(batches.length < tasks.length, "some went together");
  assert.equal(open(), 0);
});

Deno.test("urgent tasks go before others that wait", async () => {
  const { batcher, batches } = doubling();
  const urgent = (value: number) => ({ key: "a", value, urgent: true });
  const patient = (value: number) => ({ key: "b", value, urgent: false });
  await Promise.all([
    ...[1, 2, 3, 4, 5, 6, 7].map((v) => batcher.submit(patient(v), never)),
    ...[8, 9].map((v) => batcher.submit(urgent(v), never)),
  ]);
  const place = (value: number) =>
    batches.findIndex((batch) => batch.includes(value));
  assert.ok(place(8) < place(7));
});

Deno.test("a task that fails does not fail its company", async () => {
  const { batcher, open } = doubling();
  const outcomes = await Promise.allSettled(
    [1, 13, 2, -1, 3].map((value) =>
      batcher.submit({ key: "a", value }, never)
    ),
  );
  assert.deepEqual(
    outcomes.map((o) => o.status === "fulfilled" ? o.value : o.reason.name),
    [2, "TypeError", 4, "RangeError", 6],
  );
  assert.equal(open(), 0);
});

Deno.test("who gives up is not run, and nothing stays open", async () => {
  const gate = Promise.withResolvers<void>();
  const { batcher, batches, open, begun } = doubling({
    prepares: gate.promise,
  });
  const controllers = [1, 2, 3, 4].map(() => new AbortController());
  const outcomes = Promise.allSettled(
    controllers.map(({ signal }, i) =>
      batcher.submit({ key: "a", value: i }, signal)
    ),
  );
  controllers[0]!.abort();
  await eventually("they are being prepared", () => begun() > 1);
  controllers[1]!.abort();
  gate.resolve();
  const statuses = (await outcomes).map(({ status }) => status);
  assert.deepEqual(statuses, [
    "rejected",
    "rejected",
    "fulfilled",
    "fulfilled",
  ]);
  assert.ok(!batches.flat().includes(0) && !batches.flat().includes(1));
  assert.equal(open(), 0);
});

/** A batcher whose batches end when they are told to, and their signals. */
function waitingForEnd() {
  const signals: AbortSignal[] = [];
  const started = Promise.withResolvers<void>();
  const end = Promise.withResolvers<void>();
  const batcher = new Batcher<Task, Task, number>({
    keyOf: ({ key }) => key,
    urgent: () => true,
    size: () => 3,
    ahead: () => 3,
    prepare: (task) => Promise.resolve(task),
    release() {},
    async run(tasks, signal) {
      signals.push(signal);
      started.resolve();
      await end.promise;
      signal.throwIfAborted();
      return tasks.map(({ value }) => 2 * value);
    },
  });
  return { batcher, signals, started: started.promise, end: end.resolve };
}

Deno.test("a batch continues for those who stay, and is aborted when all have left", async () => {
  for (const leaving of [[1], [0, 1, 2]]) {
    const { batcher, signals, started, end } = waitingForEnd();
    const controllers = [0, 1, 2].map(() => new AbortController());
    const outcomes = Promise.allSettled(
      controllers.map(({ signal }, value) =>
        batcher.submit({ key: "a", value }, signal)
      ),
    );
    await started;
    for (const i of leaving) controllers[i]!.abort(new Error(`${i} left`));
    const isOver = leaving.length === 3;
    assert.equal(signals[0]!.aborted, isOver);
    if (isOver) assert.equal(signals[0]!.reason.message, "2 left");
    end();
    for (const [i, outcome] of (await outcomes).entries()) {
      if (leaving.includes(i)) assert.equal(outcome.status, "rejected");
      else assert.deepEqual(outcome, { status: "fulfilled", value: 2 * i });
    }
  }
});

Deno.test("who gives up behind others is told at once", async () => {
  const { batcher, started, end } = waitingForEnd();
  const first = batcher.submit({ key: "a", value: 1 }, never);
  await started;
  const leaving = new AbortController();
  const behind = [1, 2, 3, 4, 5].map((value) =>
    batcher.submit({ key: "b", value }, leaving.signal)
  );
  await pause(0); // some are ready, some wait
  leaving.abort();
  const told = await within("all are told", Promise.allSettled(behind));
  assert.ok(told.every(({ status }) => status === "rejected"));
  end();
  assert.equal(await first, 2);
});

Deno.test("others than urgent tasks are run, however many are urgent", async () => {
  const { batcher } = doubling();
  let isDone = false;
  const urgent = async (value: number) => {
    while (!isDone) await batcher.submit({ key: "a", value }, never);
  };
  const clients = [1, 2, 3, 4, 5, 6, 7, 8].map(urgent);
  const others = [1, 2, 3, 4, 5, 6].map((value) =>
    batcher.submit({ key: "b", value, urgent: false }, never)
  );
  try {
    await within("the others are run", Promise.all(others));
  } finally {
    isDone = true;
    await Promise.all(clients);
  }
});

Deno.test("more than a batch: the next are prepared before the first is done", async () => {
  let prepared = 0;
  const all = Promise.withResolvers<void>();
  const batcher = new Batcher<Task, Task, number>({
    keyOf: ({ key }) => key,
    urgent: () => true,
    size: () => 3,
    ahead: () => 3,
    prepare(task) {
      if (++prepared === 6) all.resolve();
      return Promise.resolve(task);
    },
    release() {},
    async run(tasks) {
      await all.promise;
      return tasks.map(({ value }) => value);
    },
  });
  const values = [1, 2, 3, 4, 5, 6];
  const answers = values.map((value) =>
    batcher.submit({ key: "a", value }, never)
  );
  await within("all are prepared", all.promise);
  assert.deepEqual(await within("answers", Promise.all(answers)), values);
});

Deno.test("more are prepared ahead than a batch has", async () => {
  let prepared = 0;
  const three = Promise.withResolvers<void>();
  const batcher = new Batcher<Task, Task, number>({
    keyOf: ({ key }) => key,
    urgent: () => true,
    size: () => 1,
    ahead: () => 3,
    prepare(task) {
      if (++prepared === 4) three.resolve();
      return Promise.resolve(task);
    },
    release() {},
    async run([task]) {
      await three.promise; // beside the one that computes
      return [task!.value];
    },
  });
  const values = [1, 2, 3, 4, 5, 6];
  const answers = values.map((value) =>
    batcher.submit({ key: "a", value }, never)
  );
  assert.deepEqual(await within("answers", Promise.all(answers)), values);
});

for (const urgent of [false, true]) {
  const kind = urgent ? "urgent" : "patient";
  Deno.test(`${kind}: a task that is never prepared holds up no other`, async () => {
    const { batcher, open, begun } = doubling();
    const controller = new AbortController();
    const silent = Array.from(
      { length: 4 },
      () =>
        batcher.submit({ key: "a", value: SILENT, urgent }, controller.signal),
    );
    const outcomes = Promise.allSettled(silent);
    await eventually("they are being prepared", () => begun() >= 3);
    const answers = Promise.all(
      [1, 2, 3, 4, 5, 6].map((value) =>
        batcher.submit({ key: "a", value, urgent: value % 2 === 1 }, never)
      ),
    );
    assert.deepEqual(await within("answers", answers), [2, 4, 6, 8, 10, 12]);
    controller.abort();
    for (const { status } of await outcomes) assert.equal(status, "rejected");
    assert.equal(open(), 0);
  });
}

Deno.test("few are prepared at a time, however many are late", async () => {
  using clock = new Clock();
  let preparing = 0;
  const batcher = new Batcher<Task, Task, number>({
    keyOf: ({ key }) => key,
    urgent: () => false,
    size: () => 3,
    ahead: () => 3,
    prepare: async (_, signal) => {
      preparing++;
      return await aborted(signal);
    },
    release() {},
    run: () => Promise.resolve([]),
  });
  const controller = new AbortController();
  const outcomes = Promise.allSettled(
    Array.from(
      { length: 20 },
      (_, value) => batcher.submit({ key: "a", value }, controller.signal),
    ),
  );
  assert.equal(preparing, 3);
  await clock.pass(1000);
  assert.equal(preparing, 3 + 4);
  controller.abort();
  await outcomes;
  assert.equal(preparing, 3 + 4, "who gave up is not prepared");
});

Deno.test("the next are prepared while a batch computes, urgent or not", async () => {
  const gate = Promise.withResolvers<void>();
  const { batcher, batches, open } = doubling({ computes: gate.promise });
  const first = batcher.submit({ key: "a", value: 1, urgent: false }, never);
  await eventually("it computes", () => batches.length === 1);
  const next = [2, 3, 4, 5].map((value) =>
    batcher.submit({ key: "a", value, urgent: value > 3 }, never)
  );
  await eventually("all are opened meanwhile", () => open() === 1 + 4);
  gate.resolve();
  await first;
  await Promise.all(next);
  assert.deepEqual(batches, [[1], [4, 5], [2, 3]]);
});
