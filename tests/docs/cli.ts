/**
 * The page of the command line, made from what `--help` prints.
 *
 *     deno task docs    writes docs/cli.md
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { usageText } from "../../lib/commands/shared/flags.ts";
import { COMMANDS } from "../../main.ts";

/** Path of the page. */
export const CLI_PAGE: string = fileURLToPath(
  new URL("../../docs/cli.md", import.meta.url),
);

/** The page as it must be. */
export async function cliPage(): Promise<string> {
  const sections = await Promise.all(
    Object.entries(COMMANDS).map(async ([name, load]) => {
      const { summary, usage } = await load();
      return `## ${name}\n\n${summary}.\n\n\`\`\`text\n${
        usageText(usage)
      }\n\`\`\`\n`;
    }),
  );
  return [
    "# Command line\n",
    "Made from `--help` by `deno task docs`.\n",
    "Exit codes: 0 done, 1 failed, 2 wrong usage, 130 stopped by Ctrl-C.\n",
    ...sections,
  ].join("\n");
}

if (import.meta.main) await Deno.writeTextFile(CLI_PAGE, await cliPage());
