import type { Engine, ServingContract } from '../contract.js';
import { readDraftConfig } from '../draft-config.js';
import { CONFIG_FILE } from '../draft-files.js';
import { supportsEagle3 } from '../engine-support.js';
import { canonicalJson, configFingerprint, weightsFingerprint } from '../target-identity.js';
import type { TargetFacts } from '../target-facts.js';
import type { Json } from '../rope-json.js';
import { ok, show, wrong, type Check, type Finding, type Subject } from './subject.js';

const ENGINE_NAMES: Record<Engine, string> = { sglang: 'SGLang', vllm: 'vLLM' };

function engineSupport(subject: Subject): Finding {
  const { architecture } = subject.target();
  const refused = subject.engines().flatMap((engine) => {
    const name = ENGINE_NAMES[engine];
    const supported = supportsEagle3(engine, architecture);
    if (supported === true) return [];
    if (supported === false)
      return [`${name} has no EAGLE-3 for ${architecture} (August 2026) and stops at start`];
    return [
      `whether ${name} has EAGLE-3 for ${architecture} is not known here; without it the server stops at start`,
    ];
  });
  if (refused.length > 0) return wrong(refused.join('; '));
  return ok(
    `${subject
      .engines()
      .map((engine) => ENGINE_NAMES[engine])
      .join(' and ')}: EAGLE-3 for ${architecture}`,
  );
}

/** A choice of the contract that the engine makes by itself, and what follows where it was trained otherwise. */
function choice<K extends 'multimodalEmbedding' | 'deepstack'>(
  key: K,
  engineChoice: Record<Engine, ServingContract[K]>,
  matters: (target: TargetFacts, contract: ServingContract) => boolean,
  consequence: string,
): (subject: Subject) => Finding {
  return (subject) => {
    const { contract } = subject.manifest();
    if (!matters(subject.target(), contract)) return ok(`${contract[key]}; no difference for this target`);
    const different = subject.engines().filter((engine) => engineChoice[engine] !== contract[key]);
    if (different.length === 0) return ok(contract[key]);
    const engines = different
      .map((engine) => `${ENGINE_NAMES[engine]} has ${engineChoice[engine]}`)
      .join(', ');
    return wrong(`trained with ${contract[key]}, but ${engines}: ${consequence}`);
  };
}

/** Model types whose prompts tell the time of every frame of a clip. */
const TIMED_CLIPS = new Set(['qwen3_vl', 'qwen3_vl_moe']);

function positionRule({ manifest, target }: Subject): Finding {
  const { positionRule: rule, positions } = manifest().contract;
  if (rule === 'engines') return ok('as the engines count');
  if (TIMED_CLIPS.has(target().modelType)) {
    return wrong(
      `trained with ${rule}, which puts a clip's frames inside the pair around its placeholder: both engines put them in ` +
        'the place of the pair, so the draft is asked to go on from prompts that it has not seen',
    );
  }
  if (!target().multimodal || positions === 'index') return ok(`${rule}; no difference for these positions`);
  return wrong(
    `trained with ${rule}: both engines resume text after a clip at the largest position so far + 1, so the draft is ` +
      'rotated otherwise after every clip',
  );
}

/** Keys in which two objects differ, nested ones by their path. */
function differences(a: Json, b: Json, prefix = ''): string[] {
  return [...new Set([...Object.keys(a), ...Object.keys(b)])].flatMap((key) => {
    const [left, right] = [a[key], b[key]];
    if (canonicalJson(left ?? null) === canonicalJson(right ?? null)) return [];
    if (key === 'rotary') return differences(left as Json, right as Json, 'rotary.');
    return [`${prefix}${key}: ${show(left)} when exported, ${show(right)} now`];
  });
}

function unchangedConfig({ config, manifest }: Subject): Finding {
  const now = readDraftConfig(config(), CONFIG_FILE);
  const changed = differences(manifest().draft, now as unknown as Json);
  if (changed.length === 0) return ok('as exported');
  return wrong(`config.json was changed after export: ${changed.join('; ')}; engines read config.json alone`);
}

function trainedTarget({ manifest, target }: Subject): Finding {
  const { architecture, configFingerprint: expected } = manifest().target;
  const facts = target();
  if (configFingerprint(facts) === expected) return ok(`${architecture} with the same config`);
  return wrong(
    `trained for ${architecture === facts.architecture ? `another ${architecture}, of another config` : architecture}, ` +
      `received ${facts.architecture}; both engines start where sizes happen to fit, and accept length is near 1`,
  );
}

function trainedWeights({ manifest, target }: Subject): Finding {
  if (weightsFingerprint(target()) === manifest().target.weightsFingerprint)
    return ok('those it was trained for');
  return wrong(
    'the weights of the last decoder layer are not those it was trained for (another fine-tuning, or another element ' +
      'type); both engines start, and accept length falls with the distance between the two',
  );
}

export const contractChecks: Check[] = [
  { name: 'engine support', run: engineSupport },
  {
    name: 'multimodal embedding',
    run: choice(
      'multimodalEmbedding',
      { sglang: 'merged', vllm: 'placeholder' },
      ({ multimodal }) => multimodal,
      'the draft reads other embeddings at media slots than in training, and accept length falls after an image',
    ),
  },
  {
    name: 'deepstack',
    run: choice(
      'deepstack',
      { sglang: 'before', vllm: 'after' },
      ({ deepstackLayers }, { auxLayerIds }) => auxLayerIds.some((id) => id >= 1 && id <= deepstackLayers),
      'aux states at visual slots differ from those of training in the layers that add visual features',
    ),
  },
  { name: 'position rule', run: positionRule },
  { name: 'config unchanged', run: unchangedConfig },
  { name: 'target config', run: trainedTarget },
  { name: 'target weights', run: trainedWeights },
];
