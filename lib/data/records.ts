import { basename, dirname, extname } from 'node:path';
import { describe, isObject } from '../hub/files.js';
import type { ConversationRecord } from '../models/target.js';
import { checkConversation, fieldError, isMissing, type RecordContext } from './conversation.js';
import { DataFiles } from './data-files.js';
import { resolveMedia, type MediaOptions } from './media-source.js';
import { parseMessages } from './openai.js';
import { RecordError } from './record-error.js';
import { parseConversations } from './sharegpt.js';
import { parseTools } from './tool-calls.js';

/** Where media may be and what bad records do: the data options of every job. */
export interface ReadOptions extends MediaOptions {
  /** What a bad record does: `fail` (the default) ends the reading with an error, `skip` leaves it out and counts it. */
  onBadRecord?: 'fail' | 'skip' | undefined;
  /** Records need an assistant turn (the default). Prompts to be answered do not. */
  requireAnswer?: boolean;
}

export interface BadRecord {
  /** `file:line` */
  where: string;
  reason: string;
}

export interface ReadResult {
  records: ConversationRecord[];
  /** Records read, bad ones included. */
  read: number;
  /** Those that were skipped. */
  bad: BadRecord[];
}

/** Bad records that an error lists before reading stops. */
const LISTED = 10;

/** Features are stored in files named by id. */
const FILE_NAME = /^[\p{L}\p{N}_][\p{L}\p{N}\p{M}._-]*$/u;
const MAX_ID_BYTES = 200;

function recordId(context: RecordContext, value: unknown, fallback: string): string {
  if (value === undefined || value === null) return fallback;
  const id = typeof value === 'number' && Number.isSafeInteger(value) ? String(value) : value;
  if (typeof id !== 'string' || !FILE_NAME.test(id) || Buffer.byteLength(id) > MAX_ID_BYTES) {
    throw fieldError(
      context,
      'id',
      `expected letters, digits, "_", "-" and "." (it names a file), received ${describe(value)}`,
    );
  }
  return id;
}

/**
 * Parses a record of a data file, in OpenAI's form (`messages`) or ShareGPT's (`conversations`).
 *
 * @param value the parsed JSON
 * @param fallbackId id of a record that has none
 * @throws {@link RecordError}, and nothing else
 */
export async function parseRecord(
  value: unknown,
  context: RecordContext,
  fallbackId: string,
  requireAnswer = true,
): Promise<ConversationRecord> {
  const { where } = context;
  if (!isObject(value)) throw new RecordError(where, `expected a JSON object, received ${describe(value)}`);
  const forms = ['messages', 'conversations'].filter((name) => !isMissing(value[name]));
  if (forms.length !== 1) {
    throw new RecordError(
      where,
      `expected either messages or conversations, received ${forms.join(' and ') || 'neither'}`,
    );
  }
  const id = recordId(context, value['id'], fallbackId);
  const parse = forms[0] === 'messages' ? parseMessages : parseConversations;
  const messages = await parse(context, value);
  checkConversation(context, messages, requireAnswer);
  const tools = parseTools(context, value['tools']);
  return { id, where, messages, ...(tools && { tools }) };
}

/** Records of one file, or what is wrong with each; `prefix` goes before ids made of line numbers. */
async function* readFile(
  files: DataFiles,
  file: string,
  prefix: string,
  options: ReadOptions,
): AsyncGenerator<ConversationRecord | RecordError> {
  const directory = dirname(file);
  for await (const { where, name, value } of files.entries(file)) {
    const context: RecordContext = {
      where,
      media: (reference, kind) => resolveMedia(reference, kind, directory, options),
    };
    try {
      yield await parseRecord(value(), context, `${prefix}${name}`, options.requireAnswer);
    } catch (error) {
      if (!(error instanceof RecordError)) throw error;
      yield error;
    }
  }
}

function failure(bad: readonly BadRecord[], stopped: boolean): Error {
  const count = stopped
    ? `At least ${bad.length} bad records`
    : bad.length === 1
      ? 'A bad record'
      : `${bad.length} bad records`;
  return new Error([`${count}:`, ...bad.map(({ where, reason }) => `  ${where}: ${reason}`)].join('\n'));
}

/**
 * Reads the conversations of data files: JSONL, a JSON array, or parquet. Media are found, and checked to be where they
 * may be, but not decoded. A record without `id` is named `line-N` (`item-N` of an array, `row-N` of a table), with the
 * file's name before it where there are several files.
 *
 * @throws if a file cannot be read or is of another type; and, unless bad records are skipped, an error that lists the first ten
 */
export async function readRecords(files: readonly string[], options: ReadOptions = {}): Promise<ReadResult> {
  const records: ConversationRecord[] = [];
  const bad: BadRecord[] = [];
  const places = new Map<string, string>();
  const dataFiles = new DataFiles();
  let read = 0;
  for (const file of files) {
    const prefix = files.length > 1 ? `${basename(file, extname(file)).replace(/[^\w.-]/g, '_')}-` : '';
    for await (const entry of readFile(dataFiles, file, prefix, options)) {
      read++;
      const other = entry instanceof RecordError ? undefined : places.get(entry.id);
      if (entry instanceof RecordError) {
        bad.push({ where: entry.where, reason: entry.reason });
      } else if (other !== undefined) {
        bad.push({ where: entry.where, reason: `duplicate id ${describe(entry.id)}, first at ${other}` });
      } else {
        places.set(entry.id, entry.where);
        records.push(entry);
      }
      if (options.onBadRecord !== 'skip' && bad.length === LISTED) throw failure(bad, true);
    }
  }
  if (options.onBadRecord !== 'skip' && bad.length > 0) throw failure(bad, false);
  return { records, read, bad };
}
