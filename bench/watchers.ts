// Watchers of the same controllers, a process of its own: node bench/watchers.ts '{"address", "backupIds", "subscribers"}'. Every one of them has to
// see the progress of every controller come to 1 and never go back, or this fails or waits for ever. What it counts are updates: states of a
// controller with more progress than the one before. A watcher that is slow is told the latest state only, so some are left out.
import { create, toBinary } from '@bufbuild/protobuf';
import { ControllerService, WatchControllersRequestSchema } from '../src/gen/backup/v1/controller_pb.ts';
import { overGrpc, type Stream, stream } from './subscribe.ts';
import { eachField } from './wire.ts';

const { address, backupIds, subscribers } = JSON.parse(process.argv[2]!) as {
  address: string;
  backupIds: string[];
  subscribers: number;
};

// Numbers of fields in controller.proto.
const CONTROLLERS = 2;
const RESUME_TOKEN = 4;
const BACKUP_ID = 2;
const PROGRESS = 14;

class Watch implements Stream {
  live = false;
  over = false;
  count = 0;
  readonly #progress = new Map<string, number>();
  #finished = 0;
  #message!: Buffer;
  #told = { backupId: '', progress: 0 };

  take(message: Buffer): void {
    this.#message = message;
    eachField(message, 0, message.length, this.#event);
  }

  #event = (field: number, from: number, to: number): void => {
    if (field === RESUME_TOKEN) this.live = true;
    if (field !== CONTROLLERS) return;
    this.#told = { backupId: '', progress: 0 };
    eachField(this.#message, from, to, this.#controller);
    this.#note(this.#told);
  };

  #controller = (field: number, from: number, to: number): void => {
    if (field === BACKUP_ID) this.#told.backupId = this.#message.toString('latin1', from, to);
    if (field === PROGRESS) this.#told.progress = this.#message.readDoubleLE(from);
  };

  #note({ backupId, progress }: { backupId: string; progress: number }): void {
    const before = this.#progress.get(backupId) ?? 0;
    if (progress < before) throw new Error(`${backupId} went back from ${before} to ${progress}`);
    if (progress === before) return;
    this.#progress.set(backupId, progress);
    this.count++;
    if (progress === 1 && ++this.#finished === backupIds.length) this.over = true;
  }
}

const request = toBinary(WatchControllersRequestSchema, create(WatchControllersRequestSchema, { backupIds }));
stream(subscribers, () => new Watch(), overGrpc(ControllerService.method.watchControllers, request, address));
