import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import {
  createFileRegistry,
  type DescEnum,
  type DescFile,
  type DescMessage,
  type DescMethod,
  type DescService,
  fromBinary,
} from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { ErrorReasonSchema } from '../../src/gen/backup/v1/error_pb.ts';
import { CodeSchema } from '../../src/gen/google/rpc/code_pb.ts';
import { typesIn } from './declared.ts';
import { slug } from './markdown.ts';

/** What proto/ declares, with its comments, and where in the reference each thing stands. */
export type Proto = {
  readonly services: DescService[];
  readonly files: DescFile[];
  /** The method that a message or an enum belongs to: the only one that has to do with it. */
  homeOf(type: DescMessage | DescEnum): DescMethod | undefined;
  /** The page of a service, or of anything declared beside it. */
  pageOf(declared: DescService | DescMessage | DescEnum): string;
  /** A reference to it, from any page. */
  linkTo(type: DescMessage | DescEnum): string;
  linkToMethod(method: DescMethod): string;
  /** The same text with references to the methods, messages and reasons that it names. */
  linked(text: string, here?: string): string;
};

export function openProto(): Proto {
  const files = read();
  const services = files.flatMap(file => file.services);
  const homes = homesOf(services);
  const pageOf: Proto['pageOf'] = ({ file }) =>
    file.services.length > 0 ? `${file.name.split('/').at(-1)}.md` : 'shared.md';
  const linkTo: Proto['linkTo'] = type => {
    if (!type.typeName.startsWith(PACKAGE)) return type.name;
    const name = shortName(type);
    return name === ErrorReasonSchema.name ? `[${name}](errors.md)` : `[${name}](${pageOf(type)}#${slug(name)})`;
  };
  const links = new Map([
    // Words such as Type and Status are words in a text.
    ...files
      .flatMap(typesIn)
      .flatMap(type => (/[a-z][A-Z]/.test(type.name) ? [[type.name, linkTo(type)] as const] : [])),
    ...services.flatMap(({ methods }) => methods.map(method => [method.name, linkToMethod(method, pageOf)] as const)),
    ...REASONS.map(name => [name, `[${name}](errors.md#${slug(name)})`] as const),
  ]);

  return {
    files,
    services,
    pageOf,
    homeOf: type => homes.get(type.typeName),
    linkTo,
    linkToMethod: method => linkToMethod(method, pageOf),
    linked: (text, here) => text.replace(/`[^`]*`|\b[A-Z]\w+/g, name => (name !== here && links.get(name)) || name),
  };
}

/** The name as it is written in the `.proto`, with those of the messages around it. */
export function shortName(type: DescMessage | DescEnum): string {
  return type.typeName.replace(PACKAGE, '');
}

const PACKAGE = 'backup.v1.';

/** Those whose names are not also those of codes, as which most texts mean them. */
const REASONS = ErrorReasonSchema.values
  .map(({ localName }) => localName)
  .filter(name => !CodeSchema.values.some(code => code.name === name));

function linkToMethod({ name, parent }: DescMethod, pageOf: Proto['pageOf']): string {
  return `[${name}](${pageOf(parent)}#${slug(name)})`;
}

function read(): DescFile[] {
  const root = join(import.meta.dirname, '../..');
  execFileSync(process.execPath, ['tools/proto-deps.ts'], { cwd: root });
  const buf = join(root, 'node_modules/.bin/buf');
  const image = execFileSync(buf, ['build', 'proto', '--as-file-descriptor-set', '-o', '-'], {
    cwd: root,
    maxBuffer: 2 ** 26,
  });
  const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, image));
  return [...registry.files].filter(file => file.proto.package === 'backup.v1');
}

/** For everything that exactly one method reaches: that method. */
function homesOf(services: DescService[]): Map<string, DescMethod> {
  const reached = new Map<string, Set<DescMethod>>();
  const reach = (type: DescMessage | DescEnum, method: DescMethod) => {
    const by = reached.get(type.typeName) ?? new Set();
    if (by.has(method)) return;
    reached.set(type.typeName, by.add(method));
    if (type.kind === 'message') for (const field of type.fields) for (const one of typesOf(field)) reach(one, method);
  };
  const methods = services.flatMap(service => service.methods);
  for (const method of methods) for (const type of [method.input, method.output]) reach(type, method);
  const sharedFiles = (method: DescMethod, name: string) =>
    [...method.parent.file.messages, ...method.parent.file.enums].some(
      type => type.typeName === name || name.startsWith(`${type.typeName}.`),
    );
  return new Map(
    [...reached]
      .filter(([name, by]) => by.size === 1 && sharedFiles([...by][0]!, name))
      .map(([name, by]) => [name, [...by][0]!]),
  );
}

function typesOf({ message, enum: values }: DescMessage['fields'][number]): (DescMessage | DescEnum)[] {
  return [message, values].filter(type => type !== undefined);
}
