/**
 * Structured logs: one JSON line an event. Bodies, queries, headers and tokens
 * are never logged.
 *
 * @module
 */

/** How much an event matters. */
export type Level = "info" | "warn" | "error";

/** Writes an event with its fields. */
export type Log = (
  level: Level,
  event: string,
  fields?: Record<string, unknown>,
) => void;

/** A log that passes each line to `write`. */
export function jsonLog(write: (line: string, level: Level) => void): Log {
  return function log(level, event, fields = {}) {
    const time = new Date().toISOString();
    write(JSON.stringify({ time, level, event, ...fields }), level);
  };
}
