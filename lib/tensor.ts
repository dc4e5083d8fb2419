import { native, type DType, type Native, type NativeTensor, type TensorData } from './native.js';

export type Tensor = NativeTensor;
export type { DType, TensorData } from './native.js';

const scopes: Set<Tensor>[] = [];

/** Hands a tensor to the innermost scope, which disposes it at its end. */
function track(tensor: Tensor): Tensor {
  scopes.at(-1)?.add(tensor);
  return tensor;
}

/**
 * Takes every tensor in a value (arrays, maps and plain objects are searched) out of its scope: from here on its owner
 * disposes it.
 */
export function keep<T>(value: T): T {
  eachTensor(value, (tensor) => {
    for (let i = scopes.length - 1; i >= 0; i--) if (scopes[i]!.delete(tensor)) break;
  });
  return value;
}

function eachTensor(value: unknown, visit: (tensor: Tensor) => void): void {
  if (value === null || typeof value !== 'object' || ArrayBuffer.isView(value)) return;
  if (isTensor(value)) visit(value);
  else if (Array.isArray(value)) for (const entry of value) eachTensor(entry, visit);
  else if (value instanceof Map) for (const entry of value.values()) eachTensor(entry, visit);
  else if (Object.getPrototypeOf(value) === Object.prototype) {
    for (const entry of Object.values(value)) eachTensor(entry, visit);
  }
}

/** Whether a value is a tensor of the addon. */
export function isTensor(value: unknown): value is Tensor {
  return value instanceof native.NativeTensor;
}

/**
 * Runs a synchronous function and disposes every tensor made in it, but for those in its result (a tensor, or arrays,
 * maps and plain objects of tensors), which pass to the enclosing scope.
 */
export function scope<T>(body: () => T): T {
  const made = new Set<Tensor>();
  scopes.push(made);
  let result: T;
  try {
    result = body();
  } catch (error) {
    scopes.pop();
    for (const tensor of made) tensor.dispose();
    throw error;
  }
  scopes.pop();
  // Tensors that the result names but that were made elsewhere stay with their owner.
  eachTensor(result, (tensor) => {
    if (made.delete(tensor)) track(tensor);
  });
  for (const tensor of made) tensor.dispose();
  return result;
}

/** A computation in pieces: between them its caller may do something else, or give up. */
export type Pieces<T> = Generator<void, T, void>;

/** {@link scope} of a computation in pieces; tensors that are made between its pieces are not its own. */
export function* scopeOfPieces<T>(body: () => Pieces<T>): Pieces<T> {
  const made = new Set<Tensor>();
  const pieces = body();
  const next = () => {
    scopes.push(made);
    try {
      return pieces.next();
    } finally {
      scopes.pop();
    }
  };
  try {
    let piece = next();
    for (; !piece.done; piece = next()) yield;
    const result = piece.value;
    eachTensor(result, (tensor) => {
      if (made.delete(tensor)) track(tensor);
    });
    return result;
  } finally {
    for (const tensor of made) tensor.dispose();
  }
}

/** Runs a computation in pieces to its end. */
export function finish<T>(pieces: Pieces<T>): T {
  for (;;) {
    const { done, value } = pieces.next();
    if (done) return value;
  }
}

/** {@link finish}, with a turn of the event loop every few milliseconds. */
export async function finishInTurns<T>(pieces: Pieces<T>, milliseconds = 10): Promise<T> {
  for (let turn = performance.now(); ;) {
    const { done, value } = pieces.next();
    if (done) return value;
    if (performance.now() - turn < milliseconds) continue;
    await new Promise(setImmediate);
    turn = performance.now();
  }
}

/** Disposes every tensor in a value (arrays, maps and plain objects are searched). */
export function dispose(value: unknown): void {
  eachTensor(value, (tensor) => {
    keep(tensor).dispose();
  });
}

type Tracked = Omit<
  Native,
  | 'NativeTensor'
  | 'memory'
  | 'resetPeakMemory'
  | 'setDevice'
  | 'cudaDevices'
  | 'setThreads'
  | 'info'
  | 'writeTensor'
>;

/** The operations of the addon; tensors that they return belong to the current {@link scope}. */
export const ops: Tracked = Object.fromEntries(
  Object.entries(native)
    .filter(([, fn]) => typeof fn === 'function')
    .map(([name, fn]) => [
      name,
      (...args: unknown[]) => {
        const result = (fn as (...args: unknown[]) => unknown)(...args);
        eachTensor(result, track);
        return result;
      },
    ]),
) as unknown as Tracked;

/** View methods of {@link NativeTensor} make handles too: these put them into the current scope. */
export const narrow = (t: Tensor, dim: number, start: number, length: number): Tensor =>
  track(t.narrow(dim, start, length));
export const reshape = (t: Tensor, shape: number[]): Tensor => track(t.reshape(shape));
export const transpose = (t: Tensor, dim0: number, dim1: number): Tensor => track(t.transpose(dim0, dim1));
/** Another handle on the same memory. */
export const alias = (t: Tensor): Tensor => track(t.alias());
export const cast = (t: Tensor, dtype: DType): Tensor => track(t.cast(dtype));
export const clone = (t: Tensor): Tensor => track(t.clone());

/** A tensor from JavaScript numbers. */
export function tensor(data: TensorData, shape: number[], dtype: DType = dtypeOf(data)): Tensor {
  return track(native.fromData(data, dtype, shape));
}

function dtypeOf(data: TensorData): DType {
  if (data instanceof Float32Array) return 'float32';
  if (data instanceof Uint16Array) return 'bfloat16';
  if (data instanceof BigInt64Array) return 'int64';
  if (data instanceof Int32Array) return 'int32';
  return 'bool';
}

/** Elements of a float32 tensor. */
export function toFloats(t: Tensor): Float32Array {
  const data = t.toTypedArray();
  if (!(data instanceof Float32Array)) throw new TypeError(`Expected a float32 tensor, received ${t.dtype}`);
  return data;
}

/** Elements of an int32 tensor. */
export function toInts(t: Tensor): Int32Array {
  const data = t.toTypedArray();
  if (!(data instanceof Int32Array)) throw new TypeError(`Expected an int32 tensor, received ${t.dtype}`);
  return data;
}
