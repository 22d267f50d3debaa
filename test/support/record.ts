import { appendFileSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** What a worker was answered, about one attempt of one run. Times are epoch milliseconds of the database's clock. */
export type WorkerRecord = { worker: string; backupId: string; attempt: number } & Told;

export type Told =
  | { what: 'claim'; token: string; acquired: number; expires: number }
  | { what: 'report'; progress: number; expires: number }
  | { what: 'append'; firstId: number; lastId: number }
  | { what: 'finish'; outcome: number; sealedId: number }
  | { what: 'release' }
  | { what: 'lost' }
  /** No answer came, and the call could not be sent again. */
  | { what: 'unknown' };

/** Writes it down before anything else is done, so that a worker that is killed leaves all that it was told. */
export function writeRecord(folder: string, record: WorkerRecord): void {
  appendFileSync(join(folder, record.worker), `${JSON.stringify(record)}\n`);
}

/** All that the workers of this folder were told, each one's in its order. */
export function readRecords(folder: string): WorkerRecord[] {
  return readdirSync(folder).flatMap(name => {
    const lines = readFileSync(join(folder, name), 'utf8').split('\n');
    return lines.filter(Boolean).map(line => JSON.parse(line) as WorkerRecord);
  });
}
