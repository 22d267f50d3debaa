import type { MikroORM } from '@mikro-orm/postgresql';
import type { Pool } from 'pg';
import type { Probe } from '../batch.ts';
import type { Doorbell } from '../db/doorbell.ts';
import type { Standby } from '../db/standby/standby.ts';
import type { Tell } from '../log/append.ts';
import type { Appender } from '../log/appender.ts';
import type { Rounds } from '../retention/rounds.ts';
import type { Archive } from '../segment/archive.ts';
import type { Hub as Tails } from '../tail/hub.ts';
import type { Tokens } from '../tokens.ts';
import type { Hub as Watch } from '../watch/hub.ts';

/** What the services work with, opened. */
export type Opened = {
  orm: MikroORM;
  pool: Pool;
  /** For the statements that run all the time. */
  hot: Pool;
  standby: Standby | undefined;
  doorbell: Doorbell;
  tokens: Tokens;
  watches: Watch;
  tails: Tails;
  tell: Tell;
  archive: Archive;
  appender: Appender;
  probe: Probe | undefined;
  /** Those of retention, which begin after the services. */
  rounds: () => Rounds;
};
