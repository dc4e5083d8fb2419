import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { isObject, readJsonObject } from '../hub/files.js';
import { resolveModel } from '../hub/resolve.js';
import { openCheckpoint, type Checkpoint } from '../hub/safetensors.js';
import { familyOf } from '../models/registry.js';
import type { TargetInfo } from '../models/target.js';
import { resolveContract, type Engine } from '../serving/contract.js';
import { supportsEagle3 } from '../serving/engine-support.js';
import { formatBytes, type Fields } from './table.js';

type Json = Record<string, unknown>;

const engines: readonly Engine[] = ['sglang', 'vllm'];

/** What a target, a draft or a checkpoint of a run is, from its config and the headers of its weights. */
export function describeDirectory(model: string): Fields {
  if (existsSync(join(model, 'state.json'))) return describeCheckpoint(resolve(model));
  const directory = resolveModel(model);
  const config = readJsonObject(join(directory, 'config.json'));
  const architecture = Array.isArray(config['architectures'])
    ? String(config['architectures'][0])
    : undefined;
  const isDraft = 'draft_vocab_size' in config;
  return [
    ['directory', directory],
    ['kind', isDraft ? 'EAGLE-3 draft' : 'target'],
    ['architecture', architecture],
    ...(isDraft ? describeDraft(directory, config) : describeTarget(directory)),
    ...describeWeights(openCheckpoint(directory)),
  ];
}

function describeCheckpoint(directory: string): Fields {
  const state = readJsonObject(join(directory, 'state.json'));
  const best = isObject(state['best']) ? state['best'] : undefined;
  return [
    ['directory', directory],
    ['kind', 'training checkpoint'],
    ['target', isObject(state['config']) ? text(state['config']['model']) : undefined],
    ['step', `${text(state['step'])} of ${text(state['totalSteps'])}`],
    ['best', best && `${text(best['metric'])} ${text(best['value'])} at step ${text(best['step'])}`],
    ['eyas', text(state['version'])],
    ...describeWeights(openCheckpoint(directory)),
  ];
}

function describeTarget(directory: string): Fields {
  const family = familyOf(directory);
  const info = family.readInfo(directory);
  const { rotary } = info;
  const sections = rotary.mropeSection?.join(', ');
  const interleaved = rotary.mropeInterleaved ? ', interleaved' : '';
  const positions = sections === undefined ? '1 axis' : `3 axes, mrope sections ${sections}${interleaved}`;
  return [
    ['family', family.name],
    ['modalities', family.modalities.join(', ')],
    ['layers', String(info.numLayers)],
    ['hidden size', String(info.hiddenSize)],
    ['heads', `${info.numHeads}, ${info.numKeyValueHeads} for keys and values, of ${info.headDim}`],
    ['vocabulary', String(info.vocabSize)],
    ['context', `${info.maxPositionEmbeddings} tokens`],
    ['positions', `${positions}, base ${rotary.theta}`],
    ['end of turn', info.eosTokenIds.join(', ')],
    ...engines.flatMap((engine) => describeServing(engine, info)),
  ];
}

/** What a draft for an engine is trained for by default, and whether the engine takes one. */
function describeServing(engine: Engine, info: TargetInfo): Fields {
  const supported = supportsEagle3(engine, info.architecture);
  const support = supported === undefined ? 'not known' : supported ? 'yes' : 'no';
  return [
    [`${engine}: serves EAGLE-3`, support],
    ...describeContract(engine, info).map(([name, value]): Fields[number] => [`${engine}: ${name}`, value]),
  ];
}

function describeContract(engine: Engine, info: TargetInfo): Fields {
  try {
    const rules = Object.entries(resolveContract({ engine }, info)).filter(([name]) => name !== 'engine');
    return rules.map(([name, value]) => [name, text(value)]);
  } catch (error) {
    return [['contract', (error as Error).message]];
  }
}

function describeDraft(directory: string, config: Json): Fields {
  const file = join(directory, 'eyas.json');
  const described = existsSync(file) ? readJsonObject(file) : {};
  const contract = isObject(described['contract']) ? described['contract'] : {};
  return [
    ...describeShape(config),
    ['draft vocabulary', text(config['draft_vocab_size'])],
    ...Object.entries(contract).map(([name, value]): Fields[number] => [`contract: ${name}`, text(value)]),
  ];
}

function describeShape(config: Json): Fields {
  return [
    ['layers', text(config['num_hidden_layers'])],
    ['hidden size', text(config['hidden_size'])],
    [
      'heads',
      `${text(config['num_attention_heads'])}, ${text(config['num_key_value_heads'])} for keys and values`,
    ],
    ['vocabulary', text(config['vocab_size'])],
  ];
}

function describeWeights(checkpoint: Checkpoint): Fields {
  const infos = checkpoint.names().map((name) => checkpoint.info(name));
  const bytes = infos.reduce((sum, info) => sum + info.byteLength, 0);
  // Vocabulary maps are tensors too, but no parameters.
  const floats = infos.filter((info) => info.dtype.includes('F'));
  const parameters = floats.reduce((sum, info) => sum + info.shape.reduce((size, n) => size * n, 1), 0);
  const types = [...new Set(infos.map((info) => info.dtype))].sort().join(', ');
  return [
    ['tensors', `${infos.length} (${types})`],
    ['parameters', `${(parameters / 1e6).toFixed(1)} M`],
    ['weights', formatBytes(bytes)],
  ];
}

function text(value: unknown): string {
  if (value === undefined) return '?';
  return typeof value === 'string' ? value : JSON.stringify(value);
}
