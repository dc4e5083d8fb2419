import { Eagle3Draft } from '../draft/eagle3.js';
import { disposeInputs, draftInputs } from '../draft/inputs.js';
import type { LoadedDraft } from '../draft/load.js';
import { simulatedAcceptLength, sumMetrics, trainingTimeTest, type StepMetrics } from '../draft/ttt.js';
import type { ConversationRecord, Modality, Processor, Sample, Target } from '../models/target.js';
import { finish } from '../tensor.js';
import type { JobContext } from '../worker/job.js';
import type { AcceptanceReport, EvaluateResult, JobEvent } from '../worker/jobs.js';
import { DraftDecoder } from './draft-decoder.js';
import { generateGreedy, type Generation } from './generate.js';
import { generateSpeculative, type SpeculativeGeneration } from './speculative.js';

export interface EvaluatorOptions {
  chainLength: number;
  maxNewTokens: number;
}

/** Sums over decoded turns. */
class Tally {
  records = 0;
  tokens = 0;
  rounds = 0;
  readonly accepted: number[];

  constructor(chainLength: number) {
    this.accepted = new Array<number>(chainLength).fill(0);
  }

  add(generation: SpeculativeGeneration): void {
    this.records += 1;
    this.tokens += generation.ids.length;
    this.rounds += generation.rounds;
    generation.acceptedByPosition.forEach((count, k) => (this.accepted[k]! += count));
  }

  report(): AcceptanceReport {
    const rounds = Math.max(1, this.rounds);
    const acceptanceByPosition = this.accepted.map((count) => count / rounds);
    return {
      records: this.records,
      tokens: this.tokens,
      rounds: this.rounds,
      acceptLength: 1 + acceptanceByPosition.reduce((a, b) => a + b, 0),
      acceptanceByPosition,
    };
  }
}

/**
 * Decodes every assistant turn of the records twice, by the target alone and speculatively, and compares them token for
 * token; then replays the answers with teacher forcing for the simulated accept length (section 6 of the training contract).
 */
export class Evaluator {
  readonly #decoder: DraftDecoder;
  readonly #draft: Eagle3Draft;

  /** Takes over the draft's weights. */
  constructor(
    readonly target: Target,
    readonly processor: Processor,
    readonly loaded: LoadedDraft,
    readonly options: EvaluatorOptions,
  ) {
    const { config, weights, vocabulary } = loaded;
    this.#decoder = new DraftDecoder(config, weights, vocabulary, target.embedTokens);
    this.#draft = new Eagle3Draft(config, weights, { compute: 'float32', trained: false });
  }

  async run(
    records: readonly ConversationRecord[],
    context: JobContext<JobEvent>,
  ): Promise<Omit<EvaluateResult, 'counts'>> {
    const { chainLength } = this.options;
    const total = new Tally(chainLength);
    const byModality = new Map<Modality, Tally>();
    const mismatches: string[] = [];
    const seconds = { target: 0, speculative: 0 };
    const simulated: StepMetrics[][] = [];
    for (const [index, record] of records.entries()) {
      for (const prompt of promptsOf(record)) {
        context.throwIfStopped();
        const sample = await this.processor.process(prompt, { addGenerationPrompt: true });
        const plain = generateGreedy(this.target, sample, this.options);
        const fast = this.#speculate(sample);
        if (plain.ids.join() !== fast.ids.join()) mismatches.push(prompt.id);
        seconds.target += plain.decodeSeconds;
        seconds.speculative += fast.decodeSeconds;
        const { modality } = sample;
        if (!byModality.has(modality)) byModality.set(modality, new Tally(chainLength));
        for (const tally of [total, byModality.get(modality)!]) tally.add(fast);
        simulated.push(this.#replay(answered(sample, plain)));
      }
      context.emit({ type: 'count', phase: 'decoded', done: index + 1, total: records.length });
    }
    const report = total.report();
    const decoded = report.tokens - report.records;
    return {
      ...report,
      byModality: Object.fromEntries([...byModality].map(([modality, tally]) => [modality, tally.report()])),
      lossless: mismatches.length === 0,
      mismatches,
      simulatedAcceptLength: simulatedAcceptLength(sumMetrics(simulated, chainLength)),
      tokensPerSecond: { target: decoded / seconds.target, speculative: decoded / seconds.speculative },
      speedup: seconds.target / seconds.speculative,
    };
  }

  dispose(): void {
    this.#decoder.dispose();
    this.#draft.dispose();
  }

  #speculate(sample: Sample): SpeculativeGeneration {
    return generateSpeculative(this.target, this.#decoder, this.loaded.contract, sample, this.options);
  }

  /** Training-time test over an answer of the target's own. */
  #replay(sample: Sample): StepMetrics[] {
    const { vocabulary, contract } = this.loaded;
    const inputs = draftInputs(this.target, [sample], vocabulary, {
      steps: this.options.chainLength,
      mask: 'serving',
      outOfVocabulary: 'mask',
      contract,
    });
    try {
      const { embedTokens } = this.target;
      const context = { draft: this.#draft, vocabulary, embedTokens };
      return finish(trainingTimeTest(context, inputs));
    } finally {
      disposeInputs(inputs);
    }
  }
}

/** The conversation up to each of its assistant turns. */
function promptsOf(record: ConversationRecord): ConversationRecord[] {
  return record.messages.flatMap((message, i) =>
    message.role === 'assistant' ? [{ ...record, messages: record.messages.slice(0, i) }] : [],
  );
}

/** The prompt with the target's answer behind it, supervised. */
function answered(sample: Sample, { ids }: Generation): Sample {
  const { inputIds, positionIds, positionDelta, axes } = sample;
  const length = inputIds.length;
  const total = length + ids.length;
  const positions = new Float32Array(axes * total);
  for (let axis = 0; axis < axes; axis++) {
    positions.set(positionIds.subarray(axis * length, (axis + 1) * length), axis * total);
    for (let t = length; t < total; t++) positions[axis * total + t] = t + positionDelta;
  }
  return {
    ...sample,
    inputIds: Int32Array.of(...inputIds, ...ids),
    lossMask: Uint8Array.from({ length: total }, (_, t) => (t >= length ? 1 : 0)),
    positionIds: positions,
  };
}
