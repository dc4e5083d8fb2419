import { DraftDecoder } from '../decoding/draft-decoder.js';
import { generateGreedy } from '../decoding/generate.js';
import { generateSpeculative } from '../decoding/speculative.js';
import { loadDraft } from '../draft/load.js';
import { resolveModel } from '../hub/resolve.js';
import { loadProcessor, loadTarget, readTargetInfo } from '../models/registry.js';
import type { ContentPart, ConversationRecord, Processor } from '../models/target.js';
import { dispose } from '../tensor.js';
import type { GenerateOptions, JobOf } from '../worker/jobs.js';
import { prepareCompute } from './compute.js';

export const run: JobOf<'generate'> = async (options, context) => {
  prepareCompute(options, context);
  const targetDir = resolveModel(options.model);
  const loaded =
    options.draft === undefined ? undefined : loadDraft(options.draft, { target: readTargetInfo(targetDir) });
  const processor = loadProcessor(targetDir, loaded ? { positionRule: loaded.contract.positionRule } : {});
  const sample = await processor.process(promptRecord(options), { addGenerationPrompt: true });
  const target = loadTarget(targetDir, { dtype: options.dtype ?? 'float32' });
  try {
    const text = new TextStream(processor, (piece) => {
      context.emit({ type: 'text', text: piece });
    });
    const decoding = {
      maxNewTokens: options.maxNewTokens ?? 256,
      chainLength: options.chainLength ?? 5,
      onToken: (id: number) => {
        context.throwIfStopped();
        text.push(id);
      },
    };
    if (!loaded) {
      const { ids, decodeSeconds } = generateGreedy(target, sample, decoding);
      return { ...summary(sample.inputIds.length, ids.length, decodeSeconds), text: text.end() };
    }
    const { config, weights, vocabulary, contract } = loaded;
    const draft = new DraftDecoder(config, weights, vocabulary, target.embedTokens);
    dispose(weights);
    try {
      const { ids, decodeSeconds, rounds, acceptedByPosition } = generateSpeculative(
        target,
        draft,
        contract,
        sample,
        decoding,
      );
      const accepted = acceptedByPosition.reduce((a, b) => a + b, 0);
      return {
        ...summary(sample.inputIds.length, ids.length, decodeSeconds),
        text: text.end(),
        acceptLength: 1 + accepted / Math.max(1, rounds),
      };
    } finally {
      draft.dispose();
    }
  } finally {
    target.dispose();
  }
};

function summary(promptTokens: number, tokens: number, decodeSeconds: number) {
  return { promptTokens, tokens, tokensPerSecond: (tokens - 1) / decodeSeconds };
}

function promptRecord({
  prompt,
  images = [],
  videos = [],
  audios = [],
}: GenerateOptions): ConversationRecord {
  const content: ContentPart[] = [
    ...images.map((path): ContentPart => ({ type: 'image', source: { path } })),
    ...videos.map((path): ContentPart => ({ type: 'video', source: { path } })),
    ...audios.map((path): ContentPart => ({ type: 'audio', source: { path } })),
    { type: 'text', text: prompt },
  ];
  return { id: 'prompt', where: 'prompt', messages: [{ role: 'user', content }] };
}

/** Decodes tokens as they come; a character that is not complete yet waits for the next. */
class TextStream {
  readonly #ids: number[] = [];
  #shown = '';

  constructor(
    readonly processor: Processor,
    readonly emit: (piece: string) => void,
  ) {}

  push(id: number): void {
    this.#ids.push(id);
    const text = this.#text();
    if (!text.endsWith('\uFFFD')) this.#show(text);
  }

  end(): string {
    this.#show(this.#text());
    return this.#shown;
  }

  #text(): string {
    return this.processor.decode(this.#ids, { skipSpecialTokens: true });
  }

  #show(text: string): void {
    if (text.length > this.#shown.length) this.emit(text.slice(this.#shown.length));
    this.#shown = text;
  }
}
