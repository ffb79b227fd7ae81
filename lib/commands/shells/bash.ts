/**
 * Completion in bash 3.2 or later: of `zoomin`, and of `deno task` in a
 * checkout.
 *
 * @module
 */
import type { Values } from "../shared/flags.ts";
import type { CompletedCommand } from "./completed.ts";

/** The script for `eval`. */
export function bashScript(commands: readonly CompletedCommand[]): string {
  const names = commands.map(({ name }) => name);
  return `
# Completes the command that begins at word $1.
_zoomin_from() {
  local command=\${COMP_WORDS[$1]} place=$((COMP_CWORD - $1))
  local current=\${COMP_WORDS[COMP_CWORD]}
  local previous=\${COMP_WORDS[COMP_CWORD - 1]}
  COMPREPLY=()
  if ((place == 0)); then
    _zoomin_words ${names.join(" ")}
    return
  fi
  # Bash takes --flag=value apart at the "=".
  if [[ $current == "=" ]]; then
    current=
  elif [[ $previous == "=" ]]; then
    previous=\${COMP_WORDS[COMP_CWORD - 2]}
  fi
  case "$command $previous" in
${commands.flatMap(valueCases).join("\n")}
  esac
  case "$command" in
${commands.map(commandCase).join("\n")}
  esac
}

# Adds the given words that begin as the current one.
_zoomin_words() {
  local word
  for word in "$@"; do
    if [[ $word == "$current"* ]]; then COMPREPLY+=("$word"); fi
  done
}

# Adds files or folders: compgen's action is f or d.
_zoomin_paths() {
  local path
  compopt -o filenames 2>/dev/null # bash 4: a slash after folders
  while IFS= read -r path; do
    COMPREPLY+=("$path")
  done < <(compgen "-$1" -- "\${current/#\\~\\//$HOME/}")
}

_zoomin() { _zoomin_from 1; }

# Deno's own completion, but for our tasks in a folder of ours.
_zoomin_deno() {
  if [[ \${COMP_WORDS[1]} == task ]] && ((COMP_CWORD >= 2)) &&
    grep -qs '"@zoomin/zoomin"' deno.json; then
    _zoomin_from 2
  elif declare -F _deno >/dev/null; then
    _deno "$@"
  fi
}

complete -o default -F _zoomin zoomin
complete -o default -F _zoomin_deno deno
`.trimStart();
}

/** Cases of the flags that take a value. */
function valueCases({ name, flags }: CompletedCommand): string[] {
  return flags.filter(({ hint }) => hint !== undefined).map((flag) => {
    const steps = [...calls(flag), "return"];
    return `    "${name} --${flag.name}") ${steps.join("; ")} ;;`;
  });
}

/** Case of what is no value: flags, or positional arguments. */
function commandCase({ name, flags, operands }: CompletedCommand): string {
  const names = flags.map(({ name }) => `--${name}`).join(" ");
  const { words = [], paths } = operands;
  const first = words.length > 0
    ? [`if ((place == 1)); then ${calls({ words })}; fi`]
    : [];
  const others = paths === undefined ? [] : calls({ paths });
  const rest = [...first, ...others];
  return `    ${name})
      if [[ $current == -* ]]; then _zoomin_words ${names}
      else ${[...rest, ...(rest.length === 0 ? [":"] : [])].join("; ")}; fi
      ;;`;
}

function calls({ words = [], paths }: Values): string[] {
  return [
    ...(words.length > 0 ? [`_zoomin_words ${words.join(" ")}`] : []),
    ...(paths ? [`_zoomin_paths ${paths === "files" ? "f" : "d"}`] : []),
  ];
}
