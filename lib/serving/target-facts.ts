import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, isObject, readJsonObject } from '../hub/files.js';
import { withTextDefaults } from '../models/decoder/llama-defaults.js';
import { readRope, type Json, type RopeFacts } from './rope-json.js';

/** What a target's files say that a draft must agree with. Read without knowing the family. */
export interface TargetFacts {
  dir: string;
  architecture: string;
  modelType: string;
  hiddenSize: number;
  numLayers: number;
  numHeads: number;
  headDim: number;
  /** Of the config; a tokenizer may have fewer. */
  vocabSize: number;
  maxPositionEmbeddings: number;
  rope: RopeFacts;
  /** Ids that end a turn or a text. */
  stopTokenIds: number[];
  /** Whether it takes images, clips or sound. */
  multimodal: boolean;
  /** Number of first decoder layers that add visual features. */
  deepstackLayers: number;
}

/** Where families keep the config of their text decoder; at the top level where none of these is there. */
const TEXT_CONFIGS = ['text_config', 'llm_config', 'language_config'];

function textConfig(root: Json): Json {
  const holder = isObject(root['thinker_config']) ? root['thinker_config'] : root;
  const nested = TEXT_CONFIGS.map((key) => holder[key]).find(isObject);
  return nested ? withTextDefaults(nested) : holder;
}

function idsOf(value: unknown): number[] {
  const list: unknown[] = Array.isArray(value) ? value : [value];
  return list.filter((id): id is number => typeof id === 'number');
}

/** Id of the token that tokenizer_config.json ends turns with. */
function turnEnd(dir: string): number[] {
  const [configFile, tokenizerFile] = [join(dir, 'tokenizer_config.json'), join(dir, 'tokenizer.json')];
  if (!existsSync(configFile) || !existsSync(tokenizerFile)) return [];
  const { eos_token: eos } = readJsonObject(configFile);
  const content = isObject(eos) ? eos['content'] : eos;
  const { added_tokens: added } = readJsonObject(tokenizerFile);
  const tokens = Array.isArray(added) ? added.filter(isObject) : [];
  return tokens.filter((token) => token['content'] === content).flatMap((token) => idsOf(token['id']));
}

function stopTokenIds(dir: string, root: Json, text: Json): number[] {
  const generationFile = join(dir, 'generation_config.json');
  const generation = existsSync(generationFile) ? readJsonObject(generationFile) : {};
  const ids = [generation, text, root].flatMap((source) => idsOf(source['eos_token_id']));
  return [...new Set([...ids, ...turnEnd(dir)])].sort((a, b) => a - b);
}

/**
 * Reads a target's config.json, generation_config.json and tokenizer files.
 *
 * @throws Error naming the file and the key that is missing
 */
export function readTargetFacts(dir: string): TargetFacts {
  const file = join(dir, 'config.json');
  const root = readJsonObject(file);
  const text = textConfig(root);
  const count = (key: string, otherwise?: number): number => {
    const value = text[key] ?? otherwise;
    if (typeof value === 'number' && Number.isInteger(value) && value > 0) return value;
    throw new Error(`${file}: ${key}: expected a whole number above 0, received ${describe(value)}`);
  };
  const { architectures } = root;
  const architecture: unknown = Array.isArray(architectures) ? architectures[0] : undefined;
  if (typeof architecture !== 'string') {
    throw new Error(
      `${file}: architectures: expected the name of a class, received ${describe(architecture)}`,
    );
  }
  const thinker = isObject(root['thinker_config']) ? root['thinker_config'] : root;
  const vision = isObject(thinker['vision_config']) ? thinker['vision_config'] : {};
  const deepstack = vision['deepstack_visual_indexes'];
  const [hiddenSize, numHeads, vocabSize] = [
    count('hidden_size'),
    count('num_attention_heads'),
    count('vocab_size'),
  ];
  return {
    dir,
    architecture,
    modelType: typeof root['model_type'] === 'string' ? root['model_type'] : '',
    hiddenSize,
    numLayers: count('num_hidden_layers'),
    numHeads,
    headDim: count('head_dim', hiddenSize / numHeads),
    vocabSize,
    maxPositionEmbeddings: count('max_position_embeddings'),
    rope: readRope(text),
    stopTokenIds: stopTokenIds(dir, root, text).filter((id) => id < vocabSize),
    multimodal: isObject(thinker['vision_config']) || isObject(thinker['audio_config']),
    deepstackLayers: Array.isArray(deepstack) ? deepstack.length : 0,
  };
}
