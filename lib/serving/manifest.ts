import { z } from 'zod';
import type { Eagle3Config } from '../draft/eagle3.js';
import { readJson } from '../hub/files.js';
import type { ServingContract } from './contract.js';

/** What eyas knows of a draft and engines do not ask for. */
export const MANIFEST_FILE = 'eyas.json';

const FORMAT_VERSION = 1;

const contractSchema = z.object({
  engine: z.enum(['sglang', 'vllm']),
  auxLayerIds: z.array(z.int().nonnegative()).min(1),
  multimodalEmbedding: z.enum(['merged', 'placeholder']),
  positions: z.enum(['mrope', 'index']),
  deepstack: z.enum(['before', 'after']),
  positionRule: z.enum(['engines', 'transformers5']),
}) satisfies z.ZodType<ServingContract>;

const size = z.int().positive();

const draftSchema = z.object({
  hiddenSize: size,
  intermediateSize: size,
  numHeads: size,
  numKeyValueHeads: size,
  headDim: size,
  rmsNormEps: z.number().positive(),
  vocabSize: size,
  draftVocabSize: size,
  numAuxHiddenStates: size,
  maxPositionEmbeddings: size,
  rotary: z.object({
    theta: z.number().positive(),
    headDim: size,
    partialRotaryFactor: z.number().positive(),
    mropeSection: z.array(size).optional(),
    mropeInterleaved: z.boolean().optional(),
    scaling: z.record(z.string(), z.unknown()).optional(),
  }),
  axes: z.union([z.literal(1), z.literal(3)]),
}) satisfies z.ZodType<Eagle3Config>;

const manifestSchema = z.object({
  formatVersion: z.literal(FORMAT_VERSION),
  eyasVersion: z.string(),
  contract: contractSchema,
  /** As config.json states it. */
  draft: draftSchema,
  target: z.object({
    architecture: z.string(),
    modelType: z.string(),
    /** SHA-256 of what config.json says of the decoder; see `configFingerprint`. */
    configFingerprint: z.string(),
    /** SHA-256 of weights of the last decoder layer; see `weightsFingerprint`. */
    weightsFingerprint: z.string(),
  }),
  /** Of the training records and the draft vocabulary. */
  dataFingerprint: z.string().optional(),
  /** What training and evaluation measured: accept length, accuracy per step … */
  metrics: z.record(z.string(), z.unknown()),
});

/** eyas.json: what a draft was trained for, on and with. */
export type DraftManifest = z.infer<typeof manifestSchema>;

/** The manifest as it is written. */
export function manifestJson(manifest: Omit<DraftManifest, 'formatVersion'>): string {
  return `${JSON.stringify({ formatVersion: FORMAT_VERSION, ...manifest }, null, 2)}\n`;
}

/** @throws Error `file: key: reason` for every field that is missing or makes no sense */
export function readManifest(file: string): DraftManifest {
  const result = manifestSchema.safeParse(readJson(file));
  if (result.success) return result.data;
  throw new Error(
    result.error.issues.map((issue) => `${file}: ${issue.path.join('.')}: ${issue.message}`).join('\n'),
  );
}
