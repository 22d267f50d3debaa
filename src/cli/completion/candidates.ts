import type { Command, Option } from 'commander';

type Candidate = [word: string, about: string];

/**
 * What may stand for the last one of these words, which is being written: commands, options, or values of the option before it. None means that the
 * shell should offer files.
 */
export function candidates(program: Command, words: string[], contexts: string[]): Candidate[] {
  const current = words.at(-1) ?? '';
  let command = program;
  let option: Option | undefined;
  for (const word of words.slice(0, -1)) {
    if (option) option = undefined;
    else if (word.startsWith('-')) option = takesValue(command, word);
    else command = command.commands.find(one => one.name() === word) ?? command;
  }
  return offered(command, option, current, contexts).filter(([word]) => word.startsWith(current));
}

function offered(command: Command, option: Option | undefined, current: string, contexts: string[]): Candidate[] {
  if (option?.long === '--context') return contexts.map(name => [name, '']);
  if (option) return valuesOf(option, current).map(value => [value, '']);
  const help = command.createHelp();
  if (current.startsWith('-'))
    return help.visibleOptions(command).map(one => [one.long ?? one.short!, one.description]);
  const choices = command.registeredArguments.flatMap(({ argChoices = [] }) => argChoices);
  const commands = help.visibleCommands(command).map((one): Candidate => [one.name(), one.description()]);
  return [...commands, ...choices.map((one): Candidate => [one, ''])];
}

function takesValue(command: Command, word: string): Option | undefined {
  const option = command.options.find(({ long, short }) => word === long || word === short);
  return option && (option.required || option.optional) ? option : undefined;
}

/** Of a list the part behind the last comma is being written. */
function valuesOf({ parseArg }: Option, current: string): string[] {
  const { choices = [] } = (parseArg ?? {}) as { choices?: readonly string[] };
  const before = current.slice(0, current.lastIndexOf(',') + 1);
  return choices.map(value => before + value);
}
