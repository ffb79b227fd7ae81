# Prints what zsh offers for a line that ends at the cursor:
#
#     zsh -f capture.zsh SCRIPT LINE
#
# Completion works in an interactive shell only, so one is run in a terminal of
# its own. Every match goes through compadd, which prints it here; with -O, -A
# or -D it adds none.
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell 'PROMPT= RPROMPT=; autoload -Uz compinit'
zpty -w shell "compinit -u -d ${(q)1:h}/zcompdump; source ${(q)1}"
zpty -w shell 'compadd() {
  local -a matches
  if ! (( ${@[(I)-[OAD]]} )); then
    builtin compadd -A matches "$@"
    print -rl -- "" "MATCH "${^matches}
  fi
  builtin compadd "$@"
}'
zpty -w shell '_capture() { _main_complete; print DONE; compstate[insert]=; compstate[list]=; }'
zpty -w shell 'zle -C capture complete-word _capture; bindkey "^X" capture'
zpty -w shell 'print REA""DY'
zpty -r shell output '*READY*'
zpty -w -n shell "$2"$'\x18'
zpty -r shell output '*DONE*'
print -r -- "$output"
zpty -d shell
