/**
 * The log of a run: JSON lines, one for the run and one for every epoch.
 *
 * @module
 */
import { open } from "node:fs/promises";
import { resolve } from "node:path";
import { DataError } from "../errors.ts";
import { writeFileAtomically } from "../files.ts";
import type { ForegroundChoice } from "../image/foreground/tissue.ts";
import { isRecord } from "../model/config.ts";

/** Its name in the folder of a run. */
export const LOG_FILE = "log.jsonl";

/** A line of the log. */
export type LogLine =
  & { type: "run" | "epoch" | "result" | "fold" }
  & Record<
    string,
    unknown
  >;

/** The file of a foreground, as a run records it; null if there is none. */
export function foregroundFile(
  choice: ForegroundChoice | undefined,
): string | null {
  return choice && "path" in choice ? resolve(choice.path) : null;
}

/** Appends lines to a file, each on disk before the call returns. */
export class RunLog {
  constructor(readonly path: string) {}

  /** Starts afresh, with `line` as the first one. */
  async start(line: LogLine): Promise<void> {
    await writeFileAtomically(this.path, `${JSON.stringify(line)}\n`);
  }

  /** Drops the lines after `epoch`, then continues with `line`. */
  async resume(epoch: number, line: LogLine): Promise<void> {
    const kept = (await readLog(this.path)).filter((old) =>
      old.type === "run" ||
      (old.type === "epoch" && (old.epoch as number) <= epoch)
    );
    const lines = [...kept, line].map((line) => `${JSON.stringify(line)}\n`);
    await writeFileAtomically(this.path, lines.join(""));
  }

  /** Adds a line. */
  async append(line: LogLine): Promise<void> {
    const file = await open(this.path, "a");
    try {
      await file.write(`${JSON.stringify(line)}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
  }
}

/**
 * Lines of a log, without a last line that was cut off.
 *
 * @throws {DataError} If another line is damaged; the message names it.
 */
export async function readLog(path: string): Promise<LogLine[]> {
  const text = await Deno.readTextFile(path);
  const lines = text.split("\n").slice(0, -1); // whole lines end in "\n"
  return lines.map((line, i) => parseLine(line, `${path}:${i + 1}`));
}

function parseLine(line: string, place: string): LogLine {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch { // thrown below
  }
  if (isRecord(value)) return value as LogLine;
  throw new DataError(`${place}: it is no JSON object; remove the line`);
}
