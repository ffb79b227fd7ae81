/**
 * Structured logs: one JSON line an event. Bodies, queries, headers and tokens
 * are never logged.
 *
 * @module
 */

/** Writes an event with its fields. */
export type Log = (
  level: "info" | "warn" | "error",
  event: string,
  fields?: Record<string, unknown>,
) => void;

/** A log that passes each line to `write`. */
export function jsonLog(write: (line: string) => void): Log {
  return function log(level, event, fields = {}) {
    const time = new Date().toISOString();
    write(JSON.stringify({ time, level, event, ...fields }));
  };
}
