/**
 * Completion of `zoomin` in fish.
 *
 * @module
 */
import type { Values } from "../shared/flags.ts";
import type { CompletedCommand } from "./completed.ts";

/** The script for `source`. */
export function fishScript(commands: readonly CompletedCommand[]): string {
  return `
# True if the words before the current one are as many, and begin so.
function __zoomin_after
    set -l words (commandline -opc)
    test (count $words) -eq $argv[1]; and __zoomin_in $argv[2..-1]
end

# True in the command of this name; without one, always.
function __zoomin_in
    set -l words (commandline -opc)
    test (count $argv) -eq 0; or test "$words[2]" = "$argv[1]"
end

complete -c zoomin -f
${commands.flatMap(linesOf).join("\n")}
`.trimStart();
}

function linesOf(
  { name, summary, flags, operands }: CompletedCommand,
): string[] {
  const within = `complete -c zoomin -n '__zoomin_in ${name}'`;
  const { words = [], paths } = operands;
  return [
    `complete -c zoomin -n '__zoomin_after 1' -a ${name} -d ${quoted(summary)}`,
    ...(words.length > 0
      ? [
        `complete -c zoomin -n '__zoomin_after 2 ${name}' -a '${
          words.join(" ")
        }'`,
      ]
      : []),
    ...(paths ? [`${within} -F`] : []),
    ...flags.map((flag) =>
      `${within} -l ${flag.name} ${
        flag.hint === undefined ? "" : valueOptions(flag)
      }-d ${quoted(flag.about)}`
    ),
  ];
}

/** Options of `complete` for the values of a flag. */
function valueOptions({ words = [], paths }: Values): string {
  const folders = paths === "folders" ? ["(__fish_complete_directories)"] : [];
  const list = [...words, ...folders].join(" ");
  return [
    paths === "files" ? "-r -F " : "-x ",
    list === "" ? "" : `-a '${list}' `,
  ].join("");
}

function quoted(text: string): string {
  return `'${text.replaceAll(/[\\']/g, "\\$&")}'`;
}
