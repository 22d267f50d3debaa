import { once } from 'node:events';
import { connect } from 'node:net';

/** Fails unless somebody accepts connections there. */
export async function accepts(port: number): Promise<void> {
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect').finally(() => socket.destroy());
}
