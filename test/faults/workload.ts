import { strict as assert } from 'node:assert';
import type { Controller } from '../../src/gen/backup/v1/controller_pb.ts';
import { Crew } from '../integration/chaos/crew.ts';
import { type Figures, prove } from '../integration/chaos/proof.ts';
import type { Dice } from '../support/dice.ts';
import { eventually } from '../support/eventually.ts';
import { readRecords } from '../support/record.ts';
import { newBackupId, truthOf } from '../support/writing.ts';
import { appendLines } from './actors/appends.ts';
import { type CourseRuns, runCourses } from './actors/courses.ts';
import { carryPayloads, download, type Payloads } from './actors/payloads.ts';
import { KEEPER, keepRecords, type Records } from './actors/records.ts';
import { FORMAT, queueRuns } from './actors/runs.ts';
import { streamLines } from './actors/streams.ts';
import { Follower } from './actors/tails.ts';
import { Watcher } from './actors/watches.ts';
import type { Entrance } from './caller.ts';
import { Cast } from './cast.ts';
import type { House } from './house.ts';
import type { Model } from './model.ts';

/** What was acknowledged, and what became of it. */
export type Outcome = {
  acknowledged: number;
  broken: number;
  lines: number;
  lost: number;
  doubled: number;
  streams: number;
} & Figures;

/** Everything that clients do, at once, until `end`; and whether what they were told is what is there. */
export class Workload implements AsyncDisposable {
  readonly #house: House;
  readonly #cast: Cast;
  readonly #entrance: Entrance;
  readonly #leave = new AbortController();
  readonly #followers: Follower[];
  readonly #watchers: Watcher[];
  readonly #crew: Crew;
  readonly #backupIds = [newBackupId(), newBackupId()];
  readonly #records: Records = new Map();
  readonly #payloads: Payloads = new Map();
  readonly #courseRuns: CourseRuns = [];
  readonly #queued = new Set<string>();

  /** By way of the replicas themselves, or of what stands in front of them. */
  constructor(house: House, dice: Dice, replicas: Entrance[] = house.replicas) {
    this.#house = house;
    this.#entrance = replicas[0]!;
    this.#cast = new Cast(house, dice, replicas);
    const { scene } = this.#cast;
    const [one, other] = this.#backupIds as [string, string];
    const leave = this.#leave.signal;
    this.#followers = ['tail 1', 'tail 2', 'tail 3'].map(name => new Follower(name, scene, [one, other], leave));
    this.#watchers = ['watch 1', 'watch 2'].map(name => new Watcher(name, scene, leave));
    this.#cast.enter(
      appendLines('append 1', scene, one),
      appendLines('append 2', scene, one),
      appendLines('append 3', scene, other),
      streamLines('stream 1', scene, one),
      streamLines('stream 2', scene, other),
      keepRecords('records 1', scene, this.#records),
      keepRecords('records 2', scene, this.#records),
      carryPayloads('payloads', scene, this.#payloads),
      runCourses('courses', scene, this.#courseRuns),
      queueRuns('queue', scene, this.#queued),
    );
    this.#cast.watch(...[...this.#followers, ...this.#watchers].map(({ over }) => over));
    this.#crew = new Crew(
      replicas.map(({ address }) => address),
      dice,
      { WORKER_FORMAT: FORMAT },
    );
    for (let i = 0; i < 2; i++) this.#crew.hire();
  }

  get model(): Model {
    return this.#cast.model;
  }

  /** As `Cast.recovered`. */
  recovered(since: number, withinMs: number): Promise<number> {
    return this.#cast.recovered(since, withinMs);
  }

  /** Lets everybody end what they are about, and compares. */
  async end(): Promise<Outcome> {
    const { database } = this.#house;
    await this.#cast.end();
    await eventually(async () => {
      const open = await database.query('select backupid from backup_controllers where format = $1 and status < 900', [
        FORMAT,
      ]);
      assert.deepEqual(open, []);
    });
    await this.#crew.leave();
    const figures = await prove(database, readRecords(this.#crew.folder), this.#crew.killed, FORMAT);
    const truth = await truthOf(database as Parameters<typeof truthOf>[0], this.model.backupIds);
    const { lines, lost, doubled } = this.model.compare(truth);
    for (const follower of this.#followers) await follower.complete(truth);
    lost.push(...(await this.#lostRecords()));
    for (const [backupId, md5] of this.#payloads)
      if ((await download(this.#entrance, backupId)) !== md5) lost.push(`payload of ${backupId}`);
    doubled.push(...(await this.#compareCourses(lost)));
    assert.deepEqual({ lost, doubled }, { lost: [], doubled: [] });
    const streams = this.#followers.reduce((sum, follower) => sum + follower.streams, 0);
    const { acknowledged, broken } = this.model;
    return {
      acknowledged,
      broken: broken.length,
      lines,
      lost: lost.length,
      doubled: doubled.length,
      streams,
      ...figures,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#cast.stop();
    this.#leave.abort();
    await this.#crew[Symbol.asyncDispose]();
  }

  /** Controllers that are not as they were last answered; watches must know the same. */
  async #lostRecords(): Promise<string[]> {
    const { controllers } = this.#entrance;
    const there = new Map<string, Controller>();
    for (let pageToken = ''; ; ) {
      const page = await controllers.listControllers({ filter: { userId: KEEPER }, pageSize: 1000, pageToken });
      for (const controller of page.controllers) there.set(controller.backupId, controller);
      pageToken = page.nextPageToken;
      if (!pageToken) break;
    }
    for (const watcher of this.#watchers) await watcher.complete([...there.values()]);
    const queued = await this.#house.database.query('select backupid from backup_controllers where format = $1', [
      FORMAT,
    ]);
    assert.deepEqual(
      new Set(queued.map(row => row['backupid'])),
      this.#queued,
      'runs that nobody has queued, or not all',
    );
    const lost = [...this.#records].filter(([backupId, known]) => {
      return there.get(backupId)?.etag !== (known === 'deleted' ? undefined : known.etag);
    });
    assert.ok(
      [...there.keys()].every(backupId => this.#records.has(backupId)),
      'a controller that nobody has made',
    );
    return lost.map(([backupId]) => `controller ${backupId}`);
  }

  /** Starts of courses that have run more than once. */
  async #compareCourses(lost: string[]): Promise<string[]> {
    const rows = await this.#house.database.query(
      'select courseid::int, slot::int, backupid, outcome from backup_course_runs where kind = 1',
    );
    const key = (courseId: unknown, slot: unknown) => `course ${courseId} at ${slot}`;
    const there = new Map(rows.map(row => [key(row['courseid'], row['slot']), row]));
    for (const { courseId, slot, backupId, outcome } of this.#courseRuns) {
      const row = there.get(key(courseId, slot));
      if (row?.['backupid'] !== backupId || row['outcome'] !== outcome) lost.push(key(courseId, slot));
      there.delete(key(courseId, slot));
    }
    return [...there.keys()];
  }
}
