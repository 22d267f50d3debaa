// Subscribers of one log, a process of its own: node bench/tails.ts '{"address", "backupId", "subscribers", "lastId", "loose"}'. Every one of them
// has to get every entry up to the last one, once and in order, or this fails; what is loose may leave ids out.
import { create, toBinary } from '@bufbuild/protobuf';
import { LogService, TailLogsRequestSchema } from '../src/gen/backup/v1/log_pb.ts';
import { overGrpc, type Stream, stream } from './subscribe.ts';
import { eachField, readVarint } from './wire.ts';

const { address, backupId, subscribers, lastId, loose } = JSON.parse(process.argv[2]!) as {
  address: string;
  backupId: string;
  subscribers: number;
  lastId: number;
  loose?: boolean;
};

// Numbers of fields in log.proto; `entries` has the same one in the event and in the answer around it.
const ENTRIES = 2;
const CAUGHT_UP = 3;
const ID = 2;

class Tail implements Stream {
  live = false;
  over = false;
  count = 0;
  #message!: Buffer;

  take(message: Buffer): void {
    this.#message = message;
    eachField(message, 0, message.length, this.#event);
  }

  #event = (field: number, from: number, to: number): void => {
    if (field === ENTRIES) eachField(this.#message, from, to, this.#entries);
    if (field === CAUGHT_UP) this.live = true;
  };

  #entries = (field: number, from: number, to: number): void => {
    if (field === ENTRIES) eachField(this.#message, from, to, this.#entry);
  };

  #entry = (field: number, from: number): void => {
    if (field !== ID) return;
    const id = readVarint(this.#message, from);
    if (id !== this.count + 1 && !(loose && id > this.count)) throw new Error(`entry ${id} came behind ${this.count}`);
    if (id > lastId) throw new Error(`entry ${id} was never written`);
    this.count = id;
    this.over = id === lastId;
  };
}

const request = toBinary(TailLogsRequestSchema, create(TailLogsRequestSchema, { backupIds: [backupId], follow: true }));
stream(subscribers, () => new Tail(), overGrpc(LogService.method.tailLogs, request, address));
