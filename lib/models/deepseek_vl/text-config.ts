import { z } from 'zod';
import { parsePart } from '../config.js';
import { decoderKinds, readDecoderConfig, type DecoderConfig, type DecoderContext } from '../decoder/config.js';
import { withTextDefaults } from '../decoder/llama-defaults.js';

/** The text decoder's config; its class is Llama's unless it says otherwise, and no other is supported. */
export function readText(value: Readonly<Record<string, unknown>>, context: DecoderContext): DecoderConfig {
  const text = withTextDefaults({ model_type: 'llama', ...value });
  parsePart(z.object({ model_type: z.literal('llama') }), text, context.file, context.prefix);
  return readDecoderConfig(text, decoderKinds.llama, context);
}
