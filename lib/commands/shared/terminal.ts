/**
 * Progress and remarks of commands, on stderr only.
 *
 * @module
 */
import { count } from "../../data/table.ts";
import { type Engine, startEngine } from "../../engine/select.ts";
import type { BackendChoice } from "../../engine/select.ts";
import { duration } from "../../words.ts";

export { duration, figure, megabytes } from "../../words.ts";

const encoder = new TextEncoder();
const CLEAR_LINE = "\r\x1b[2K";

// Between two lines of a log file, if no step of the work has a line of its own.
const LOG_MS = 60_000;

/** A status line, rewritten in place; in a log file, a line from time to time. */
export class ProgressLine {
  readonly #isTerminal = Deno.stderr.isTerminal();
  #open = false;
  readonly #started = performance.now();
  #logged = this.#started;

  /** Shows `text`; where nothing can be rewritten, once a minute. */
  show(text: string): void {
    if (!this.#isTerminal) {
      if (performance.now() - this.#logged >= LOG_MS) this.note(text);
      return;
    }
    const { columns } = Deno.consoleSize();
    const most = columns > 0 ? columns - 1 : text.length; // 0: unknown
    Deno.stderr.writeSync(encoder.encode(CLEAR_LINE + text.slice(0, most)));
    this.#open = true;
  }

  /** Shows the number of steps done, their rate, and the time left. */
  count(done: number, total: number, unit: string): void {
    const seconds = (performance.now() - this.#started) / 1000;
    this.show(countText(done, total, { unit, seconds }));
  }

  /** Prints a line of a log file; nothing on a terminal, which has the status. */
  note(text: string): void {
    if (this.#isTerminal) return;
    console.error(text);
    this.#logged = performance.now();
  }

  /** Clears the line, so that other output starts at its beginning. */
  clear(): void {
    if (this.#open) Deno.stderr.writeSync(encoder.encode(CLEAR_LINE));
    this.#open = false;
  }
}

/** Steps done of all, their rate, and the time left at this rate. */
export function countText(
  done: number,
  total: number,
  { unit, seconds }: { unit: string; seconds: number },
): string {
  const steps = `${done}/${total} ${unit}`;
  if (done === 0 || seconds <= 0) return steps;
  const rate = done / seconds;
  const left = duration((total - done) / rate);
  return `${steps}  ${rate.toPrecision(3)} ${unit}/s  ${left} left`;
}

/** Characters in a line of stdout; no bound if it is no terminal. */
export function lineWidth(): number {
  if (!Deno.stdout.isTerminal()) return Infinity;
  const { columns } = Deno.consoleSize();
  return columns > 0 ? columns : Infinity; // 0: unknown
}

/** A heading of stdout: bold on a terminal, unless NO_COLOR is set. */
export function heading(text: string): string {
  return Deno.stdout.isTerminal() && !Deno.noColor
    ? `\x1b[1m${text}\x1b[22m`
    : text;
}

/**
 * Starts the engine and prints its name and the reason for the choice.
 *
 * @param startAuto starts what `auto` means for the work at hand.
 */
export async function announceEngine(
  backend: BackendChoice,
  startAuto: () => Promise<Engine>,
): Promise<Engine> {
  const engine =
    await (backend === "auto" ? startAuto() : startEngine(backend));
  console.error(`engine: ${engine.reason}`);
  return engine;
}

/**
 * Prints decoding warnings, each kind once with its number of images.
 *
 * @param warnings the warnings of each image.
 */
export function warnOfDecoding(warnings: Iterable<readonly string[]>): void {
  const counts = new Map<string, number>();
  for (const text of [...warnings].flat()) {
    counts.set(text, (counts.get(text) ?? 0) + 1);
  }
  for (const [text, n] of counts) {
    console.error(`warning: ${count(n, "image")}: ${text}`);
  }
}

// A terminal sends Ctrl-C to `deno task` and to its child, and `deno task` also
// passes it on: a second signal so soon is the same key press.
const SAME_KEY_MS = 500;

/**
 * A signal that aborts on Ctrl-C or SIGTERM: the work stops at its next step and
 * can be resumed. A second Ctrl-C ends the process at once.
 *
 * @param message text to print then, with how to continue if possible.
 */
export function interruptSignal(message = STOPPED): AbortSignal {
  const controller = new AbortController();
  let stoppedAt = 0;
  for (const name of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(name, () => {
      const now = performance.now();
      if (!controller.signal.aborted) {
        stoppedAt = now;
        controller.abort(new InterruptError(message));
      } else if (now - stoppedAt > SAME_KEY_MS) Deno.exit(INTERRUPTED);
    });
  }
  return controller.signal;
}

/** Exit code after Ctrl-C. */
export const INTERRUPTED = 130;

const STOPPED = "Stopped";

/** The user stopped the work. */
export class InterruptError extends Error {
  override name = "InterruptError";

  constructor(message = STOPPED) {
    super(message);
  }
}
