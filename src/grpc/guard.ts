import type { DescMethod } from '@bufbuild/protobuf';
import type { ServerUnaryCall } from '@grpc/grpc-js';
import type { StatusError } from '../errors.ts';

/** Says for each method who may call it; of a method that everybody may call, nothing. Asked once, when the method is bound. */
export type Guard = (method: DescMethod) => Admit | undefined;

/** Who calls, or a refusal. Sees nothing of the request. What is known already is answered at once: calls of one connection keep their order. */
export type Admit = (call: Arrival) => Identity | Promise<Identity>;

export type Arrival = Pick<ServerUnaryCall<unknown, unknown>, 'metadata' | 'getAuthContext'>;

/** Who calls, proved. */
export type Identity = {
  readonly caller: string;
  /** What this caller may do, in words of whoever made the guard. */
  readonly scopes?: ReadonlySet<string>;
  /** Epoch milliseconds at which the proof ends, and with it the caller's streams. */
  readonly until?: number;
  /** Why this caller may not call this method. */
  readonly refusal?: StatusError;
};
