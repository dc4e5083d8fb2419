import { join } from 'node:path';
import type { TemplateSource } from '../../text/chat-template.js';

const defaultSystem =
  '你是书生·万象，英文名是InternVL，是由上海人工智能实验室、清华大学及多家合作单位联合开发的多模态大语言模型。';

/** The conversation `internvl2_5` of OpenGVLab's code, which InternVL 2.5, 3 and 3.5 name. */
const source = `{%- if messages[0]['role'] != 'system' -%}
{{- '<|im_start|>system\n${defaultSystem}<|im_end|>\n' -}}
{%- endif -%}
{%- for message in messages -%}
{{- '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}`;

/**
 * The template of a model of the original layout that has none: what its own code would render.
 *
 * @param name `template` of config.json; undefined for one that is not known
 */
export function conversationTemplate(modelDir: string, name: string | undefined): TemplateSource | undefined {
  if (name !== 'internvl2_5') return undefined;
  return { file: join(modelDir, 'config.json (template "internvl2_5")'), source };
}
