// Renders chat templates with eyas for templates.py: JSON lines on stdin, one answer a line on stdout. Needs dist/.
import { createInterface } from 'node:readline';
import { renderConversation } from '../../dist/data/loss-mask.js';
import { ChatTemplate } from '../../dist/text/chat-template.js';

let template;

function attempt(action) {
  try {
    return action();
  } catch (error) {
    return { error: error.message };
  }
}

function answer({ source, endOfTurn, specialTokens, messages, tools, variables, addGenerationPrompt, spans }) {
  if (source !== undefined) {
    template = undefined;
    template = new ChatTemplate(source, { file: 'chat_template.jinja', specialTokens, endOfTurn });
    return { contentForm: template.contentForm };
  }
  if (!template) return { error: 'the template cannot be parsed' };
  const options = { tools: tools ?? undefined, variables, addGenerationPrompt };
  return spans ? renderConversation(template, messages, options) : { text: template.render(messages, options) };
}

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(attempt(() => answer(JSON.parse(line)))));
}
