/**
 * `zoomin completion`: print the script that completes the command line.
 *
 * @module
 */
import { UsageError } from "../errors.ts";
import type { Commands } from "./shared/command.ts";
import { parseFlags, type Usage } from "./shared/flags.ts";
import { bashScript } from "./shells/bash.ts";
import { completedCommands } from "./shells/completed.ts";
import { fishScript } from "./shells/fish.ts";
import { zshScript } from "./shells/zsh.ts";

const SHELLS = { bash: bashScript, zsh: zshScript, fish: fishScript };
const NAMES = Object.keys(SHELLS);

export const summary = "Print the script that completes commands in a shell";

export const usage: Usage = {
  synopsis: ["deno task completion SHELL"],
  positionals: { SHELL: NAMES.join(", ") },
  groups: [{ flags: {} }],
  operands: { words: NAMES },
  about:
    "Prints a script that completes commands, flags, their values and files.",
  notes:
    'In ~/.bashrc: eval "$(zoomin completion bash)". In ~/.zshrc, after compinit: eval "$(zoomin completion zsh)". In fish: zoomin completion fish | source. In a checkout, eval "$(deno task -q completion bash)" completes deno task as well.',
};

/**
 * Prints the script of the shell that `argv` names.
 *
 * @throws {UsageError} If there is no such shell.
 */
export async function run(
  [shell = "", ...argv]: string[],
  commands: Commands,
): Promise<number> {
  const script = Object.hasOwn(SHELLS, shell) &&
    SHELLS[shell as keyof typeof SHELLS];
  if (!script) {
    throw new UsageError(
      `There is no completion for "${shell}": the first argument must be ${
        NAMES.join(" or ")
      }`,
    );
  }
  parseFlags(argv, {}); // none
  console.log(script(await completedCommands(commands)).trimEnd());
  return 0;
}
