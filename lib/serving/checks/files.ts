import { MANIFEST_FILE } from '../manifest.js';
import { ok, wrong, type Check, type Finding, type Subject } from './subject.js';

function readable(read: (subject: Subject) => string, consequence: string): (subject: Subject) => Finding {
  return (subject) => {
    try {
      return ok(read(subject));
    } catch (error) {
      return wrong(`${(error as Error).message}; ${consequence}`);
    }
  };
}

export const fileChecks: Check[] = [
  {
    name: 'config.json',
    run: readable(({ config }) => `${Object.keys(config()).length} keys`, 'both engines stop at start'),
  },
  {
    name: 'model.safetensors',
    run: readable(({ weights }) => `${weights().tensors.size} tensors`, 'both engines stop at start'),
  },
  {
    name: MANIFEST_FILE,
    run: readable(
      ({ manifest }) => `trained for ${manifest().contract.engine} by eyas ${manifest().eyasVersion}`,
      'engines do not read it, but nothing else says for which positions, embeddings and layers the draft was trained; ' +
        'where they are not the server’s, accept length falls without an error',
    ),
  },
  {
    name: 'target',
    run: readable(
      ({ target }) => `${target().architecture}, ${target().numLayers} layers of ${target().hiddenSize}`,
      'the draft cannot be compared with it',
    ),
  },
];
