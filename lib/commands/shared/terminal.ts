/**
 * Progress and remarks of commands, on stderr only; progress only on a
 * terminal.
 *
 * @module
 */
import { count } from "../../data/table.ts";
import { type Engine, startEngine } from "../../engine/select.ts";
import type { BackendChoice } from "../../engine/select.ts";

export { duration, figure, megabytes } from "../../words.ts";

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
