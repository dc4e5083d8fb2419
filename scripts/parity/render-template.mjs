// Renders chat templates with eyas for templates.py: JSON lines on stdin, one answer a line on stdout. Needs dist/.
import { createInterface } from 'node:readline';
import { parseRecordText } from '../../dist/data/exact-json.js';
import { renderConversation } from '../../dist/data/loss-mask.js';
import { ChatTemplate } from '../../dist/text/chat-template.js';
import { parseJson } from '../../dist/text/jinja/json.js';

let template;

function attempt(action) {
  try {
    return action();
  } catch (error) {
    return { error: error.message };
  }
}

function answer({ source, endOfTurn, specialTokens, record, variables, addGenerationPrompt, spans }) {
  if (source !== undefined) {
    template = undefined;
    template = new ChatTemplate(source, { file: 'chat_template.jinja', specialTokens, endOfTurn });
    return { contentForm: template.contentForm };
  }
  if (!template) return { error: 'the template cannot be parsed' };
  if (spans) {
    const { messages, tools } = parseRecordText(record);
    return renderConversation(template, messages, {
      tools: tools ?? undefined,
      variables,
      addGenerationPrompt,
    });
  }
  const given = parseJson(record);
  const tools = given.get('tools') ?? undefined;
  return { text: template.render(given.get('messages'), { tools, variables, addGenerationPrompt }) };
}

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(attempt(() => answer(JSON.parse(line)))));
}
