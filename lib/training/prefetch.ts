/** Values that are loaded in order, the next `ahead` of them while the last is in use. */
export class Prefetch<T> {
  readonly #loading: Promise<T>[] = [];
  #next: number;

  /**
   * @param first The index that {@link take} begins with
   * @param end The index after the last
   * @param ahead How many values may wait, or be under way, beside the one in use; 0 loads when asked
   */
  constructor(
    first: number,
    readonly end: number,
    readonly ahead: number,
    readonly load: (index: number) => Promise<T>,
  ) {
    this.#next = first;
  }

  /** The next value. A failed load fails here, at its turn. */
  async take(): Promise<T> {
    this.#start(1);
    const value = await this.#loading.shift()!;
    this.#start(this.ahead);
    return value;
  }

  /** Waits for what is under way and forgets it. */
  async close(): Promise<void> {
    this.#next = this.end;
    await Promise.allSettled(this.#loading.splice(0));
  }

  #start(waiting: number): void {
    while (this.#loading.length < waiting && this.#next < this.end) {
      const value = this.load(this.#next++);
      value.catch(() => undefined); // reported by take
      this.#loading.push(value);
    }
  }
}
