import { join } from 'node:path';

/** A conversation in OpenAI form, pictures named relative to a folder, as a record. */
export function parseRecord(messages, folder) {
  const part = ({ type, text, image }) =>
    type === 'image' ? { type, source: { path: join(folder, image) } } : { type, text };
  return {
    id: 'record',
    where: 'record',
    messages: messages.map(({ role, content }) => ({
      role,
      content: typeof content === 'string' ? [{ type: 'text', text: content }] : content.map(part),
    })),
  };
}
