import { createCipheriv, createHash } from 'node:crypto';
import { join } from 'node:path';
import pg from 'pg';
import { alternate, compare, compareCost, type Figure, lower } from './figure.ts';
import { type Controllers, controllersOf } from './lease.ts';
import { newBackupId } from './raw-append.ts';
import { connect, createDatabase, residentMiB, type Service, startProgram, startService } from './service.ts';
import { follow } from './subscribe.ts';

const MiB = 2 ** 20;
const SIZE = 512 * MiB;
const CHUNK = 256 * 1024;
const WARM_UP = 16 * MiB;

/**
 * MiB per second of a payload that is downloaded, beside the lower one of what a download cannot do without: to read the rows, and to send chunks of
 * 256 KiB. And by how much the service grows while 512 MiB go up, and while they come down.
 */
export async function payloads(serverUrl: string, rounds: number): Promise<Figure[]> {
  const url = await createDatabase(serverUrl, 'bench_payload');
  await using service = await startService(url);
  await using server = await startProgram(join(import.meta.dirname, 'broadcast.ts'), {
    SUBSCRIBERS: '1',
    MESSAGES: String(SIZE / CHUNK + 1),
    SIZE: String(CHUNK),
  });
  const channel = connect(service.address);
  const controllers = controllersOf(channel);
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const backupId = newBackupId();
  await insert(client, backupId);
  await upload(controllers, backupId, WARM_UP);
  await download(service.address, backupId, WARM_UP);

  const before = residentMiB(service);
  const up = await growth(service, before, () => upload(controllers, backupId, SIZE));
  await client.query('checkpoint');
  const down: number[] = [];
  const contestants = [
    {
      name: 'payload service',
      run: async () => {
        let rate = 0;
        const receive = async () => {
          rate = await download(service.address, backupId, SIZE);
        };
        down.push(await growth(service, before, receive));
        return rate;
      },
    },
    { name: 'payload raw read', run: () => raw(client, backupId) },
    { name: 'payload grpc-js, 256 KiB', run: () => download(server.address, backupId, SIZE) },
  ];
  const rates = await alternate(contestants, rounds, 'MiB/s');
  channel.close();
  await client.end();
  const [mine, read, sent] = [...rates.values()];
  const figure = compare('payload', mine!, lower(read!, sent!), 0.8);
  return [
    { ...figure, unit: 'MiB/s' },
    compareCost('payload: memory grows, up', [up], [64], 1, 'MiB'),
    compareCost('payload: memory grows, down', [Math.max(...down)], [64], 1, 'MiB'),
  ];
}

async function insert(client: pg.Client, backupId: string): Promise<void> {
  await client.query(
    `insert into backup_controllers (backupid, operation, type, itemid, format, interactive, purpose, userid, status, execution)
     values ($1, 'backup', 'course', 1, 'moodle2', 0, 10, 1, 700, 1)`,
    [backupId],
  );
}

async function upload(controllers: Controllers, backupId: string, size: number): Promise<void> {
  const kept = await controllers.uploadPayload(parts(backupId, size));
  if (kept.size !== BigInt(size)) throw new Error('not all was kept');
}

/** Bytes that are made on the way and look like chance. */
function* parts(backupId: string, size: number) {
  yield { part: { case: 'start' as const, value: { backupId } } };
  const noise = createCipheriv('aes-128-ctr', Buffer.alloc(16, 1), Buffer.alloc(16, 2));
  const nothing = Buffer.alloc(MiB);
  const hash = createHash('md5');
  for (let sent = 0; sent < size; sent += MiB) {
    const value = noise.update(nothing);
    hash.update(value);
    yield { part: { case: 'chunk' as const, value } };
  }
  yield { part: { case: 'finish' as const, value: { checksum: hash.digest('hex') } } };
}

async function download(address: string, backupId: string, size: number): Promise<number> {
  const { received } = follow('downloads.ts', { address, backupId });
  const { count, opened, last } = await received;
  if (count !== size) throw new Error(`${count} of ${size} bytes have come`);
  return size / MiB / ((last - opened) / 1000);
}

/** The chunks as they are stored: base64, which nobody decodes here. */
async function raw(client: pg.Client, backupId: string): Promise<number> {
  const found = await client.query('select uploadid from backup_payloads where backupid = $1', [backupId]);
  const start = performance.now();
  let characters = 0;
  for (let n = 0, more = true; more; n += 32) {
    const { rows } = await client.query({
      name: 'raw-payload',
      text: `select data from backup_payload_chunks where backupid = $1 and uploadid = $2 and n > $3 and n <= $3 + 32 order by n`,
      values: [backupId, found.rows[0].uploadid, n],
    });
    for (const { data } of rows) characters += data.length;
    more = rows.length > 0;
  }
  if (characters !== Math.ceil(SIZE / 3) * 4) throw new Error('rows are missing');
  return SIZE / MiB / ((performance.now() - start) / 1000);
}

/** By how many MiB a service is at most larger than before, while something goes on. */
async function growth(service: Service, before: number, work: () => Promise<void>): Promise<number> {
  let most = before;
  const timer = setInterval(() => {
    most = Math.max(most, residentMiB(service));
  }, 50);
  await work();
  clearInterval(timer);
  return most - before;
}
