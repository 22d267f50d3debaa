/** One connection by which replicas ring one another. When it breaks another one takes its place. */
export type Connection = {
  /** Connects; when it resolves, what others send is heard. */
  listen(): Promise<void>;
  /** Resolves when the other end has taken it. Whoever else listens hears each payload as it is; this connection does not. */
  send(payloads: string[]): Promise<void>;
  /** Whether somebody else listens. That is an answer of the other end, so it proves that the connection is alive, too. */
  othersListen(): Promise<boolean>;
  /** Does not wait for an other end that may be dead. */
  close(): void;
};

export type ConnectionOptions = {
  /** With user and password. */
  url: string;
  /** The name under which the replicas on one database meet on a broker; letters, digits, `_` and `.`. */
  channel: string;
  /** How long connecting may take. */
  timeoutMs: number;
  heard: (payload: string) => void;
  /** May be called more than once, and after `close`. */
  broken: (error: Error) => void;
};

export type Transport = (options: ConnectionOptions) => Connection;
