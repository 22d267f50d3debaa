import { sharedPage } from './beside.ts';
import { commandsPage } from './commands.ts';
import { errorsPage } from './errors.ts';
import { metricsPage } from './metrics.ts';
import { indexPage } from './overview.ts';
import { openProto } from './proto.ts';
import { servicePage } from './service.ts';
import { settingsPage } from './settings.ts';

/** The pages of docs/reference by the names of their files. */
export async function reference(): Promise<Map<string, string>> {
  const proto = openProto();
  const pages = {
    'README.md': indexPage(proto),
    ...Object.fromEntries(proto.services.map(service => [proto.pageOf(service), servicePage(proto, service)])),
    'shared.md': sharedPage(proto),
    'errors.md': errorsPage(proto),
    'settings.md': settingsPage(),
    'metrics.md': metricsPage(),
    'commands.md': commandsPage(),
  };
  return new Map(Object.entries(pages).map(([name, text]) => [name, `${NOTE}\n\n${text.trim()}\n`]));
}

const NOTE = '<!-- Written by tools/reference.ts: npm run reference. Do not edit. -->';
