import type { DescService } from '@bufbuild/protobuf';
import { ErrorReason, StatusError } from '../errors.ts';
import { HealthCheckResponse_ServingStatus as Answer, type Health } from '../gen/health/v1/health_pb.ts';
import { Latch } from '../latch.ts';
import { endedBy, type Handlers } from './bind.ts';

/** Whether the services can serve: the standard health protocol, by service name, with the empty name for all of them. */
export class ServingState {
  readonly #names: Set<string>;
  readonly #latches = new Set<Latch>();
  #serving = false;

  constructor(services: readonly DescService[]) {
    this.#names = new Set(['', ...services.map(service => service.typeName)]);
  }

  get serving(): boolean {
    return this.#serving;
  }

  set serving(serving: boolean) {
    if (serving === this.#serving) return;
    this.#serving = serving;
    for (const latch of this.#latches) latch.set();
  }

  /** The handlers of `grpc.health.v1.Health`. A watch ends when the server drains: `grpc-health-check`'s would hold the shutdown up. */
  handlers(): Handlers<typeof Health> {
    const answer = (name: string) =>
      this.#names.has(name) ? (this.#serving ? Answer.SERVING : Answer.NOT_SERVING) : Answer.SERVICE_UNKNOWN;
    const latches = this.#latches;
    return {
      async check({ service }) {
        const status = answer(service);
        if (status === Answer.SERVICE_UNKNOWN) {
          throw new StatusError(ErrorReason.SERVICE_UNKNOWN, `there is no service ${JSON.stringify(service)} here`);
        }
        return { status };
      },

      list: async () => ({
        statuses: Object.fromEntries([...this.#names].map(name => [name, { status: answer(name) }])),
      }),

      async *watch({ service }, { signal, wrapUp }) {
        const latch = new Latch();
        latches.add(latch);
        const stop = AbortSignal.any([signal, wrapUp]);
        try {
          for (let told: Answer | undefined; ; ) {
            latch.clear();
            const status = answer(service);
            if (status !== told) yield { status };
            told = status;
            if (wrapUp.reason === 'TOKEN_EXPIRED') throw endedBy('TOKEN_EXPIRED');
            if (stop.aborted) return;
            await latch.wait(LONGEST_TIMER_MS, stop);
          }
        } finally {
          latches.delete(latch);
        }
      },
    };
  }
}

const LONGEST_TIMER_MS = 2 ** 31 - 1;
