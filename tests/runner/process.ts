/**
 * Test files in a process of their own, judged by what Deno says at its end.
 *
 * A process that used the GPU in a Worker may crash as it exits, after all its
 * tests have passed and have been told: Deno's closing line decides, not the
 * signal. A crash before that line is a failure.
 *
 * @module
 */
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";

/** Results of the tests of some files. */
export interface Outcome {
  passed: number;
  failed: number;
  /** Names of the tests that were ignored. */
  ignored: string[];
  /** Deno's account of the failures, or of how the process ended; "" if none. */
  failures: string;
  /** A note on an ending that the tests do not explain. */
  note?: string;
}

/** The end of a process. */
export interface Ending {
  code: number;
  signal: string | null;
}

const MAX_MS = 30 * 60_000; // the longest takes two minutes
const STREAMS_MS = 10_000;
const LOCK = fileURLToPath(new URL("../../encoders.lock", import.meta.url));
/** Flags of Deno for the tests, and what prepares them. */
export const PERMISSIONS: readonly string[] = [
  `--lock=${LOCK}`,
  ...["--no-prompt", "--allow-read", "--allow-write", "--allow-env"],
  ...["--allow-sys", "--allow-ffi", "--allow-run", "--allow-net"],
];

/** Runs `files`; `onLine` hears every line as it is written. */
export async function runTests(
  files: readonly string[],
  { flags, env, onLine }: {
    flags: readonly string[];
    env: Record<string, string>;
    onLine: (line: string) => void;
  },
): Promise<Outcome> {
  const process = new Deno.Command(Deno.execPath(), {
    args: ["test", ...PERMISSIONS, ...flags, ...files],
    env: { ...env, NO_COLOR: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const lines: string[] = [];
  const read = async (stream: ReadableStream<Uint8Array>) => {
    for await (const line of linesOf(stream)) {
      lines.push(line);
      onLine(line);
    }
  };
  const ends = Promise.all([read(process.stdout), read(process.stderr)]);
  const late = setTimeout(() => process.kill("SIGKILL"), MAX_MS);
  const status = await process.status;
  clearTimeout(late);
  // Processes that a crash has left running may hold its streams open.
  await Promise.race([ends, pause(STREAMS_MS, undefined, { ref: false })]);
  return judge(lines, status);
}

const CLOSING =
  /^(ok|FAILED) \| (\d+) passed(?: \([^)]*\))? \| (\d+) failed.* \([^()]*\)$/;

/** Results of a process, from the lines that it has written. */
export function judge(lines: readonly string[], ending: Ending): Outcome {
  const closing = lines.map((line) => CLOSING.exec(line))
    .findLast((match) => match !== null);
  const [, verdict, passed = "0", failed = "0"] = closing ?? [];
  const ignored = lines.map((line) => /^(.+) \.\.\. ignored\b/.exec(line)?.[1])
    .filter((name) => name !== undefined);
  const counts = { passed: Number(passed), failed: Number(failed), ignored };
  const end = ending.signal
    ? `was ended by ${ending.signal}`
    : `ended with ${ending.code}`;
  if (verdict === "ok" && (ending.code === 0 || ending.signal !== null)) {
    return {
      ...counts,
      failures: "",
      ...(ending.signal && { note: `all passed; then the process ${end}` }),
    };
  }
  const from = lines.indexOf(" ERRORS ");
  const told = lines.slice(from < 0 ? -LAST_LINES : from).join("\n");
  return {
    ...counts,
    failed: Math.max(1, counts.failed),
    failures: closing
      ? told
      : `${told}\nThe process ${end} before its tests did`,
  };
}
const LAST_LINES = 60;

async function* linesOf(
  stream: ReadableStream<Uint8Array>,
): AsyncGenerator<string> {
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    yield* lines;
  }
  if (rest !== "") yield rest;
}
