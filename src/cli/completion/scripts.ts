import type { Session } from '../session.ts';

/** Each asks the program itself, so that what it offers is what this version knows. Where there is nothing to offer, it is files. */
export async function printScript({ screen }: Session, _: object, shell: keyof typeof SCRIPTS): Promise<void> {
  await screen.print(SCRIPTS[shell]);
}

const SCRIPTS = {
  bash: `_backupctl() {
  local IFS=$'\\n'
  COMPREPLY=($(backupctl __complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null | cut -f 1))
}
complete -o default -F _backupctl backupctl`,
  zsh: `#compdef backupctl
_backupctl() {
  local line
  local -a found
  for line in "\${(@f)$(backupctl __complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
    [[ -n $line ]] && found+=("\${\${line%%$'\\t'*}//:/\\\\:}:\${line#*$'\\t'}")
  done
  if (( $#found )); then _describe backupctl found; else _files; fi
}
if [[ $funcstack[1] == _backupctl ]]; then _backupctl "$@"; else compdef _backupctl backupctl; fi`,
  fish: `function __backupctl
  set -l found (backupctl __complete -- (commandline -opc)[2..] (commandline -ct) 2>/dev/null)
  if test (count $found) -gt 0
    printf '%s\\n' $found
  else
    __fish_complete_path (commandline -ct)
  end
end
complete -c backupctl -f -a '(__backupctl)'`,
};
