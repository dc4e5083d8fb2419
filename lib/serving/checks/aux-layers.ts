import { isObject } from '../../hub/files.js';
import { AUX_LAYER_KEY, hasRegularLayerIds, readAuxLayers } from '../aux-layers.js';
import { isDefaultAuxLayers } from '../contract.js';
import { readDraftConfig } from '../draft-config.js';
import { CONFIG_FILE } from '../draft-files.js';
import { ok, show, wrong, type Check, type Finding, type Subject } from './subject.js';

function isIds(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((id) => Number.isInteger(id));
}

const NESTED = `eagle_config.${AUX_LAYER_KEY}`;

/** Whether the two places name the same layers, each in its own counting. */
function conventions({ config, target }: Subject): Finding {
  const { topLevel, nested } = readAuxLayers(config());
  if (topLevel === undefined && nested === undefined) return ok('no ids: both engines take [2, N/2, N-3]');
  if (nested === undefined) {
    return wrong(
      `${AUX_LAYER_KEY} without ${NESTED}: SGLang reads the nested one alone and captures its default layers`,
    );
  }
  if (topLevel === undefined) {
    return wrong(
      `${NESTED} without ${AUX_LAYER_KEY}: vLLM's V2 runner captures its default layers, its V1 runner those one below`,
    );
  }
  if (!isIds(topLevel) || !isIds(nested))
    return wrong(
      `expected lists of whole numbers, received ${show(topLevel)} and ${show(nested)}; both engines stop at start`,
    );
  if (!hasRegularLayerIds(target().architecture)) {
    return wrong(
      `SGLang numbers the layers of ${target().architecture} by its own rule; only default ids are safe`,
    );
  }
  const expected = topLevel.map((id) => id - 1);
  if (show(nested) === show(expected))
    return ok(`${show(topLevel)} for vLLM, ${show(nested)} (plus one) for SGLang`);
  return wrong(
    `${NESTED}: expected ${show(expected)}, one less than ${AUX_LAYER_KEY} ${show(topLevel)}, received ${show(nested)}; ` +
      'SGLang adds one, vLLM does not, so the two engines capture different layers',
  );
}

function trainedLayers({ config, manifest, target }: Subject): Finding {
  const { auxLayerIds: trained } = manifest().contract;
  const { topLevel } = readAuxLayers(config());
  const { numLayers } = target();
  if (topLevel === undefined) {
    if (isDefaultAuxLayers(trained, numLayers)) return ok(show(trained));
    return wrong(
      `trained on ${show(trained)}, but config.json names no layers: both engines capture ` +
        `${show([2, Math.floor(numLayers / 2), numLayers - 3])}, and accept length is near 1`,
    );
  }
  if (show(topLevel) === show(trained)) return ok(show(trained));
  return wrong(
    `trained on ${show(trained)}, but config.json names ${show(topLevel)}: both engines capture those, and accept length is near 1`,
  );
}

/** SGLang captures before a layer, so that it has neither the embeddings nor what comes after the last. */
function layerRange(subject: Subject): Finding {
  const { numLayers } = subject.target();
  const { topLevel } = readAuxLayers(subject.config());
  const ids = isIds(topLevel) ? topLevel : subject.manifest().contract.auxLayerIds;
  const [low, high] = subject.serves('sglang') ? [1, numLayers - 1] : [0, numLayers];
  const inRange = ids.every((id, i) => id >= low && id <= high && (i === 0 || id > ids[i - 1]!));
  if (inRange) return ok(`ascending, ${low} to ${high}`);
  return wrong(
    `expected ascending ids from ${low} to ${high}, received ${show(ids)}; engines join the states in the order of the ` +
      'layers and never reach one that is not there, so fc gets another width and stops',
  );
}

function count(subject: Subject): Finding {
  const { numAuxHiddenStates, hiddenSize } = readDraftConfig(subject.config(), CONFIG_FILE);
  const { nested } = readAuxLayers(subject.config());
  const fc = subject.weights().tensors.get('fc.weight');
  const states = (fc?.shape[1] ?? 0) / hiddenSize;
  const ids = isIds(nested) ? nested.length : 3;
  if (states === numAuxHiddenStates && states === ids) return ok(`${states}, as fc reads`);
  return wrong(
    `fc reads ${states}, num_aux_hidden_states says ${numAuxHiddenStates}, and ${ids} layers are captured; ` +
      'both engines stop at the width of fc',
  );
}

function useAux({ config }: Subject): Finding {
  const eagle = config()['eagle_config'];
  const flag = isObject(eagle) ? eagle['use_aux_hidden_state'] : undefined;
  if (flag === undefined || flag === true) return ok(flag ? 'true' : 'on by default');
  return wrong(
    `use_aux_hidden_state: expected true, received ${show(flag)}; vLLM leaves fc out and both give the draft the last hidden state`,
  );
}

export const auxLayerChecks: Check[] = [
  { name: 'aux layer ids', run: conventions },
  { name: 'trained aux layers', run: trainedLayers },
  { name: 'aux layer range', run: layerRange },
  { name: 'num_aux_hidden_states', run: count },
  { name: 'use_aux_hidden_state', run: useAux },
];
