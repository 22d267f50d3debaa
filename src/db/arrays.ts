/**
 * Arrays in PostgreSQL's binary form, as parameters: pg would write them as text, which both sides then look at character by character. A
 * thousand lines of 150 characters take 0.7 ms to send and unnest instead of 1.25.
 */
export function textArray(texts: readonly string[]): Buffer {
  const bytes = texts.reduce((sum, text) => sum + LENGTH + Buffer.byteLength(text), 0);
  const array = begin(TEXT, texts.length, bytes);
  let at = array.length - bytes;
  for (const text of texts) {
    const length = array.write(text, at + LENGTH);
    array.writeInt32BE(length, at);
    at += LENGTH + length;
  }
  return array;
}

export function smallintArray(numbers: readonly number[]): Buffer {
  return numberArray(SMALLINT, 2, numbers);
}

export function integerArray(numbers: readonly number[]): Buffer {
  return numberArray(INTEGER, 4, numbers);
}

/** `size` is that of a number, in bytes. */
function numberArray(type: number, size: 2 | 4, numbers: readonly number[]): Buffer {
  const bytes = numbers.length * (LENGTH + size);
  const array = begin(type, numbers.length, bytes);
  let at = array.length - bytes;
  for (const number of numbers) {
    at = array.writeInt32BE(size, at);
    at = size === 2 ? array.writeInt16BE(number, at) : array.writeInt32BE(number, at);
  }
  return array;
}

/** With its header, and room for so many bytes behind it. */
function begin(type: number, count: number, bytes: number): Buffer {
  // Number of dimensions, whether there are nulls, type of the elements; of each dimension the length and the first index.
  const header = count === 0 ? [0, 0, type] : [1, 0, type, count, 1];
  const array = Buffer.allocUnsafe(header.length * 4 + bytes);
  for (const [i, field] of header.entries()) array.writeInt32BE(field, i * 4);
  return array;
}

// Object ids of the types, the same in every PostgreSQL.
const SMALLINT = 21;
const INTEGER = 23;
const TEXT = 25;

/** Before each element. */
const LENGTH = 4;
