// Every operation on the GPU against the same operation on the CPU: same inputs, several shapes and element types.
//
//   operations.mjs [small|full]      prints one JSON object; small is for compute-sanitizer and for the emulation

import { fileURLToPath } from 'node:url';
import { native } from '../../dist/native.js';
import { cast, narrow, ops, scope, tensor, toFloats, toInts, transpose } from '../../dist/tensor.js';

/** Rows, features and so on of a round of cases. */
const rounds = {
  small: [
    { n: 5, h: 24, i: 40, v: 120, heads: 4, kv: 2, d: 64, keys: 45 },
    { n: 37, h: 96, i: 72, v: 333, heads: 6, kv: 2, d: 80, keys: 130 },
    { n: 20, h: 64, i: 64, v: 257, heads: 4, kv: 4, d: 128, keys: 70 },
  ],
  full: [
    { n: 37, h: 96, i: 72, v: 333, heads: 6, kv: 2, d: 80, keys: 130 },
    { n: 129, h: 520, i: 1000, v: 4097, heads: 8, kv: 8, d: 96, keys: 700 },
    { n: 200, h: 256, i: 512, v: 8001, heads: 4, kv: 1, d: 256, keys: 500 },
    { n: 300, h: 1024, i: 2816, v: 16000, heads: 16, kv: 4, d: 64, keys: 2048 },
    { n: 600, h: 3584, i: 4736, v: 32000, heads: 28, kv: 4, d: 128, keys: 4096 },
  ],
};

// Largest difference, of the largest value. float32: sums in another order. bfloat16 products of the same rounded factors
// differ by as little; where a result or what it is made of is rounded, by its last bit.
const bounds = { float32: 2e-5, bfloat16: 2e-5, rounded: 2e-2 };

let seed = 0n;
const random = (shape, std = 1) => ops.randomNormal(shape, std, ++seed);
const ints = (count, of) =>
  tensor(
    Int32Array.from({ length: count }, (_, i) => of(i)),
    [count],
  );

/** Takes entries out of an object. */
function take(object, names) {
  const taken = Object.fromEntries(names.map((name) => [name, object[name]]));
  for (const name of names) delete object[name];
  return taken;
}

/** name → the tensors or numbers that an operation gives, for a shape and an element type of weights. */
function cases({ n, h, i, v, heads, kv, d, keys }, dtype) {
  const weight = (rows, columns) => cast(random([rows, columns], 1 / Math.sqrt(columns)), dtype);
  const x = () => random([n, h]);
  const rounded = dtype === 'bfloat16' ? 'rounded' : undefined;
  const own = {
    'matmul, weights [out,in]': () => [ops.matmul(x(), weight(i, h), { transposeB: true })],
    'matmul, weights [in,out]': () => [ops.matmul(x(), weight(h, i))],
    'matmul, bias': () => [ops.matmul(x(), weight(i, h), { transposeB: true, bias: random([i]) })],
    'matmul, added into columns': () => {
      const out = random([n, i + 8]);
      ops.matmul(x(), weight(i, h), { transposeB: true, out: narrow(out, 1, 8, i), accumulate: true });
      return [out];
    },
    'matmul, one row': () => [ops.matmul(random([1, h]), weight(v, h), { transposeB: true })],
    matmulTransposed: () => {
      const parts = [n, 3, 17].map((rows) => [weight(rows, h), weight(rows, i)]);
      return [
        ops.matmulTransposed(
          parts.map(([a]) => a),
          parts.map(([, b]) => b),
        ),
      ];
    },
    gatherRows: () => [
      ops.gatherRows(
        weight(v, h),
        ints(n, (r) => (r * 7919) % v),
      ),
    ],
    rmsNorm: () => [ops.rmsNorm(x(), cast(random([h]), dtype), 1e-6)],
    layerNorm: () => [ops.layerNorm(x(), cast(random([h]), dtype), cast(random([h]), dtype), 1e-6)],
    foldedNormBackward: () => {
      const [dweight, dnorm] = [random([i, h]), random([h])];
      ops.foldedNormBackward(random([i, h]), weight(i, h), random([h]), dweight, dnorm);
      return [dweight, dnorm];
    },
    linearArgmax: () => [ops.linearArgmax(x(), weight(v, h))],
    linearTeacher: () => {
      const columns = ints(Math.ceil(v / 3), (c) => 3 * c);
      const { argmax, probabilities } = ops.linearTeacher(x(), weight(v, h), columns);
      return [argmax, probabilities];
    },
    linearSoftCrossEntropy: () => {
      const teacher = ops.softmax(random([n, v]));
      const dweight = random([v, h]);
      const rows = ints(n, (r) => (r * 5) % n);
      const { losses, argmax, dx } = ops.linearSoftCrossEntropy(
        x(),
        weight(v, h),
        teacher,
        rows,
        random([n]),
        dweight,
      );
      return [losses, argmax, dx, dweight];
    },
    ...(rounded === undefined && { attention: () => Object.values(attend('float32').forward) }),
    ...(rounded === undefined && { attentionBackward: () => attend('float32').backward() }),
    adamW: () => {
      const all = Array.from({ length: 4 }, () => random([i, h]));
      all[3].fill(0.5);
      const copy = cast(random([i, h]), dtype);
      const options = {
        lr: 1e-3,
        beta1: 0.9,
        beta2: 0.95,
        eps: 1e-8,
        weightDecay: 0.01,
        step: 3,
        gradScale: 0.7,
      };
      ops.adamW(...all.map((t) => [t]), [copy], options);
      return [all[0], all[2], all[3], cast(copy, 'float32')];
    },
    expertMlp: () => {
      const experts = 8;
      const routing = ops.routeTopK(random([n, experts], 2), 3, true);
      const gateUp = cast(random([experts, 2 * 48, h], 1 / Math.sqrt(h)), dtype);
      const down = cast(random([experts, h, 48], 1 / 7), dtype);
      return [
        routing.experts,
        routing.weights,
        ops.expertMlp(x(), routing, gateUp, down, { activation: 'silu' }),
      ];
    },
    'cast, copy of a transposed view': () => [cast(transpose(weight(n, h), 0, 1), 'float32')],
  };
  const roundedCases = rounded && {
    attention: () => Object.values(attend('bfloat16').forward),
    attentionBackward: () => attend('bfloat16').backward(),
    ...take(own, ['linearSoftCrossEntropy', 'adamW', 'expertMlp']),
  };

  /** As the draft attends: queries at the last slots see the slots before, and keys of their own beside. */
  function attend(type) {
    const q = random([n, heads, d]);
    const [k, values] = [random([keys, kv, d]), random([keys, kv, d])];
    const begin = ints(n, (r) => (r % 11 === 3 ? 9 : 0));
    const end = ints(n, (r) => (r % 13 === 5 ? 0 : keys - n + r + 1));
    const extras = [0, 1].map(() => ({
      k: random([n + 3, kv, d]),
      v: random([n + 3, kv, d]),
      rows: ints(n, (r) => (r * 3) % (n + 3)),
    }));
    const options = { dtype: type, extras };
    const forward = ops.attention(q, k, values, begin, end, options);
    const backward = () => {
      const { out, lse } = forward;
      const gradients = ops.attentionBackward(
        random([n, heads, d]),
        q,
        k,
        values,
        out,
        lse,
        begin,
        end,
        options,
      );
      return [gradients.dq, gradients.dk, gradients.dv, ...gradients.extras.flatMap((e) => [e.dk, e.dv])];
    };
    return { forward, backward };
  }

  const plain = rounded
    ? {}
    : {
        randomNormal: () => [random([n, h], 0.3)],
        'add, mul': () => [ops.add(x(), x()), ops.mul(x(), x()), ops.mul(x(), random([h]))],
        'addInPlace, scaleInPlace': () => {
          const a = x();
          ops.addInPlace(a, x(), 0.25);
          ops.scaleInPlace(a, 1.5);
          return [a];
        },
        activation: () =>
          ['silu', 'gelu', 'gelu_tanh', 'quick_gelu'].map((kind) => ops.activation(random([n, h], 2), kind)),
        gatedActivation: () =>
          ['silu', 'gelu_tanh'].map((kind) => ops.gatedActivation(random([n, i]), random([n, i]), kind)),
        gatedActivationBackward: () =>
          ['silu', 'gelu', 'gelu_tanh', 'quick_gelu'].flatMap((kind) =>
            Object.values(ops.gatedActivationBackward(random([n, i]), random([n, i]), random([n, i]), kind)),
          ),
        rmsNormBackward: () => {
          const dweight = random([h]);
          return [ops.rmsNormBackward(x(), x(), random([h]), 1e-6, dweight), dweight];
        },
        layerNormBackward: () => {
          const [dweight, dbias] = [random([h]), random([h])];
          return [ops.layerNormBackward(x(), x(), random([h]), 1e-6, dweight, dbias), dweight, dbias];
        },
        softmax: () => [ops.softmax(random([n, v], 3))],
        softmaxBackward: () => [ops.softmaxBackward(random([n, v]), ops.softmax(random([n, v])))],
        'ropeTables, rope': () => {
          const frequencies = tensor(
            Float32Array.from({ length: d / 2 }, (_, f) => 1e6 ** ((-2 * f) / d)),
            [d / 2],
          );
          const third = Math.floor(d / 6);
          const sections = [d / 2 - 2 * third, third, third];
          const positions = tensor(
            Float32Array.from({ length: 3 * n }, (_, p) => (p * 37) % 5000),
            [3, n],
          );
          return [true, false].flatMap((interleaved) => {
            const { cos, sin } = ops.ropeTables(positions, frequencies, { sections, interleaved, offset: 2 });
            const heads = random([n, kv, d]);
            return [cos, sin, ops.rope(heads, cos, sin), ops.rope(heads, cos, sin, true)];
          });
        },
        'scatterRows, scatterAddRows': () => {
          const [a, b] = [random([v, h]), random([v, h])];
          const ids = ints(n, (r) => (r * r) % v);
          ops.scatterRows(a, ids, x());
          ops.scatterAddRows(b, ids, x());
          return [a, b];
        },
        argmax: () => [ops.argmax(random([n, v]))],
        gradNorm: () => [ops.gradNorm([random([i, h]), random([h]), random([n, i])])],
        cat: () => [ops.cat([x(), random([n, i])], 1), ops.cat([x(), random([3, h])], 0)],
      };
  const of = (all, bound) => Object.entries(all ?? {}).map(([name, run]) => ({ name, run, bound }));
  return [...of(own, dtype), ...of(plain, 'float32'), ...of(roundedCases, 'rounded')];
}

const read = (value) => {
  if (typeof value === 'number') return Float64Array.of(value);
  return value.dtype === 'int32' ? toInts(value) : toFloats(value);
};

/** What an operation gives on a device, its inputs made from the same seeds. */
function results(device, run) {
  native.setDevice(device);
  seed = 0n;
  try {
    return scope(() => run().map(read));
  } finally {
    native.setDevice('cpu');
  }
}

/** Largest difference of floats as a share of the largest value; of choices, the share that differs. */
export function difference(expected, received) {
  if (expected.length !== received.length) return Infinity;
  if (expected instanceof Int32Array) {
    return expected.filter((value, at) => value !== received[at]).length / Math.max(expected.length, 1);
  }
  let [largest, apart] = [0, 0];
  for (let at = 0; at < expected.length; at++) {
    const [a, b] = [expected[at], received[at]];
    if (a === b || (Number.isNaN(a) && Number.isNaN(b))) continue;
    const d = Math.abs(a - b);
    if (!(d <= Infinity) || d === Infinity) return Infinity;
    apart = Math.max(apart, d);
  }
  for (const value of expected) if (Number.isFinite(value)) largest = Math.max(largest, Math.abs(value));
  return apart / Math.max(largest, 1e-30);
}

/**
 * @param size small or full
 * @param device what is compared with the CPU
 * @returns {{ name, shape, dtype, difference, bound, ok }[]} of every operation, shape and element type
 */
export function compareOperations(size, device = 'cuda') {
  const rows = [];
  for (const shape of rounds[size]) {
    for (const dtype of ['float32', 'bfloat16']) {
      for (const { name, run, bound } of cases(shape, dtype)) {
        const row = { name, shape: Object.values(shape).join(' '), dtype, bound: bounds[bound] };
        try {
          const [expected, received] = [results('cpu', run), results(device, run)];
          const differences = expected.map((values, at) => difference(values, received[at]));
          row.difference = Math.max(...differences);
          // Of many choices, one may be between two values that rounding makes equal.
          row.ok = expected.every(
            (values, at) => differences[at] <= (values instanceof Int32Array ? 1e-3 : row.bound),
          );
        } catch (error) {
          Object.assign(row, { difference: null, ok: false, error: error.message });
        }
        rows.push(row);
      }
    }
  }
  return rows;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const size = process.argv[2] ?? 'full';
  if (!(size in rounds)) throw new Error(`expected ${Object.keys(rounds).join(' or ')}, received ${size}`);
  const rows = compareOperations(size);
  console.log(JSON.stringify({ compared: rows.length, failed: rows.filter(({ ok }) => !ok) }));
  process.exitCode = rows.every(({ ok }) => ok) ? 0 : 1;
}
