import { createHmac, timingSafeEqual } from 'node:crypto';

/**
 * Tokens that clients keep and send back: readable by nobody in particular, but only this service can make them. The key is the
 * database's, so every replica knows the tokens of the others. A token proves where it came from; it grants no rights.
 */
export class Tokens {
  readonly #key: string;

  constructor(key: string) {
    this.#key = key;
  }

  /** `purpose` keeps the tokens of one use from being taken for another's. `content` must survive JSON. */
  seal(purpose: string, content: unknown): string {
    const body = Buffer.from(JSON.stringify(content));
    return Buffer.concat([this.#mac(purpose, body), body]).toString('base64url');
  }

  /** The content, or undefined when the token is not one of this purpose. */
  open(purpose: string, token: string): unknown {
    const bytes = Buffer.from(token, 'base64url');
    // Node reads other spellings of the same bytes, too, and leaves out what is no base64 at all.
    if (bytes.length <= MAC_BYTES || bytes.toString('base64url') !== token) return undefined;
    const body = bytes.subarray(MAC_BYTES);
    if (!timingSafeEqual(bytes.subarray(0, MAC_BYTES), this.#mac(purpose, body))) return undefined;
    return JSON.parse(body.toString());
  }

  #mac(purpose: string, body: Buffer): Buffer {
    return createHmac('sha256', this.#key).update(`${purpose}\0`).update(body).digest().subarray(0, MAC_BYTES);
  }
}

const MAC_BYTES = 16;
