/** What a job is given beside its payload. */
export interface JobContext<Event> {
  /** Sends an event to the caller. */
  emit(event: Event): void;
  /** Whether the caller has asked the job to stop; valid in the middle of synchronous work. */
  stopRequested(): boolean;
  /** Throws the error of {@link stopError} once the caller has asked the job to stop. */
  throwIfStopped(): void;
  /** Aborted when the caller asks the job to stop, as soon as the job's thread gets to its event loop. */
  signal: AbortSignal;
}

/** A job's module exports one of these as `run`. Payload, events and result are structured-cloneable. */
export type Job<Payload, Event, Result> = (payload: Payload, context: JobContext<Event>) => Promise<Result>;

/** What a job throws that was asked to stop and has no result to give. */
export function stopError(): Error {
  const error = new Error('stopped');
  error.name = 'AbortError';
  return error;
}

export function isStopError(error: unknown): boolean {
  return error instanceof Error && error.name === 'AbortError';
}
