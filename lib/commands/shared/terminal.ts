/**
 * Progress and remarks of commands, on stderr only; progress only on a
 * terminal.
 *
 * @module
 */
import { count } from "../../data/table.ts";
import { type Engine, startEngine } from "../../engine/select.ts";
import type { BackendChoice } from "../../engine/select.ts";

const encoder = new TextEncoder();
const CLEAR_LINE = "\r\x1b[2K";

/** A status line that is rewritten in place, on a terminal only. */
export class ProgressLine {
  readonly #shown = Deno.stderr.isTerminal();
  #open = false;

  show(text: string): void {
    if (!this.#shown) return;
    const { columns } = Deno.consoleSize();
    const most = columns > 0 ? columns - 1 : text.length; // 0: unknown
    Deno.stderr.writeSync(encoder.encode(CLEAR_LINE + text.slice(0, most)));
    this.#open = true;
  }

  /** Clears the line, so that other output starts at its beginning. */
  clear(): void {
    if (this.#open) Deno.stderr.writeSync(encoder.encode(CLEAR_LINE));
    this.#open = false;
  }
}

/** Starts the engine and prints its name and the reason for the choice. */
export async function announceEngine(backend: BackendChoice): Promise<Engine> {
  const engine = await startEngine(backend);
  console.error(`engine: ${engine.reason}`);
  return engine;
}

/** Formats seconds for people: 42 s, 3 min 05 s, 1 h 02 min. */
export function duration(seconds: number): string {
  const whole = Math.round(seconds);
  const minutes = Math.floor(whole / 60), hours = Math.floor(minutes / 60);
  const two = (value: number) => String(value).padStart(2, "0");
  if (hours > 0) return `${hours} h ${two(minutes % 60)} min`;
  if (minutes > 0) return `${minutes} min ${two(whole % 60)} s`;
  return `${whole} s`;
}

/** Formats bytes for people. */
export function megabytes(bytes: number): string {
  return `${Math.round(bytes / 1e6)} MB`;
}

/** Formats a figure with three decimals; "-" if undefined. */
export function figure(value: number | null | undefined): string {
  return value === null || value === undefined ? "-" : value.toFixed(3);
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
