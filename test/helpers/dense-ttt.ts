import { Graph, Matrix, softmax } from './float64.js';

// Sections 1, 2, 4 and 5 of the training contract, written down literally: every slot of every step, in float64.

export interface DenseSequence {
  ids: Int32Array;
  assistant: Uint8Array;
  /** [axes][T] */
  positions: number[][];
  /** [T, aux·H] */
  features: Float32Array;
  /** [T, H] embeddings of the tokens themselves */
  embeddings: Float32Array;
  /** [T, V] */
  targetLogits: Float64Array;
}

export interface DenseSetup {
  hiddenSize: number;
  numHeads: number;
  numKeyValueHeads: number;
  eps: number;
  vocabSize: number;
  /** target ids of the draft vocabulary */
  draftTargets: Int32Array;
  steps: number;
  decay: number;
  mask: 'serving' | 'specforge';
  normalization: 'tokens' | 'specforge';
  outOfVocabulary: 'mask' | 'keep';
  inverseFrequencies: Float32Array;
  /** axis that each frequency takes its position from */
  frequencyAxis: number[];
  parameters: Record<string, { shape: number[]; data: Float32Array }>;
}

export interface DenseResult {
  loss: number;
  stepLoss: number[];
  accuracy: number[];
  acceptLength: number;
  gradients: Record<string, Float64Array>;
}

export function denseTtt(sequences: readonly DenseSequence[], setup: DenseSetup): DenseResult {
  const weights = Object.fromEntries(
    Object.entries(setup.parameters).map(([name, { shape, data }]) => [
      name,
      shape.length === 2 ? Matrix.from(shape[0]!, shape[1]!, data) : Matrix.from(1, shape[0]!, data),
    ]),
  );
  const w = (name: string) => weights[`${name}.weight`]!;
  const vocabulary = new Set(setup.draftTargets);
  const choice = (seq: DenseSequence, t: number) => {
    const row = seq.targetLogits.subarray(t * setup.vocabSize, (t + 1) * setup.vocabSize);
    return row.indexOf(Math.max(...row));
  };
  const candidate = (seq: DenseSequence, s: number, i: number) => {
    if (i + 2 + s >= seq.ids.length) return false;
    if (setup.mask === 'specforge') return seq.assistant[i + s] === 1;
    for (let t = i + 1; t <= i + 2 + s; t++) if (!seq.assistant[t]) return false;
    return true;
  };
  const supervised = (seq: DenseSequence, s: number, i: number) =>
    candidate(seq, s, i) && (setup.outOfVocabulary === 'keep' || vocabulary.has(choice(seq, i + 1 + s)));
  const slots = (test: typeof candidate, s: number) =>
    sequences.map((seq) => Array.from(seq.ids.keys()).filter((i) => test(seq, s, i)));
  const total = (lists: number[][]) => lists.reduce((sum, list) => sum + list.length, 0);
  const tokens = sequences.reduce((sum, seq) => sum + seq.ids.length, 0);

  const graph = new Graph();
  const stepSum = new Array<number>(setup.steps).fill(0);
  const correct = new Array<number>(setup.steps).fill(0);
  const chains = new Array<number>(setup.steps).fill(0);
  const rows = stepSum.map((_, s) => total(slots(supervised, s)));
  sequences.forEach((seq) => {
    const length = seq.ids.length;
    const alive = new Uint8Array(length).fill(1);
    let hidden = graph.linear(Matrix.from(length, seq.features.length / length, seq.features), w('fc'));
    let prefix: { k: Matrix; v: Matrix } | undefined;
    const diagonal: { k: Matrix; v: Matrix }[] = [];
    for (let s = 0; s < setup.steps; s++) {
      const embedding = new Matrix(length, setup.hiddenSize);
      for (let i = 0; i + 1 + s < length; i++) {
        const row = seq.embeddings.subarray((i + 1 + s) * setup.hiddenSize, (i + 2 + s) * setup.hiddenSize);
        embedding.data.set(row, i * setup.hiddenSize);
      }
      const angles = Array.from({ length }, (_, i) =>
        setup.frequencyAxis.map((axis, f) => (seq.positions[axis]![i]! + s) * setup.inverseFrequencies[f]!),
      );
      const input = graph.concat(
        graph.rmsNorm(embedding, w('midlayer.input_layernorm'), setup.eps),
        graph.rmsNorm(hidden, w('midlayer.hidden_norm'), setup.eps),
      );
      const project = (name: string) => graph.linear(input, w(`midlayer.self_attn.${name}_proj`));
      const q = graph.rotate(project('q'), setup.numHeads, angles);
      const keys = { k: graph.rotate(project('k'), setup.numKeyValueHeads, angles), v: project('v') };
      if (s === 0) prefix = keys;
      else diagonal.push(keys);
      const attended = graph.attention(q, prefix!, diagonal, setup.numHeads, setup.numKeyValueHeads);
      const residual = graph.add(hidden, graph.linear(attended, w('midlayer.self_attn.o_proj')));
      const normed = graph.rmsNorm(residual, w('midlayer.post_attention_layernorm'), setup.eps);
      const gated = graph.swiglu(
        graph.linear(normed, w('midlayer.mlp.gate_proj')),
        graph.linear(normed, w('midlayer.mlp.up_proj')),
      );
      hidden = graph.add(residual, graph.linear(gated, w('midlayer.mlp.down_proj')));
      const logits = graph.linear(graph.rmsNorm(hidden, w('norm'), setup.eps), w('lm_head'));
      const list = Array.from(seq.ids.keys()).filter((i) => supervised(seq, s, i));
      const teacher = list.map((i) =>
        softmax(
          Array.from(setup.draftTargets, (id) => seq.targetLogits[(i + 1 + s) * setup.vocabSize + id]!),
        ),
      );
      const divisor = setup.normalization === 'tokens' ? Math.max(1, rows[s]!) : tokens;
      stepSum[s]! += graph.softCrossEntropy(logits, list, teacher, setup.decay ** s / divisor);
      for (let i = 0; i < length; i++) {
        const row = logits.data.subarray(i * logits.cols, (i + 1) * logits.cols);
        const right =
          supervised(seq, s, i) &&
          setup.draftTargets[row.indexOf(Math.max(...row))] === choice(seq, i + 1 + s);
        if (right) correct[s]! += 1;
        alive[i] = right ? alive[i]! : 0;
        chains[s]! += alive[i]!;
      }
    }
  });
  graph.backward();
  const divisors = rows.map((n) => (setup.normalization === 'tokens' ? Math.max(1, n) : tokens));
  const first = total(slots(candidate, 0));
  return {
    loss: stepSum.reduce((sum, value, s) => sum + (setup.decay ** s * value) / divisors[s]!, 0),
    stepLoss: stepSum.map((value, s) => value / Math.max(1, rows[s]!)),
    accuracy: correct.map((n, s) => n / Math.max(1, total(slots(candidate, s)))),
    acceptLength: 1 + chains.reduce((sum, n) => sum + n / first, 0),
    gradients: Object.fromEntries(Object.entries(weights).map(([name, matrix]) => [name, matrix.grad])),
  };
}
