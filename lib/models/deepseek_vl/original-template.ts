import { join } from 'node:path';
import { ChatTemplate } from '../../text/chat-template.js';
import type { Tokenizer } from '../../text/tokenizer.js';
import { imageTag } from './original-config.js';

/**
 * The conversation format "deepseek" of DeepSeek's own code, which keeps it in Python: every text is trimmed, the user's
 * turn ends with an empty line, the assistant's with eos_token, and a system text stands at the front.
 */
const source = `{%- set system = messages[0]['content'] if messages and messages[0]['role'] == 'system' else [{
  'type': 'text',
  'text': 'You are a helpful language and vision assistant. You are able to understand the visual content that the user provides, and assist the user with a variety of tasks using natural language.',
}] -%}
{%- macro print(parts) -%}
{%- set ns = namespace(text='') -%}
{%- for part in parts -%}
{%- set ns.text = ns.text + ('${imageTag}' if part['type'] == 'image' else part['text']) -%}
{%- endfor -%}
{{- ns.text.strip() -}}
{%- endmacro -%}
{{- print(system) -}}
{{- '\\n\\n' -}}
{%- for message in messages -%}
{%- if message['role'] == 'user' -%}
{{- 'User: ' -}}
{{- print(message['content']) -}}
{{- '\\n\\n' -}}
{%- elif message['role'] == 'assistant' -%}
{{- 'Assistant: ' -}}
{{- print(message['content']) -}}
{{- eos_token -}}
{%- elif message['role'] != 'system' -%}
{{- raise_exception('expected messages of system, user and assistant, received ' + message['role']) -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- 'Assistant:' -}}{%- endif -%}`;

/** The chat template of a model in the original layout. */
export function originalTemplate(modelDir: string, { specialTokens, endOfTurn }: Tokenizer): ChatTemplate {
  const file = join(modelDir, 'processor_config.json (sft_format "deepseek")');
  return new ChatTemplate(source, { file, specialTokens, endOfTurn });
}
