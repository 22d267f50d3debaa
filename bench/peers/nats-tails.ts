// Subscribers of one stream of JetStream, a process of their own: node nats-tails.ts '{"port", "log", "subscribers", "lastId"}'. Each has a connection
// and a consumer of its own that pushes without acknowledgements, and has to get every entry, once and in order.
import { type Stream, stream } from '../subscribe.ts';
import { NatsConnection, newInbox } from './nats.ts';

const { port, log, subscribers, lastId } = JSON.parse(process.argv[2]!) as {
  port: number;
  log: string;
  subscribers: number;
  lastId: number;
};

class Tail implements Stream {
  live = false;
  count = 0;

  get over(): boolean {
    return this.count === lastId;
  }

  /** The subject to acknowledge to has the number of the entry in it: `$JS.ACK.stream.consumer.deliveries.number...`. */
  take(reply: Buffer): void {
    if (reply.length === 0) {
      this.live = true;
      return;
    }
    const id = Number(reply.toString('latin1').split('.')[5]);
    if (id !== this.count + 1) throw new Error(`entry ${id} came behind ${this.count}`);
    this.count = id;
  }
}

stream(
  subscribers,
  () => new Tail(),
  take => {
    const connection = new NatsConnection(port);
    void consume(connection, take);
    return () => connection[Symbol.dispose]();
  },
);

async function consume(connection: NatsConnection, take: (message: Buffer) => void): Promise<void> {
  const [entries, answers] = [newInbox(), newInbox()];
  await connection.subscribe(entries, (_subject, reply) => take(Buffer.from(reply, 'latin1')));
  await connection.subscribe(answers, (_subject, _reply, payload) => {
    const { error } = JSON.parse(payload.toString()) as { error?: { description: string } };
    if (error) throw new Error(error.description);
    take(Buffer.alloc(0));
  });
  const config = { deliver_subject: entries, ack_policy: 'none', deliver_policy: 'all', replay_policy: 'instant' };
  connection.publish(`$JS.API.CONSUMER.CREATE.${log}`, JSON.stringify({ stream_name: log, config }), answers);
}
