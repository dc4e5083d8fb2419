import { describe } from '../hub/files.js';
import type { ContentPart, MediaSource } from '../models/target.js';
import { fieldError, isMissing, mediaField, type RecordContext } from './conversation.js';
import type { MediaKind } from './media-kind.js';

const KINDS = ['image', 'video', 'audio'] as const;
const MARK = /(<image>|<video>|<audio>)/;

/** Looks like a mark of some other tool: it would stay in the text, and its medium would be lost. */
const UNKNOWN_MARK =
  /<(?:image|img|picture|video|audio|sound|speech)s?(?:[ _-]?(?:\d+|here|pad|placeholder|token))?>/i;

/** References of one kind. */
interface Column {
  field: string;
  references: unknown[];
  /** Number of places for them so far. */
  used: number;
}

/** The columns `image` and `images` (`video`, `videos` …): a reference or a list. */
function readColumn(context: RecordContext, record: Record<string, unknown>, kind: MediaKind): Column {
  const present = [kind, `${kind}s`].filter((name) => !isMissing(record[name]));
  if (present.length > 1) throw fieldError(context, present.join(' and '), 'expected only one of them');
  const field = present[0] ?? `${kind}s`;
  const value = record[field] ?? [];
  return { field, references: Array.isArray(value) ? (value as unknown[]) : [value], used: 0 };
}

/**
 * Media of a record that lie in columns of their own. Each `<image>`, `<video>` and `<audio>` in a text, and each
 * content part without a reference, stands for the next entry of the columns `image`, `images`, `video` …
 */
export class MediaColumns {
  /** Whether the record has any. */
  readonly present: boolean;
  readonly #columns: Record<MediaKind, Column>;
  readonly #isEmpty: boolean;

  constructor(
    readonly context: RecordContext,
    record: Record<string, unknown>,
  ) {
    const column = (kind: MediaKind) => readColumn(context, record, kind);
    this.#columns = { image: column('image'), video: column('video'), audio: column('audio') };
    this.present = KINDS.some((kind) => !isMissing(record[this.#columns[kind].field]));
    this.#isEmpty = KINDS.every((kind) => this.#columns[kind].references.length === 0);
  }

  /**
   * The next medium of a kind; `undefined` where no more are left, which {@link checkUsed} reports with their count.
   *
   * @param index place in the column, where the record says it
   */
  async next(kind: MediaKind, index?: unknown): Promise<MediaSource | undefined> {
    const column = this.#columns[kind];
    const at = column.used++;
    if (index !== undefined && index !== at) {
      throw fieldError(
        this.context,
        column.field,
        `expected entry ${at} next, received index ${describe(index)}`,
      );
    }
    if (at >= column.references.length) return undefined;
    return mediaField(this.context, `${column.field}[${at}]`, column.references[at], kind);
  }

  /** Cuts a text at its marks. What is between them stays as it is. */
  async cut(field: string, text: string): Promise<string | ContentPart[]> {
    const parts: ContentPart[] = [];
    for (const piece of text.split(MARK)) {
      const kind = KINDS.find((name) => piece === `<${name}>`);
      if (kind) {
        const source = await this.next(kind);
        if (source) parts.push({ type: kind, source });
        continue;
      }
      const unknown = this.#isEmpty ? undefined : UNKNOWN_MARK.exec(piece)?.[0];
      if (unknown !== undefined) {
        throw fieldError(
          this.context,
          field,
          `unknown media mark ${unknown}, expected <image>, <video> or <audio>`,
        );
      }
      if (piece !== '') parts.push({ type: 'text', text: piece });
    }
    return parts.every((part) => part.type === 'text') ? text : parts;
  }

  /** @throws RecordError where there are more media than places for them, or fewer */
  checkUsed(): void {
    for (const kind of KINDS) {
      const { field, references, used } = this.#columns[kind];
      if (used === references.length) continue;
      throw fieldError(
        this.context,
        field,
        `expected as many as <${kind}> marks (${used}), received ${references.length}`,
      );
    }
  }
}
