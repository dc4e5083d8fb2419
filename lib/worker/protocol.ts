/** What a worker is started with. */
export interface WorkerInput {
  /** URL of the job's module. */
  module: string;
  payload: unknown;
  /** int32 [1]: 1 once the caller has asked the job to stop. */
  stopFlag: SharedArrayBuffer;
}

/** Sent by the caller beside the flag, for jobs that wait on something. */
export interface StopMessage {
  type: 'stop';
}

/** An error as it crosses threads: class and own fields do not survive structured cloning. */
export interface PlainError {
  name: string;
  message: string;
  stack?: string | undefined;
  code?: string | undefined;
  path?: string | undefined;
  cause?: PlainError | undefined;
}

export type WorkerMessage =
  | { type: 'event'; event: unknown }
  | { type: 'result'; result: unknown }
  | { type: 'error'; error: PlainError };

export function toPlainError(thrown: unknown): PlainError {
  if (!(thrown instanceof Error)) return { name: 'Error', message: String(thrown) };
  const { code, path } = thrown as NodeJS.ErrnoException;
  return {
    name: thrown.name,
    message: thrown.message,
    stack: thrown.stack,
    ...(typeof code === 'string' && { code }),
    ...(typeof path === 'string' && { path }),
    ...(thrown.cause !== undefined && { cause: toPlainError(thrown.cause) }),
  };
}

export function fromPlainError({ name, message, cause, ...fields }: PlainError): Error {
  const error = new Error(message, cause === undefined ? undefined : { cause: fromPlainError(cause) });
  error.name = name;
  return Object.assign(error, fields);
}
