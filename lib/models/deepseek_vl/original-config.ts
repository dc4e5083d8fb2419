import { join } from 'node:path';
import { z } from 'zod';
import { addedTokenId, checker, count, parsePart } from '../config.js';
import { architectures } from './architectures.js';
import type { DeepseekVLConfig, Normalization, SamConfig, SiglipConfig } from './config.js';
import { readText } from './text-config.js';

/** Token that pictures fill; only the tokenizer's files have its id. */
export const imageTag = '<image_placeholder>';

/** Sizes of DeepSeek's SigLIP towers by name; `params` may give them itself. */
const siglipSizes = {
  siglip_large_patch16_384: { width: 1024, layers: 24, heads: 16, patch_size: 16, mlp_ratio: 4 },
  siglip_so400m_patch14_384: { width: 1152, layers: 27, heads: 16, patch_size: 14, mlp_ratio: 3.7362 },
  siglip_so400m_patch14_224: { width: 1152, layers: 27, heads: 16, patch_size: 14, mlp_ratio: 3.7362 },
} as const;

/** Of its SAM towers; the others of these names end without the convolutions that make tokens. */
const samSizes = {
  sam_b_downsample: {
    width: 768,
    layers: 12,
    heads: 12,
    patch_size: 16,
    window_size: 14,
    global_attn_indexes: [2, 5, 8, 11],
    prompt_embed_dim: 256,
    downsample_channels: [512, 1024],
  },
} as const;

const channels = z.array(z.number()).length(3);

const towerSchema = z.object({
  image_size: count,
  select_layer: z.int().default(-1),
  pixel_mean: channels.nullish(),
  pixel_std: channels.nullish(),
});

const siglipSchema = towerSchema.extend({
  model_name: z.literal(Object.keys(siglipSizes) as (keyof typeof siglipSizes)[]),
  width: count.optional(),
  layers: count.optional(),
  heads: count.optional(),
  patch_size: count.optional(),
  mlp_ratio: z.number().positive().optional(),
});

const samSchema = towerSchema.extend({
  model_name: z.literal(Object.keys(samSizes) as (keyof typeof samSizes)[]),
  width: count.optional(),
  layers: count.optional(),
  heads: count.optional(),
  patch_size: count.optional(),
  window_size: count.optional(),
  global_attn_indexes: z.array(z.int().nonnegative()).min(1).optional(),
  prompt_embed_dim: count.optional(),
  downsample_channels: z.tuple([count, count]).optional(),
});

const part = z.record(z.string(), z.unknown());
const alignerParams = z.object({
  depth: z.literal(2, 'only two layers are supported'),
  input_dim: count,
  n_embed: count,
});

const rootSchema = z.object({
  gen_vision_config: z
    .undefined('Janus, which makes pictures and has the same class, is not supported: expected a DeepSeek-VL model')
    .optional(),
  language_config: part,
  vision_config: z.discriminatedUnion('cls', [
    z.object({ cls: z.literal('CLIPVisionTower'), params: siglipSchema }),
    z.object({
      cls: z.literal('HybridVisionTower'),
      params: z.object({
        high_res_cfg: samSchema,
        low_res_cfg: siglipSchema,
        concat_type: z.literal('tuple').default('tuple'),
      }),
    }),
  ]),
  aligner_config: z.object({
    cls: z.literal('MlpProjector'),
    params: z.discriminatedUnion('projector_type', [
      alignerParams.extend({ projector_type: z.literal('mlp_gelu') }),
      alignerParams.extend({ projector_type: z.literal('low_high_hybrid_split_mlp_gelu') }),
    ]),
  }),
});

/** Given fields over those that a name stands for. */
function sizesOf<Sizes extends object>(named: Sizes, given: Partial<Record<keyof Sizes, unknown>>): Sizes {
  const own = Object.entries(given).filter(([key, value]) => key in named && value !== undefined);
  return { ...named, ...Object.fromEntries(own) };
}

function readSiglip(params: z.infer<typeof siglipSchema>): SiglipConfig {
  const sizes: { [Key in 'width' | 'layers' | 'heads' | 'patch_size' | 'mlp_ratio']: number } =
    sizesOf(siglipSizes[params.model_name], params);
  const { select_layer: layer } = params;
  return {
    depth: Math.min(sizes.layers, layer <= 0 ? sizes.layers + layer + 1 : layer),
    hiddenSize: sizes.width,
    intermediateSize: Math.trunc(sizes.width * sizes.mlp_ratio),
    numHeads: sizes.heads,
    imageSize: params.image_size,
    patchSize: sizes.patch_size,
    activation: 'gelu',
    normEps: 1e-6,
  };
}

function readSam(params: z.infer<typeof samSchema>, file: string): SamConfig {
  const sizes = sizesOf<Record<string, unknown>>(samSizes[params.model_name], params) as unknown as Required<
    Omit<z.infer<typeof samSchema>, 'pixel_mean' | 'pixel_std'>
  >;
  const [first, second] = sizes.downsample_channels;
  const channelCount = sizes.prompt_embed_dim;
  checker(file, 'vision_config.params.high_res_cfg.')(
    first === 2 * channelCount && second === 4 * channelCount,
    'downsample_channels',
    `expected twice and four times prompt_embed_dim ${channelCount}, received ${first} and ${second}`,
  );
  return {
    depth: sizes.layers,
    hiddenSize: sizes.width,
    intermediateSize: 4 * sizes.width,
    numHeads: sizes.heads,
    imageSize: params.image_size,
    patchSize: sizes.patch_size,
    activation: 'gelu',
    normEps: 1e-6,
    qkvBias: true,
    windowSize: sizes.window_size,
    globalLayers: [...sizes.global_attn_indexes].sort((a, b) => a - b),
    outputChannels: channelCount,
  };
}

function normalizationOf({ pixel_mean: mean, pixel_std: std }: z.infer<typeof towerSchema>): Normalization | undefined {
  return mean && std ? { mean, std } : undefined;
}

/**
 * Reads the config of DeepSeek's own code: `language_config`, and `vision_config` and `aligner_config` with the class of
 * each and its parameters.
 *
 * @throws Error `file: key: reason` for every missing or nonsensical field
 */
export function readOriginalConfig(
  raw: unknown,
  modelDir: string,
  stopTokenIds: readonly number[],
): DeepseekVLConfig {
  const file = join(modelDir, 'config.json');
  const root = parsePart(rootSchema, raw, file);
  const { vision_config: tower } = root;
  const hybrid = tower.cls === 'HybridVisionTower' ? tower.params : undefined;
  const low = tower.cls === 'HybridVisionTower' ? tower.params.low_res_cfg : tower.params;
  const text = readText(root.language_config, {
    file,
    prefix: 'language_config.',
    architecture: architectures.original,
    modelType: 'multi_modality',
    tieWordEmbeddings: root.language_config['tie_word_embeddings'] === true,
    stopTokenIds,
  });
  const vision = readSiglip(low);
  const highRes = hybrid && readSam(hybrid.high_res_cfg, file);

  const { params: aligner } = root.aligner_config;
  const check = checker(file, 'aligner_config.params.');
  const projector = hybrid ? 'low_high_hybrid_split_mlp_gelu' : 'mlp_gelu';
  check(
    aligner.projector_type === projector,
    'projector_type',
    `expected ${projector} after a ${tower.cls}, received ${aligner.projector_type}`,
  );
  check(
    aligner.n_embed === text.hiddenSize,
    'n_embed',
    `expected the text decoder's hidden_size ${text.hiddenSize}, received ${aligner.n_embed}`,
  );
  const widths = [vision.hiddenSize, ...(highRes ? [4 * highRes.outputChannels] : [])];
  check(
    widths.every((width) => width === aligner.input_dim),
    'input_dim',
    `expected the towers' ${widths.join(' and ')}, received ${aligner.input_dim}`,
  );
  const normalization = {
    vision: normalizationOf(low),
    highRes: hybrid && normalizationOf(hybrid.high_res_cfg),
  };
  return {
    layout: 'original',
    text,
    vision,
    ...(highRes && { highRes }),
    normalization,
    imageTokenId: addedTokenId(modelDir, imageTag),
  };
}
