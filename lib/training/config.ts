import { z } from 'zod';
import { devicePattern } from '../device-name.js';
import { ConfigError, describeIssues } from './config-issues.js';

const count = () => z.int().min(1);
const natural = () => z.int().min(0);
const positive = () => z.number().positive();
const share = () => z.number().min(0).max(1);
const files = () =>
  z
    .union([z.string().min(1), z.array(z.string().min(1))], {
      error: 'expected a file name or a list of file names',
    })
    .transform((value) => (typeof value === 'string' ? [value] : value));

/** Unset fields follow `engine` and the target: see `resolveContract`. */
const servingSchema = z
  .strictObject({
    engine: z.enum(['sglang', 'vllm']).default('sglang').describe('Server that the draft is trained for'),
    multimodalEmbedding: z
      .enum(['merged', 'placeholder'])
      .optional()
      .describe("Draft's input at media slots: the target's merged embedding, or that of the placeholder id"),
    positions: z
      .enum(['mrope', 'index'])
      .optional()
      .describe("Draft's positions: the target's multimodal axes, or the token's index on every axis"),
    deepstack: z
      .enum(['before', 'after'])
      .optional()
      .describe('Aux states of layers that add visual features: taken before or after adding them'),
    positionRule: z
      .enum(['engines', 'transformers5'])
      .default('engines')
      .describe('Where text continues after a clip: as SGLang and vLLM do, or as transformers 5 does'),
  })
  .prefault({});

const dataSchema = z.strictObject({
  train: files()
    .refine((list) => list.length > 0, { error: 'expected at least one file' })
    .describe('JSONL, JSON or parquet files of conversations to train on'),
  eval: files().default([]).describe('files of held-out conversations'),
  evalFraction: share().optional().describe('Share of the training records held out when data.eval is empty'),
  evalCount: natural()
    .optional()
    .describe('Number of training records held out, instead of data.evalFraction'),
  mediaRoot: z.string().min(1).optional().describe('Directory under which absolute media paths are allowed'),
  allowRemote: z.boolean().default(false).describe('Allow http(s) media URLs'),
  onBadRecord: z.enum(['fail', 'skip']).default('fail').describe('What a record that cannot be read does'),
  maxLength: count().default(4096).describe('Records of more tokens are dropped and counted'),
  cacheBytes: natural()
    .default(2 ** 30)
    .describe('Memory for processed records; those beyond it are processed again in every epoch'),
  shuffle: z.boolean().default(true).describe('New order of the records in every epoch, from training.seed'),
});

const draftSchema = z
  .strictObject({
    vocabSize: count().default(32000).describe('Rows of the draft vocabulary, at most the target’s'),
    intermediateSize: count().optional().describe("Width of the MLP; the target's if absent"),
    numHeads: count().optional().describe("Attention heads; the target's if absent"),
    numKeyValueHeads: count().optional().describe("Key and value heads; the target's if absent"),
    headDim: count().optional().describe("Width of a head; the target's if absent"),
    auxLayerIds: z
      .array(natural())
      .min(1)
      .optional()
      .describe('Boundary ids of the aux layers, ascending; [2, N/2, N-3] of N decoder layers if absent'),
    initLmHead: z.enum(['target', 'random']).default('target').describe('First values of lm_head'),
    initNorm: z.enum(['target', 'ones']).default('target').describe('First values of the final norm'),
    initStd: positive().default(0.02).describe('Standard deviation of random first values'),
  })
  .prefault({});

const tttSchema = z
  .strictObject({
    steps: count().default(7).describe('Training-time-test steps S'),
    decay: positive().max(1).default(0.8).describe('Weight of step s is decay to the power s'),
    mask: z
      .enum(['serving', 'specforge'])
      .default('serving')
      .describe('Supervised slots: as a server drafts, or as SpecForge masks'),
    normalization: z
      .enum(['tokens', 'specforge'])
      .default('tokens')
      .describe('A step’s loss is divided by its supervised rows, or by all rows'),
    outOfVocabulary: z
      .enum(['mask', 'keep'])
      .default('mask')
      .describe('Slots whose target token is outside the draft vocabulary: left out of the loss, or kept'),
  })
  .prefault({});

const optimizerSchema = z
  .strictObject({
    learningRate: positive().default(1e-4).describe('Peak learning rate of AdamW'),
    betas: z
      .tuple([z.number().min(0).lt(1), z.number().min(0).lt(1)])
      .default([0.9, 0.95])
      .describe('Decay of the first and second moments'),
    eps: positive().default(1e-8).describe('Added to the root of the second moment'),
    weightDecay: z.number().min(0).default(0).describe('Decoupled weight decay'),
    gradClip: positive().default(0.5).describe('Largest global norm of the gradient'),
    schedule: z.enum(['cosine', 'linear', 'constant']).default('cosine').describe('Shape after the warm-up'),
    warmupRatio: share().default(0.015).describe('Share of all steps that is linear warm-up'),
    warmupSteps: natural().optional().describe('Steps of warm-up, instead of optimizer.warmupRatio'),
    minLearningRateRatio: share().default(0.1).describe('Last learning rate as a share of the peak'),
  })
  .prefault({});

const trainingSchema = z
  .strictObject({
    epochs: count().default(1).describe('Passes over the training records'),
    maxSteps: natural()
      .optional()
      .describe('Optimizer steps, instead of training.epochs; 0 saves the first weights'),
    batchTokens: count()
      .default(8192)
      .describe('Tokens packed into a micro-batch; a longer record is alone in one'),
    gradientAccumulation: count().default(1).describe('Micro-batches in an optimizer step'),
    seed: natural().default(0).describe('Seed of first weights, hold-out and order'),
    dtype: z
      .enum(['float32', 'bfloat16'])
      .default('float32')
      .describe("Draft's products; weights stay float32"),
    targetDtype: z.enum(['float32', 'bfloat16']).default('float32').describe("Target's weights and products"),
    prefetch: natural()
      .default(1)
      .describe('Steps whose records are read, decoded and preprocessed while another step trains'),
    device: z
      .string()
      .regex(devicePattern, { error: 'expected auto, cpu, cuda or cuda:N' })
      .default('auto')
      .describe('Where target and draft compute: cpu, cuda, cuda:N, or auto, a GPU where there is one'),
    threads: count().optional().describe('CPU threads; every core if absent'),
    evalEvery: natural().default(100).describe('Optimizer steps between evaluations; 0: at the end only'),
    saveEvery: natural().default(100).describe('Optimizer steps between checkpoints; 0: at the end only'),
    keepCheckpoints: count().default(2).describe('Checkpoints kept beside the best'),
    maxNonFiniteSteps: count()
      .default(5)
      .describe('Steps in a row that may be skipped for non-finite gradients before the run stops'),
  })
  .prefault({});

const mediaSchema = z
  .strictObject({
    minPixels: count()
      .optional()
      .describe("Fewest pixels of an image after resizing; the checkpoint's if absent"),
    maxPixels: count()
      .optional()
      .describe("Most pixels of an image after resizing; the checkpoint's if absent"),
    fps: positive().optional().describe("Frames per second sampled from a clip; the checkpoint's if absent"),
    minFrames: count().optional().describe("Fewest frames of a clip; the checkpoint's if absent"),
    maxFrames: count().optional().describe("Most frames of a clip; the checkpoint's if absent"),
    useAudioInVideo: z.boolean().optional().describe('Hear clips that have a sound track (omni families)'),
  })
  .prefault({});

const evaluationSchema = z
  .strictObject({
    chainLength: count().default(5).describe('Tokens K that the draft proposes in a round'),
    maxNewTokens: count().default(256).describe('Longest answer that is decoded'),
    maxRecords: count().optional().describe('Held-out records that are used; all if absent'),
  })
  .prefault({});

const trackersSchema = z
  .strictObject({
    jsonl: z.boolean().default(true).describe('Write metrics.jsonl, one object a step'),
    tensorboard: z.boolean().default(true).describe('Write TensorBoard event files'),
  })
  .prefault({});

/** A training run. A YAML file is the same object written down; unknown keys are errors. */
export const trainConfigSchema = z
  .strictObject({
    model: z
      .string()
      .min(1)
      .describe('Target: a Hugging Face checkpoint directory, or a hub id in the local cache'),
    output: z.string().min(1).describe('Directory that receives checkpoints and metrics'),
    resume: z
      .string()
      .min(1)
      .default('auto')
      .describe(
        'auto: go on from the latest checkpoint of output if there is one; never; or a checkpoint directory',
      ),
    data: dataSchema.describe('Conversations'),
    draft: draftSchema.describe('The draft model'),
    ttt: tttSchema.describe('Training-time test'),
    serving: servingSchema.describe('Contract with the server'),
    optimizer: optimizerSchema.describe('AdamW and its schedule'),
    training: trainingSchema.describe('The loop'),
    media: mediaSchema.describe('Limits of images and clips'),
    evaluation: evaluationSchema.describe('Speculative decoding of held-out records'),
    trackers: trackersSchema.describe('Where metrics go'),
  })
  .superRefine((config, context) => {
    const { data, draft, media } = config;
    const refuse = (path: string[], message: string) => {
      context.addIssue({ code: 'custom', path, message });
    };
    const ids = draft.auxLayerIds ?? [];
    if (ids.some((id, i) => i > 0 && id <= ids[i - 1]!)) {
      refuse(['draft', 'auxLayerIds'], `expected ascending ids, received [${ids.join(', ')}]`);
    }
    const heldOut = [data.eval.length > 0, data.evalFraction !== undefined, data.evalCount !== undefined];
    if (heldOut.filter(Boolean).length > 1) {
      refuse(['data', 'eval'], 'expected at most one of data.eval, data.evalFraction and data.evalCount');
    }
    if (media.minPixels !== undefined && media.maxPixels !== undefined && media.minPixels > media.maxPixels) {
      refuse(
        ['media', 'minPixels'],
        `expected at most media.maxPixels (${media.maxPixels}), received ${media.minPixels}`,
      );
    }
    if (media.minFrames !== undefined && media.maxFrames !== undefined && media.minFrames > media.maxFrames) {
      refuse(
        ['media', 'minFrames'],
        `expected at most media.maxFrames (${media.maxFrames}), received ${media.minFrames}`,
      );
    }
  });

/** A run with every default filled in. */
export type TrainConfig = z.output<typeof trainConfigSchema>;
/** A run as its author writes it: only `model`, `output` and `data.train` are required. */
export type TrainConfigInput = z.input<typeof trainConfigSchema>;

/**
 * Checks a config and fills in its defaults.
 * @throws ConfigError listing everything that is wrong
 */
export function parseConfig(input: unknown): TrainConfig {
  const parsed = trainConfigSchema.safeParse(input);
  if (!parsed.success) throw new ConfigError(describeIssues(parsed.error, input, configKeys()));
  return parsed.data;
}

/** One field of the config, as the reference prints it. */
export interface ConfigField {
  /** Dotted path. */
  key: string;
  type: string;
  /** JSON of the default; absent where there is none. */
  default?: string;
  required: boolean;
  description: string;
}

interface JsonSchema {
  type?: string;
  description?: string;
  default?: unknown;
  enum?: string[];
  items?: JsonSchema | false;
  prefixItems?: JsonSchema[];
  anyOf?: JsonSchema[];
  properties?: Record<string, JsonSchema>;
  required?: string[];
}

/** Every field of the config in order: what the README's reference and `eyas train --help` are made from. */
export function configReference(): ConfigField[] {
  const fields: ConfigField[] = [];
  const visit = (schema: JsonSchema, prefix: string): void => {
    for (const [name, field] of Object.entries(schema.properties ?? {})) {
      const key = prefix + name;
      if (field.properties) {
        visit(field, `${key}.`);
        continue;
      }
      fields.push({
        key,
        type: typeName(field),
        ...(field.default === undefined ? {} : { default: JSON.stringify(field.default) }),
        required: schema.required?.includes(name) ?? false,
        description: field.description ?? '',
      });
    }
  };
  visit(z.toJSONSchema(trainConfigSchema, { io: 'input' }) as JsonSchema, '');
  return fields;
}

function typeName(schema: JsonSchema): string {
  if (schema.enum) return schema.enum.join(' | ');
  if (schema.anyOf) return schema.anyOf.map(typeName).join(' | ');
  if (schema.prefixItems) return `[${schema.prefixItems.map(typeName).join(', ')}]`;
  if (schema.items) return `${typeName(schema.items)}[]`;
  return schema.type ?? 'any';
}

let keys: string[] | undefined;
/** Dotted paths of all fields. */
export function configKeys(): string[] {
  return (keys ??= configReference().map((field) => field.key));
}
