import { type Command, Option } from 'commander';
import {
  type Operation,
  OperationSchema,
  type Purpose,
  PurposeSchema,
  type Status,
  StatusSchema,
  Type,
  TypeSchema,
} from '../gen/backup/v1/controller_pb.ts';
import { id, wholeNumber } from './arguments.ts';
import { nameIn, namesIn } from './names.ts';

/** Which runs, by what they are. */
export type Filter = {
  course?: bigint;
  operation?: Operation;
  type?: Type;
  item?: bigint;
  user?: bigint;
  purpose?: Purpose[];
  status?: Status[];
};

/** The options of a filter, in a group of the help of their own. */
export function filterOptions(command: Command, { statuses = false } = {}): Command {
  const options = [
    new Option('--course <number>', 'runs of this course as a whole').argParser(id).conflicts(['type', 'item']),
    new Option('--operation <name>', 'backup or restore').argParser(nameIn(OperationSchema)),
    new Option('--type <name>', 'what they cover: activity, section or course').argParser(nameIn(TypeSchema)),
    new Option('--item <number>', 'the course, section or activity that they cover').argParser(id),
    new Option('--user <number>', 'of this user').argParser(given =>
      BigInt(wholeNumber(0, Number.MAX_SAFE_INTEGER)(given)),
    ),
    new Option('--purpose <names>', 'any of these, such as automated,async').argParser(
      namesIn(PurposeSchema, { numbers: true }),
    ),
  ];
  if (statuses) {
    const about = 'any of these, such as awaiting,executing';
    options.push(new Option('--status <names>', about).argParser(namesIn(StatusSchema)));
  }
  for (const option of options) command.addOption(option.helpGroup('Which runs:'));
  return command;
}

/** Undefined when no option of a filter was given. */
export function tailFilterOf(given: Filter): TailFilter | undefined {
  const { course, operation, type, item, user, purpose } = given;
  const filter: TailFilter = {
    ...(operation !== undefined && { operation }),
    ...(type !== undefined && { type }),
    ...(item !== undefined && { itemId: item }),
    ...(course !== undefined && { type: Type.COURSE, itemId: course }),
    ...(user !== undefined && { userId: user }),
    ...(purpose && { purposes: [...new Set(purpose)] }),
  };
  return Object.keys(filter).length > 0 ? filter : undefined;
}

export function controllerFilterOf(given: Filter): ControllerFilter | undefined {
  const filter = tailFilterOf(given);
  return given.status ? { ...filter, statuses: [...new Set(given.status)] } : filter;
}

type TailFilter = { operation?: Operation; type?: Type; itemId?: bigint; userId?: bigint; purposes?: Purpose[] };
type ControllerFilter = TailFilter & { statuses?: Status[] };
