/**
 * Completion of `zoomin` in zsh.
 *
 * @module
 */
import type { Values } from "../shared/flags.ts";
import type { CompletedCommand, CompletedFlag } from "./completed.ts";

/** The script for `eval`, or for a file `_zoomin` in a folder of `$fpath`. */
export function zshScript(commands: readonly CompletedCommand[]): string {
  const named = commands.map(({ name, summary }) =>
    `    ${quoted(`${name}:${escaped(summary)}`)}`
  );
  return `
#compdef zoomin
_zoomin() {
  local -a commands=(
${named.join("\n")}
  )
  if ((CURRENT == 2)); then
    _describe command commands
    return
  fi
  shift words # the command's own name is the first word now
  ((CURRENT--))
  case $words[1] in
${commands.map(commandCase).join("\n")}
  esac
}

# Words, or files.
_zoomin_either() {
  _alternative "words:word:($*)" "files:file:_files"
}

if [[ $funcstack[1] == _zoomin ]]; then _zoomin "$@"; else compdef _zoomin zoomin; fi
`.trimStart();
}

function commandCase({ name, flags, operands }: CompletedCommand): string {
  const { words = [], paths } = operands;
  const specs = [
    ...flags.map(flagSpec),
    ...(words.length > 0 ? [`1:name:${action({ words })}`] : []),
    ...(paths ? [`*:file:${action({ paths })}`] : []),
  ];
  const lines = specs.map((spec) => `        ${quoted(spec)}`);
  return `    ${name})
      _arguments \\
${lines.join(" \\\n")}
      ;;`;
}

/** A specification of `_arguments`. */
function flagSpec(flag: CompletedFlag): string {
  const { name, hint, about, isRepeated } = flag;
  const value = hint === undefined ? "" : `:${escaped(hint)}:${action(flag)}`;
  return `${isRepeated ? "*" : ""}--${name}${value === "" ? "" : "="}[${
    escaped(about)
  }]${value}`;
}

function action({ words = [], paths }: Values): string {
  if (words.length === 0) {
    return paths === undefined
      ? " "
      : paths === "files"
      ? "_files"
      : "_directories";
  }
  const list = words.join(" ");
  return paths === undefined ? `(${list})` : ` _zoomin_either ${list}`;
}

/** `text` with what `_arguments` and `_describe` would take for syntax. */
function escaped(text: string): string {
  return text.replaceAll(/[\[\]:\\]/g, "\\$&");
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
