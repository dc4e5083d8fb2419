import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { ChatTemplate, loadChatTemplate } from '../../lib/text/chat-template.js';
import { loadTokenizer } from '../../lib/text/tokenizer.js';
import { conversations, tokenizerDirectory } from './fixtures.js';

const tokenizer = loadTokenizer(tokenizerDirectory);
const settings = { file: 'chat_template.jinja', specialTokens: { bos_token: '<s>' }, endOfTurn: [] };

describe('ChatTemplate', () => {
  const template = loadChatTemplate(tokenizerDirectory, tokenizer);

  it.each(conversations.cases.map((value, i) => [i, value] as const))(
    'renders as transformers does (case %i)',
    (_, { messages, text }) => {
      expect(template.render(messages)).toBe(text);
    },
  );

  it('adds the generation prompt and passes variables', () => {
    const prompt = conversations.cases[12]!.messages.slice(0, 1);
    expect(template.render(prompt, { addGenerationPrompt: true })).toBe(conversations.generation_prompt);
    const vision = conversations.cases[13]!.messages;
    expect(template.render(vision, { variables: { add_vision_id: true } })).toBe(conversations.vision_ids);
  });

  it('trims blocks, knows special tokens and reads CRLF as line ends', () => {
    const source = '{{ bos_token }}\r\n  {% if tools is none %}\r\nno tools\r\n  {% endif %}\r\nend\r\n';
    expect(new ChatTemplate(source, settings).render([])).toBe('<s>\nno tools\nend');
  });

  it('passes on what a template raises', () => {
    const source = "{{ raise_exception('roles must alternate') }}";
    expect(() => new ChatTemplate(source, settings).render([])).toThrow(
      'chat_template.jinja: the chat template failed: roles must alternate',
    );
  });

  it('strips what it is asked to, and keeps what is printed before a break', () => {
    const source = "{% for m in messages %}{{ m.content.lstrip('\\n') }}|{% break %}{% endfor %}";
    const messages = [{ content: '\n\n    code' }, { content: 'never' }];
    expect(new ChatTemplate(source, settings).render(messages)).toBe('    code|');
  });

  it('names the file and line where a template cannot be parsed, and refuses what it does not know', () => {
    expect(() => new ChatTemplate('{% if x %}', settings)).toThrow(
      'chat_template.jinja: the chat template cannot be parsed: line 1: expected {% elif %} or',
    );
    expect(() => new ChatTemplate("\n{% include 'x' %}", settings)).toThrow(
      'line 2: unsupported tag {% include %}',
    );
    expect(() => new ChatTemplate("{{ 'a'|wordwrap }}", settings).render([])).toThrow(
      "unsupported filter 'wordwrap'",
    );
    expect(() => new ChatTemplate("{{ 'a'.encode() }}", settings).render([])).toThrow(
      "'encode' of a 'str' object",
    );
  });
});

describe('loadChatTemplate', () => {
  const directory = mkdtempSync(join(tmpdir(), 'eyas-template-'));
  afterAll(() => {
    rmSync(directory, { recursive: true });
  });
  const load = () => loadChatTemplate(directory, tokenizer).render([]);

  it('takes chat_template.jinja, chat_template.json, tokenizer_config.json, in that order', () => {
    cpSync(join(tokenizerDirectory, 'tokenizer.json'), join(directory, 'tokenizer.json'));
    expect(load).toThrow(`${directory}: there is no chat template in`);
    const config = join(directory, 'tokenizer_config.json');
    writeFileSync(config, JSON.stringify({ chat_template: [{ name: 'tool_use', template: 'no' }] }));
    expect(load).toThrow(`${config}: chat_template has no entry named "default"`);
    writeFileSync(config, JSON.stringify({ chat_template: [{ name: 'default', template: 'named' }] }));
    expect(load()).toBe('named');
    writeFileSync(config, JSON.stringify({ chat_template: 'config' }));
    expect(load()).toBe('config');
    writeFileSync(join(directory, 'chat_template.json'), JSON.stringify({ chat_template: 'json' }));
    expect(load()).toBe('json');
    writeFileSync(join(directory, 'chat_template.jinja'), 'jinja');
    expect(load()).toBe('jinja');
  });
});
