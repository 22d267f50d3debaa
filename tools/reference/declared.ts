import type { DescEnum, DescMessage } from '@bufbuild/protobuf';

/** All that are declared in a file, those inside of others behind them. */
export function typesIn({
  messages,
  enums,
}: Pick<DescMessage['file'], 'messages' | 'enums'>): (DescMessage | DescEnum)[] {
  return [
    ...messages.flatMap(message => [
      message,
      ...typesIn({ messages: message.nestedMessages, enums: message.nestedEnums }),
    ]),
    ...enums,
  ];
}
