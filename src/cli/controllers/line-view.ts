import { timestampNow } from '@bufbuild/protobuf/wkt';
import { ControllerSchema } from '../../gen/backup/v1/controller_pb.ts';
import { ShortIds } from '../logs/short-ids.ts';
import type { Session } from '../session.ts';
import type { Format } from '../settings.ts';

import { Pace } from './pace.ts';
import { isFinished, wordsOf } from './row.ts';
import type { View } from './view.ts';

/** A line for each change, or an object for each state. */
export function lineView({ screen }: Session): View {
  const ids = new ShortIds();
  const said = new Map<string, string>();
  const line = (backupId: string, words: string) => {
    const now = screen.time(timestampNow());
    return screen.print(`${now} ${ids.of(backupId)} ${words}`);
  };
  return {
    async show(run) {
      const { controller } = run;
      if (screen.format !== 'table') return screen.item(ControllerSchema, controller, () => '');
      const words = wordsOf(run, Date.now());
      // Up to the percent: how fast it goes is different every time.
      const news = words.match(/^.*?(%|$)/)![0] + (controller.cancelRequestTime ? ' to be cancelled' : '');
      if (said.get(controller.backupId) === news) return;
      said.set(controller.backupId, news);
      await line(controller.backupId, words);
    },
    async remove(backupId, controller) {
      if (controller && isFinished(controller)) return this.show({ controller, pace: new Pace() });
      said.delete(backupId);
      if (screen.format !== 'table') return screen.print(removed(backupId, screen.format));
      if (!controller) await line(backupId, 'was deleted');
    },
    [Symbol.dispose]() {},
  };
}

function removed(backupId: string, format: Format): string {
  return format === 'json' ? JSON.stringify({ backupId, removed: true }) : `---\nbackupId: ${backupId}\nremoved: true`;
}
