import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import type { Dice } from '../support/dice.ts';
import { eventually } from '../support/eventually.ts';
import type { SmallDisk } from './disk.ts';
import type { House } from './house.ts';
import { hasFaketime, type ServiceProcess } from './service-process.ts';

export type Place = { house: House; disk: SmallDisk | undefined; dice: Dice };

/** Injects a fault, and resolves when it has ended. */
type Fault = (place: Place, replica: ServiceProcess) => Promise<void>;

/** How long a fault that has a duration lasts, in milliseconds: some less and some more than a call may take. */
const lasts = (dice: Dice) => delay(500 + dice.below(2500));

/** What can go wrong, by name. */
export const FAULTS: Record<string, Fault> = {
  'replica SIGKILL': async (_, replica) => {
    await replica.end('SIGKILL');
    await replica.serve();
  },
  'replica SIGTERM': async (_, replica) => {
    await replica.end('SIGTERM');
    await replica.serve();
  },
  'PostgreSQL SIGKILL': async ({ house }) => {
    await house.killPostgres();
    await house.startPostgres();
  },
  'PostgreSQL restart': async ({ house }) => {
    await house.stopPostgres();
    await house.startPostgres();
  },
  // The server ends all others with it, and recovers by itself.
  'PostgreSQL backend SIGKILL': async ({ house }) => {
    const [backend] = await house.database.query(
      "select pid from pg_stat_activity where application_name = 'backup-management' order by state_change desc limit 1",
    );
    process.kill(Number(backend!['pid']), 'SIGKILL');
    await eventually(() => house.database.query('select 1'));
  },
  'database half-open': async (_, replica) => {
    replica.toDatabase.freeze();
  },
  'client half-open': async (_, replica) => {
    replica.toClients.freeze();
  },
  'database connections reset': async (_, replica) => replica.toDatabase.cut(),
  'client connections reset': async (_, replica) => replica.toClients.cut(),
  latency: async ({ dice }, replica) => {
    replica.toDatabase.latencyMs = dice.below(150);
    replica.toClients.latencyMs = dice.below(150);
    await lasts(dice);
    replica.toDatabase.latencyMs = 0;
    replica.toClients.latencyMs = 0;
  },
  // Whatever is called waits for the lock, until no connection is left.
  'pool exhaustion': async ({ house, dice }) => {
    const client = new pg.Client({ connectionString: house.url });
    await client.connect();
    try {
      const table = dice.pick(['backup_controllers', 'backup_log_heads', 'backup_courses']);
      await client.query(`begin; lock table ${table} in access exclusive mode`);
      await lasts(dice);
    } finally {
      await client.end();
    }
  },
  'disk full': async ({ disk, dice }) => {
    disk!.fill();
    await lasts(dice);
    disk!.free();
  },
  'clock jump': async ({ house, dice }) => {
    const seconds = dice.pick([-86_400, -60, 60, 3600, 86_400, 0]);
    writeFileSync(clockFile(house), seconds < 0 ? String(seconds) : `+${seconds}`);
    await lasts(dice);
  },
};

/** Where the first replica of a house reads how far its clock is off. */
export function clockFile(house: { folder: string }): string {
  return join(house.folder, 'clock');
}

/** Those that this machine cannot have, with the reason. */
export function missingFaults({ disk }: Pick<Place, 'disk'>): Record<string, string> {
  return {
    ...(!disk && { 'disk full': 'only root can mount a disk' }),
    ...(!hasFaketime && { 'clock jump': 'the package faketime is not there' }),
  };
}
