import type { Pool } from 'pg';
import type { Backlog } from '../summary/backlog.ts';

/** What a replica knows of itself anyhow: metrics are copied from here when they are asked for. */
export type Books = {
  /** Whether health says SERVING. */
  readonly health: { readonly serving: boolean };
  readonly admission: {
    readonly calls: number;
    readonly streams: number;
    readonly refused: ReadonlyMap<string, number>;
  };
  readonly appender: { readonly queue: { bytes: number; mostBytes: number } };
  readonly tails: { readonly size: { logs: number; readers: number; recentBytes: number }; readonly lag: number };
  readonly watches: { readonly size: { watchers: number } };
  readonly doorbell: {
    readonly connected: boolean | undefined;
    readonly connections: number;
    readonly dropped: number;
  };
  readonly sweeps: { readonly leasesLost: number; readonly coursesRepaired: number };
  readonly retention: {
    readonly intervalMs: number | undefined;
    readonly lastRound: number;
    readonly deleted: { readonly controllers: number; readonly logEntries: number };
  };
  /** Where there is one. */
  readonly standby:
    | {
        readonly state: string;
        readonly lagMs: number;
        readonly reads: Readonly<Record<'primary' | 'standby', number>>;
        readonly fallbacks: number;
      }
    | undefined;
  readonly archive: {
    readonly cachedBytes: number;
    readonly reads: {
      readonly store: number;
      readonly cache: number;
      readonly unavailable: number;
      readonly lost: number;
    };
  };
  readonly segments: {
    readonly intervalMs: number | undefined;
    readonly lastRound: number;
    readonly moved: { readonly segments: number; readonly entries: number; readonly bytes: number };
    readonly removed: number;
    readonly failed: number;
  };
  readonly pools: Readonly<Record<string, Pool>>;
  readBacklog(): Promise<Backlog>;
};
