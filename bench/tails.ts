// Subscribers of one log, a process of their own: node bench/tails.ts '{"address", "backupId", "subscribers", "lastId"}'. Each has a connection
// of its own, as those have who are programs. Prints `live` when all have caught up, and at the end when the entries came. Every subscriber has
// to get every entry up to the last one, once and in order, or this fails.
import { create, toBinary } from '@bufbuild/protobuf';
import { Metadata } from '@grpc/grpc-js';
import { LogService, TailLogsRequestSchema } from '../src/gen/backup/v1/log_pb.ts';
import { methodDefinition } from '../src/grpc/definition.ts';
import { connect } from './service.ts';
import { now, type Order, type Received } from './subscribe.ts';
import { eachField, readVarint } from './wire.ts';

const order = JSON.parse(process.argv[2]!) as Order;
const { path, requestSerialize, responseDeserialize } = methodDefinition(LogService.method.tailLogs);
const request = Buffer.from(
  toBinary(TailLogsRequestSchema, create(TailLogsRequestSchema, { backupIds: [order.backupId], follow: true })),
);

class Tail {
  lastId = 0;
  live = false;
  /** Of each message with entries, the last id and when it came. */
  readonly arrivals: [id: number, at: number][] = [];
  #message!: Buffer;

  take(message: Buffer): void {
    this.#message = message;
    const before = this.lastId;
    eachField(message, 0, message.length, this.#event);
    if (this.lastId > before) this.arrivals.push([this.lastId, now()]);
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
    if (id !== this.lastId + 1) throw new Error(`entry ${id} came behind ${this.lastId}`);
    this.lastId = id;
  };
}

// Numbers of fields in log.proto; `entries` has the same one in the event and in the answer around it.
const ENTRIES = 2;
const CAUGHT_UP = 3;
const ID = 2;

const opened = now();
const tails = Array.from({ length: order.subscribers }, () => new Tail());
let waiting = tails.length;
let following = tails.length;
const calls = tails.map(tail => {
  const channel = connect(order.address);
  const call = channel.makeServerStreamRequest(path, requestSerialize, responseDeserialize, request, new Metadata());
  call.on('error', (error: Error) => {
    if (following > 0) throw error;
  });
  call.on('data', (message: Buffer) => {
    const wasLive = tail.live;
    const had = tail.lastId;
    tail.take(message);
    if (tail.live && !wasLive && --waiting === 0) console.log('live');
    if (tail.lastId > order.lastId) throw new Error(`entry ${tail.lastId} was never written`);
    if (tail.lastId === order.lastId && had < order.lastId && --following === 0) finish();
  });
  return { call, channel };
});

function finish(): void {
  const all = tails.flatMap(({ arrivals }) => arrivals.map(([, at]) => at));
  const [first, last] = [
    Math.min(...tails.map(({ arrivals }) => arrivals[0]![1])),
    all.reduce((a, b) => Math.max(a, b)),
  ];
  const received: Received = { opened, first, last, messages: all.length, arrivals: tails[0]!.arrivals };
  console.log(JSON.stringify(received));
  for (const { call, channel } of calls) {
    call.cancel();
    channel.close();
  }
}
