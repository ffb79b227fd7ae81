/**
 * A command of the program, as its module exports it.
 *
 * @module
 */
import type { Usage } from "./flags.ts";

/** A command with its description. */
export interface Command {
  summary: string;
  usage: Usage;
  /**
   * Returns the exit code.
   *
   * @param commands all of the program's, for the command that describes them.
   */
  run(argv: string[], commands: Commands): Promise<number>;
}

/**
 * Commands by name, each loaded on demand, so that `classify` does not wait for
 * modules that only `train` needs.
 */
export type Commands = Readonly<Record<string, () => Promise<Command>>>;
