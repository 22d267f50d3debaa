/**
 * One answer for all who ask the same within a time: a report counts the log entries of all that it shows, and a hundred browsers that look at it
 * must not cost more than one. What fails is not kept.
 */
export class RecentAnswers<T> {
  readonly #keepMs: number;
  readonly #answers = new Map<string, Promise<T>>();

  constructor(keepMs: number) {
    this.#keepMs = keepMs;
  }

  get(key: string, read: () => Promise<T>): Promise<T> {
    const known = this.#answers.get(key);
    if (known !== undefined) return known;
    const answer = read();
    // Above this many, whoever asks is no reader; each reads for itself then.
    if (this.#answers.size >= MOST) return answer;
    this.#answers.set(key, answer);
    const forget = () => this.#answers.delete(key);
    answer.then(() => setTimeout(forget, this.#keepMs).unref(), forget);
    return answer;
  }
}

const MOST = 100;
