/**
 * Retries of requests that failed for a reason that may pass.
 *
 * @module
 */
import { setTimeout as sleep } from "node:timers/promises";
import { ImageError, ImageSourceError, NetworkError } from "../../errors.ts";

/** A transient failure: the same request may succeed later. */
export class PassingError extends Error {}

/** How long to wait for an answer, and how often to ask again. */
export interface Patience {
  /** Time without a byte after which a request has failed. */
  idleTimeoutMs: number;
  /** Attempts of a request before it fails. */
  attempts: number;
  /** Pause before the second attempt; it doubles from there. */
  firstPauseMs: number;
}

interface Cancellable {
  signal: AbortSignal | undefined;
}

/**
 * Retries a request until it succeeds, is refused, or attempts run out.
 *
 * @param request calls `alive` with every byte; its signal aborts it.
 * @throws {ImageError} With the reason only.
 */
export async function patiently<T>(
  { attempts, firstPauseMs, idleTimeoutMs, signal }: Patience & Cancellable,
  request: (signal: AbortSignal, alive: () => void) => Promise<T>,
): Promise<T> {
  for (let attempt = 1;; attempt++) {
    signal?.throwIfAborted();
    try {
      return await timely({ idleTimeoutMs, signal }, request);
    } catch (cause) {
      signal?.throwIfAborted();
      if (cause instanceof ImageError) throw cause;
      if (cause instanceof Deno.errors.NotCapable) {
        throw new ImageSourceError(
          "network access is denied: run with --allow-net",
          { cause },
        );
      }
      if (attempt === attempts) {
        throw new NetworkError(
          `${reasonOf(cause as Error)}, at the last of ${attempts} attempts`,
          { cause },
        );
      }
    }
    const pauseMs = firstPauseMs * 2 ** (attempt - 1);
    // Jitter of up to half the pause, so that many readers do not retry
    // together.
    await sleep(pauseMs * (1 + Math.random() / 2), undefined, {
      ...signal && { signal },
    }).catch(() => signal?.throwIfAborted());
  }
}

/** Aborts a request that receives no bytes for the idle timeout. */
async function timely<T>(
  { idleTimeoutMs, signal }: Pick<Patience, "idleTimeoutMs"> & Cancellable,
  request: (signal: AbortSignal, alive: () => void) => Promise<T>,
): Promise<T> {
  const timeout = new AbortController();
  const expire = () =>
    timeout.abort(
      new PassingError(`the server sent nothing for ${idleTimeoutMs} ms`),
    );
  let timer = setTimeout(expire, idleTimeoutMs);
  const alive = () => {
    clearTimeout(timer);
    timer = setTimeout(expire, idleTimeoutMs);
  };
  try {
    return await request(
      signal ? AbortSignal.any([signal, timeout.signal]) : timeout.signal,
      alive,
    );
  } catch (error) {
    // A fetch may throw an error of its own once its signal aborts.
    throw timeout.signal.aborted ? timeout.signal.reason : error;
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Reason of a failed request: Deno puts it in the cause, after the URL, which
 * may contain a signature.
 */
function reasonOf({ message, cause }: Error): string {
  const below = cause instanceof Error ? cause.message : "";
  const reason = /client error \([^)]*\): (.+)/.exec(below)?.[1] ?? message;
  return reason.replaceAll(/(https?:\/\/[^\s?"']*)\?[^\s"')]*/gi, "$1");
}
