import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { renderConversation } from '../../lib/data/loss-mask.js';
import type { Message } from '../../lib/models/target.js';
import { ChatTemplate } from '../../lib/text/chat-template.js';

interface Family {
  name: string;
  template: string;
  endOfTurn: string[];
  cases: {
    messages: Message[];
    tools: unknown[] | null;
    variables: Record<string, unknown>;
    text: string;
    prompt: string;
  }[];
}

/** Made by scripts/fixtures/templates.py. */
const families = JSON.parse(
  readFileSync(new URL('../fixtures/templates.json', import.meta.url), 'utf8'),
) as Family[];

describe.each(families)('template of $name', ({ template: source, endOfTurn, cases }) => {
  const template = new ChatTemplate(source, {
    file: 'chat_template.jinja',
    specialTokens: { bos_token: '<s>', eos_token: '</s>' },
    endOfTurn,
  });

  it.each(cases.map((value, i) => [i, value] as const))(
    'renders as transformers does, and tells what the assistant generates (case %i)',
    (_, { messages, tools, variables, text, prompt }) => {
      const options = { variables, ...(tools ? { tools } : {}) };
      expect(template.render(messages, options)).toBe(text);
      const first = messages.findIndex(({ role }) => role === 'assistant');
      const asked = template.render(messages.slice(0, first), { ...options, addGenerationPrompt: true });
      expect(asked).toBe(prompt);

      const rendered = renderConversation(template, messages, options);
      expect(rendered.text).toBe(text);
      const spans = rendered.assistantSpans.map(([start, end]) => text.slice(start, end));
      expect(spans).toHaveLength(messages.filter(({ role }) => role === 'assistant').length);
      for (const span of spans) expect(endOfTurn.some((token) => span.endsWith(token))).toBe(true);
      if (text.startsWith(prompt)) expect(rendered.assistantSpans[0]![0]).toBe(prompt.length);
    },
  );
});
