/**
 * zoomin: classify huge images by tiny objects.
 *
 * @module
 */
import { ConfigError, NamedError, UsageError } from "./lib/errors.ts";
import type { Commands } from "./lib/commands/shared/command.ts";
import { usageText } from "./lib/commands/shared/flags.ts";
import { INTERRUPTED, InterruptError } from "./lib/commands/shared/terminal.ts";

/** Commands by name. */
export const COMMANDS: Commands = {
  train: () => import("./lib/commands/train.ts"),
  eval: () => import("./lib/commands/eval.ts"),
  classify: () => import("./lib/commands/classify.ts"),
  serve: () => import("./lib/commands/serve.ts"),
  work: () => import("./lib/commands/work.ts"),
  jobs: () => import("./lib/commands/jobs.ts"),
  check: () => import("./lib/commands/check.ts"),
  dataset: () => import("./lib/commands/dataset.ts"),
  encoder: () => import("./lib/commands/encoder.ts"),
  pyramid: () => import("./lib/commands/pyramid.ts"),
  demo: () => import("./lib/commands/demo.ts"),
  report: () => import("./lib/commands/report.ts"),
  study: () => import("./lib/commands/study.ts"),
  openslide: () => import("./lib/commands/openslide.ts"),
  merge: () => import("./lib/commands/merge.ts"),
  doctor: () => import("./lib/commands/doctor.ts"),
  completion: () => import("./lib/commands/completion.ts"),
};

const FAILURE = 1, MISUSE = 2;

/** Runs the command named first in `argv` and returns the exit code. */
async function main([name = "", ...argv]: string[]): Promise<number> {
  if (["help", "--help", "-h"].includes(name)) {
    console.log(await overview());
    return 0;
  }
  const load = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (!load) {
    const names = Object.keys(COMMANDS).join(", ");
    console.error(
      name === ""
        ? `Missing command: give one of ${names}`
        : `There is no command "${name}": give one of ${names}`,
    );
    return MISUSE;
  }
  const command = await load();
  if (argv.includes("--help") || argv.includes("-h")) {
    console.log(usageText(command.usage));
    return 0;
  }
  try {
    return await command.run(argv, COMMANDS);
  } catch (error) {
    return report(error);
  }
}

async function overview(): Promise<string> {
  const lines = await Promise.all(
    Object.entries(COMMANDS).map(async ([name, load]) =>
      `  ${name.padEnd(12)}${(await load()).summary}`
    ),
  );
  return `zoomin: classify huge images by tiny objects\n\ndeno task COMMAND [--help]\n\n${
    lines.join("\n")
  }`;
}

/** Prints an error in one line; a bug with its stack. */
function report(error: unknown): number {
  if (error instanceof InterruptError) {
    console.error(error.message);
    return INTERRUPTED;
  }
  if (error instanceof UsageError || error instanceof ConfigError) {
    console.error(error.message);
    return MISUSE;
  }
  if (error instanceof NamedError) console.error(error.message);
  else if (isSystemError(error)) console.error(refusal(error));
  else console.error(error);
  return FAILURE;
}

/**
 * True for errors of the operating system, such as a missing folder or a full
 * disk.
 */
function isSystemError(error: unknown): error is Error {
  return error instanceof Deno.errors.NotCapable || // such as /proc
    error instanceof Error && "code" in error &&
      /^E[A-Z]+$/.test(String(error.code)); // ENOENT, but not ERR_INVALID_ARG
}

/**
 * The system's message, with the final name of a file in place of its temporary
 * one.
 */
function refusal({ message }: Error): string {
  const named = message.replaceAll(/\.([^/\\]+)\.[0-9a-f-]{36}\.tmp/g, "$1");
  return `Cannot continue: ${named}`;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
