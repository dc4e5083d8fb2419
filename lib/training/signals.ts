type StopName = 'SIGINT' | 'SIGTERM';

/** Exit codes of a process that was stopped by a signal: 128 and its number, as shells have it. */
export const SIGNAL_EXIT_CODES: Record<StopName, number> = { SIGINT: 130, SIGTERM: 143 };

/**
 * Turns the first SIGINT or SIGTERM into a request to stop. The second ends the process at once, as if nothing had
 * listened.
 */
export class StopSignals {
  readonly #controller = new AbortController();
  #received: StopName | undefined;

  /** @param onRequest called at the first signal */
  constructor(private readonly onRequest?: (name: StopName) => void) {
    process.on('SIGINT', this.#listener);
    process.on('SIGTERM', this.#listener);
  }

  /** Aborted by the first signal. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** The first signal, once it has come. */
  get received(): StopName | undefined {
    return this.#received;
  }

  /** Gives both signals their usual meaning back. */
  dispose(): void {
    process.off('SIGINT', this.#listener);
    process.off('SIGTERM', this.#listener);
  }

  readonly #listener = (name: NodeJS.Signals): void => {
    if (name !== 'SIGINT' && name !== 'SIGTERM') return;
    if (this.#received === undefined) {
      this.#received = name;
      this.#controller.abort();
      this.onRequest?.(name);
      return;
    }
    // Without a listener the signal ends the process, however busy its threads are.
    this.dispose();
    process.kill(process.pid, name);
  };
}
