/**
 * The commands as a completion script needs them.
 *
 * @module
 */
import type { Commands } from "../shared/command.ts";
import type { Values } from "../shared/flags.ts";

/** A flag, with a placeholder of its value unless it is a switch. */
export interface CompletedFlag extends Values {
  name: string;
  hint?: string | undefined;
  about: string;
  isRepeated: boolean;
}

/** A command with its flags and the values of its positional arguments. */
export interface CompletedCommand {
  name: string;
  summary: string;
  flags: readonly CompletedFlag[];
  operands: Values;
}

/** Loads the declarations of all commands. */
export async function completedCommands(
  commands: Commands,
): Promise<CompletedCommand[]> {
  return await Promise.all(
    Object.entries(commands).map(async ([name, load]) => {
      const { summary, usage: { groups, operands = {} } } = await load();
      const flags = groups.flatMap(({ flags }) => Object.entries(flags))
        .map(([name, { isRepeated = false, about, ...flag }]) => ({
          ...flag,
          name,
          about: headOf(about),
          isRepeated,
        }));
      // Data sets share some flags.
      const byName = new Map(flags.map((flag) => [flag.name, flag]));
      const help = {
        name: "help",
        about: "print the usage",
        isRepeated: false,
      };
      return { name, summary, flags: [...byName.values(), help], operands };
    }),
  );
}

/** A description short enough for a menu: its first part. */
function headOf(about: string): string {
  return about.split(/[;:(]/)[0]!.trim();
}
