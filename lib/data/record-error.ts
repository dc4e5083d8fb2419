/** Something that is wrong with a record. The message is `file:line: reason`. */
export class RecordError extends Error {
  override readonly name = 'RecordError';

  constructor(
    /** `file:line` */
    readonly where: string,
    readonly reason: string,
    options?: ErrorOptions,
  ) {
    super(`${where}: ${reason}`, options);
  }

  /** The same error at its record: what is no {@link RecordError} yet becomes one. */
  static at(where: string, error: unknown): RecordError {
    if (error instanceof RecordError) return error;
    return new RecordError(where, error instanceof Error ? error.message : String(error), { cause: error });
  }
}
