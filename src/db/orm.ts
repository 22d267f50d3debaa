import { fileURLToPath } from 'node:url';
import { Migrator } from '@mikro-orm/migrations';
import { defineConfig, MikroORM } from '@mikro-orm/postgresql';
import { Controller, Exclusive, Removal } from '../controller/entity.ts';
import { Course, CourseRun } from '../course/entity.ts';
import { LogEntry, LogHead, LogRequest, LogWriter } from '../log/entity.ts';
import { LogImport } from '../moodle/entity.ts';
import { Payload, PayloadChunk } from '../payload/entity.ts';
import { AnsweredRequest } from '../request/entity.ts';
import { LogSegment, SegmentRemoval } from '../segment/entity.ts';
import { type SessionOptions, sessionOptions } from './session.ts';
import { Setting } from './setting.ts';

export type DatabaseOptions = SessionOptions & {
  url: string;
  poolSize: number;
  /** How long a statement may wait for a lock; without it as long as it may run. */
  lockTimeoutMs?: number;
  /** Told of migrations, and of connections that break while nothing uses them. */
  log: (message: string) => void;
};

/** The folder of the migrations. */
export const MIGRATIONS = fileURLToPath(new URL('./migrations', import.meta.url));

/** Opens the ORM. No connection is made before the first statement. */
export function openOrm(options: DatabaseOptions): Promise<MikroORM> {
  return MikroORM.init(
    defineConfig({
      clientUrl: options.url,
      entities: [
        Controller,
        Exclusive,
        Removal,
        Payload,
        PayloadChunk,
        Course,
        CourseRun,
        LogEntry,
        LogHead,
        LogRequest,
        LogWriter,
        LogImport,
        LogSegment,
        SegmentRemoval,
        AnsweredRequest,
        Setting,
      ],
      extensions: [Migrator],
      forceUtcTimezone: true,
      pool: { min: 0, max: options.poolSize },
      driverOptions: {
        ...sessionOptions(options),
        ...(options.lockTimeoutMs && { lock_timeout: options.lockTimeoutMs }),
      },
      logger: options.log,
      colors: false,
      migrations: {
        path: MIGRATIONS,
        emit: 'ts',
        tableName: 'backup_migrations',
        snapshotName: '.snapshot',
        // Else every migration of a database rewrites the file in the source.
        snapshotOnMigrate: false,
      },
    }),
  );
}
