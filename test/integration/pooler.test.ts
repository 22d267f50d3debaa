import { strict as assert } from 'node:assert';
import { Outcome } from '../../src/gen/backup/v1/controller_pb.ts';
import { type Replica, startReplica } from '../support/backend.ts';
import { createDatabase, type Database } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { callAll } from '../support/example-call.ts';
import { locked } from '../support/locked.ts';
import { hasPgbouncer, startPgbouncer } from '../support/pgbouncer.ts';
import { endsWith } from '../support/status.ts';
import { Subscriber } from '../support/subscriber.ts';
import { append, newBackup, newBackupId, truthOf, writeAll } from '../support/writing.ts';

/** Nobody is woken by looking: what arrives in time was rung for. */
const TAIL_POLL = '60s';

if (!hasPgbouncer) console.warn('left out: PgBouncer (apt-get install pgbouncer)');

if (hasPgbouncer)
  describe('Through PgBouncer in transaction mode', () => {
    let house: AsyncDisposableStack;
    let database: Database;
    let one: Replica;
    let other: Replica;

    before(async () => {
      house = new AsyncDisposableStack();
      database = house.use(await createDatabase());
      const pooler = house.use(await startPgbouncer(database.url));
      const settings = { DATABASE_DIRECT_URL: database.url, TAIL_POLL };
      one = house.use(await startReplica(pooler.urlOf(database.url), settings));
      other = house.use(await startReplica(pooler.urlOf(database.url), settings));
    });
    after(() => house.disposeAsync());

    it('every method works', async () => {
      assert.ok((await callAll(one)).length > 30);
    });

    it('the service has one connection past it for each replica, the one that listens', async () => {
      const past = await database.query(
        "select application_name as name from pg_stat_activity where datname = current_database() and application_name like 'backup-management %'",
      );
      assert.deepEqual(
        past.map(({ name }) => name),
        ['backup-management doorbell', 'backup-management doorbell'],
      );
    });

    it('many writers lose and double nothing, and tails on both replicas are told it at once', async () => {
      const backupIds = [newBackupId(), newBackupId()];
      await using tails = new AsyncDisposableStack();
      const subscribers = [one, other].map(replica => tails.use(new Subscriber(replica, { backupIds, follow: true })));
      for (const subscriber of subscribers) await subscriber.told('caughtUp');
      const writers = Array.from({ length: 20 }, (_, i) =>
        writeAll([one, other], backupIds[i % 2]!, `writer ${i}`, 20),
      );
      await Promise.all(writers);
      const truth = await truthOf(database, backupIds);
      assert.equal(truth.length, 400);
      for (const subscriber of subscribers) {
        await subscriber.received(400);
        subscriber.history.complete(truth);
      }
    });

    it('callers that leave take their statements with them, and the pooler goes on', async () => {
      const backupIds = await Promise.all(Array.from({ length: 5 }, () => newBackup(one)));
      {
        await using _lock = await locked(database, 'select from backup_controllers for update');
        const gone = backupIds.map(backupId => one.controllers.deleteController({ backupId }, { timeoutMs: 500 }));
        for (const call of gone) await endsWith(call, 'DEADLINE_EXCEEDED');
        await eventually(async () => {
          const waiting = await database.query(
            "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
          );
          assert.equal(waiting.length, 0);
        });
      }
      for (const backupId of backupIds) await one.controllers.getController({ backupId });
    });

    it('a claim that waits is woken by work on the other replica', async () => {
      const claim = one.controllers.claimControllers({
        worker: 'w',
        filter: { format: 'pooled' },
        wait: { seconds: 20n },
      });
      await append(other, newBackupId(), ['something else']);
      const { controller } = await other.controllers.createController({
        operation: 1,
        type: 3,
        purpose: 70,
        status: 700,
        format: 'pooled',
      });
      const { claimed } = await claim;
      assert.equal(claimed[0]!.controller!.backupId, controller!.backupId);
    });

    it('courses are claimed once by many, and finished', async () => {
      const courses = Array.from({ length: 30 }, (_, i) => ({
        courseId: BigInt(i + 1),
        nextStartTime: { seconds: 1000n },
      }));
      await one.courses.upsertCourses({ courses });
      const claims = await Promise.all(
        [one, other, one, other].map(({ courses }) => courses.claimDueCourses({ worker: 'w', maxCourses: 10 })),
      );
      const claimed = claims.flatMap(({ claimed }) => claimed).filter(({ course }) => course!.courseId <= 30n);
      assert.equal(new Set(claimed.map(({ course }) => course!.courseId)).size, claimed.length);
      const finishes = claimed.map(({ controller, leaseToken }) => {
        return { backupId: controller!.backupId, leaseToken, outcome: Outcome.SUCCEEDED };
      });
      const { results } = await other.controllers.finishControllers({ finishes });
      assert.ok(results.length >= 25 && results.every(({ error }) => !error));
    });
  });
