import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { isObject, readJsonObject } from '../hub/files.js';
import { resolveModel } from '../hub/resolve.js';
import { openCheckpoint, type Checkpoint } from '../hub/safetensors.js';
import { defaultAuxLayerIds } from '../serving/contract.js';
import { formatBytes, type Fields } from './table.js';

type Json = Record<string, unknown>;

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
    ...(isDraft ? describeDraft(directory, config) : describeTarget(config)),
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

function describeTarget(config: Json): Fields {
  // Multimodal checkpoints nest their decoder's config.
  const decoder = [config['text_config'], config['llm_config'], config].find(
    (entry): entry is Json => isObject(entry) && 'num_hidden_layers' in entry,
  );
  if (!decoder) return [];
  const layers = Number(decoder['num_hidden_layers']);
  return [...describeShape(decoder), ['default aux layers', defaultAuxLayers(layers)]];
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

function defaultAuxLayers(layers: number): string {
  try {
    return defaultAuxLayerIds(layers).join(', ');
  } catch {
    return 'none: set draft.auxLayerIds';
  }
}

function text(value: unknown): string {
  if (value === undefined) return '?';
  return typeof value === 'string' ? value : JSON.stringify(value);
}
