import { z } from 'zod';
import { settings } from '../../src/config.ts';
import { paragraphs, table } from './markdown.ts';

type Setting = {
  default?: string;
  description?: string;
  range?: string;
  enum?: string[];
  pattern?: string;
  format?: string;
};

export function settingsPage(): string {
  const { properties = {} } = z.toJSONSchema(settings, { io: 'input' });
  const rows = Object.entries(properties as Record<string, Setting>).map(([name, setting]) => [
    `<a id="${name.toLowerCase()}"></a>\`${name}\``,
    setting.default === undefined ? '' : `\`${setting.default}\``,
    rangeOf(setting),
    setting.description ?? '',
  ]);
  return paragraphs(
    '# Settings',
    'Environment variables. What is wrong with them is reported at the start, all at once, and the service does not start. `npm start -- --help` lists them, too.',
    table(['name', 'default', 'range', ''], rows),
  );
}

function rangeOf({ range, enum: values, pattern, format }: Setting): string {
  if (range) return range;
  if (values) return values.map(value => `\`${value}\``).join(', ');
  if (format === 'uri') return 'a URL';
  return pattern ? (PATTERNS[pattern] ?? `matches \`${pattern}\``) : 'text';
}

const PATTERNS: Record<string, string> = { '^.+:\\d+$': '`host:port`' };
