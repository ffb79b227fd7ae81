/**
 * A process that ends with the one that started it.
 *
 * @module
 */
import { INTERRUPTED } from "./terminal.ts";

/**
 * Ends this process when the other end of its standard input is closed: the
 * process that holds that was killed, and nobody else will stop this one.
 */
export function endWithParent(): void {
  Deno.stdin.readable.pipeTo(new WritableStream())
    .finally(() => Deno.exit(INTERRUPTED));
}
