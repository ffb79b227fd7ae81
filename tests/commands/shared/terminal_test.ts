import assert from "node:assert/strict";
import {
  countText,
  duration,
  figure,
  INTERRUPTED,
  interruptSignal,
  ProgressLine,
} from "../../../lib/commands/shared/terminal.ts";
import { Clock } from "../../clock.ts";

Deno.test("durations are written as people read them", () => {
  const texts: [seconds: number, text: string][] = [
    [0, "0 s"],
    [0.4, "0 s"],
    [42.2, "42 s"],
    [59.4, "59 s"],
    [59.5, "1 min 00 s"], // not 60 s
    [65, "1 min 05 s"],
    [3599.4, "59 min 59 s"],
    [3599.5, "1 h 00 min"],
    [3725, "1 h 02 min"],
    [100 * 3600, "100 h 00 min"],
  ];
  for (const [seconds, text] of texts) assert.equal(duration(seconds), text);
});

Deno.test("figures have three digits, and a dash where they are undefined", () => {
  assert.equal(figure(0.12345), "0.123");
  assert.equal(figure(12), "12.000");
  assert.equal(figure(-0.5), "-0.500");
  assert.equal(figure(null), "-");
  assert.equal(figure(undefined), "-");
});

Deno.test("countText has the rate and the time left, once there is a rate", () => {
  const unit = "images";
  assert.equal(countText(0, 9, { unit, seconds: 0 }), "0/9 images");
  assert.equal(
    countText(50, 200, { unit, seconds: 4 }),
    "50/200 images  12.5 images/s  12 s left",
  );
});

/** What is printed on stderr by console.error meanwhile. */
function printed(work: () => void): string[] {
  const { error } = console;
  const lines: string[] = [];
  console.error = (line) => void lines.push(line);
  try {
    work();
    return lines;
  } finally {
    console.error = error;
  }
}

Deno.test("in a log file progress is a line a minute, and one a note", {
  ignore: Deno.stderr.isTerminal(),
}, async () => {
  using clock = new Clock();
  const line = new ProgressLine();
  assert.deepEqual(printed(() => line.show("a")), []);
  await clock.pass(59_000);
  assert.deepEqual(printed(() => line.show("b")), []);
  await clock.pass(1_000);
  assert.deepEqual(printed(() => line.show("c")), ["c"]);
  await clock.pass(50_000);
  assert.deepEqual(printed(() => line.note("epoch 1")), ["epoch 1"]);
  await clock.pass(50_000);
  // The note has just said where the work is.
  assert.deepEqual(printed(() => line.show("d")), []);
});

/** Runs `test` with the handlers of signals by name, and the codes of exits. */
async function withSignals(
  test: (
    send: (name: Deno.Signal) => void,
    exits: readonly (number | undefined)[],
  ) => Promise<void>,
): Promise<void> {
  const { addSignalListener, exit } = Deno;
  const handlers = new Map<Deno.Signal, () => void>();
  const exits: (number | undefined)[] = [];
  Deno.addSignalListener = (name, handler) => void handlers.set(name, handler);
  Deno.exit = ((code) => void exits.push(code)) as typeof Deno.exit;
  try {
    await test((name) => handlers.get(name)!(), exits);
  } finally {
    Object.assign(Deno, { addSignalListener, exit });
  }
}

for (const name of ["SIGINT", "SIGTERM"] as const) {
  Deno.test(`${name} stops the work; a second one ends the process, unless it is the same key press`, async () => {
    using clock = new Clock();
    await withSignals(async (send, exits) => {
      const signal = interruptSignal("Stopped: go on");
      assert.equal(signal.aborted, false);
      send(name);
      assert.equal(signal.reason.message, "Stopped: go on");
      await clock.pass(100);
      send("SIGINT"); // the same, passed on by `deno task`
      await clock.pass(400);
      send("SIGINT");
      assert.deepEqual(exits, []);
      await clock.pass(1);
      send("SIGINT");
      assert.deepEqual(exits, [INTERRUPTED]);
    });
  });
}
