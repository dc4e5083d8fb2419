import { native, type DType, type TensorData } from '../native.js';
import { isTensor, type Tensor } from '../tensor.js';
import { replaceFile, writeAll } from './files.js';
import { byteLength, encodeHeader, FILE_DTYPES } from './safetensors-header.js';

/** Elements in JavaScript memory, row-major. bfloat16 travels as its 16 bits, bool as 0 or 1. */
export interface ArrayTensor {
  dtype: DType;
  shape: readonly number[];
  data: TensorData;
}

const ARRAYS: Record<DType, new (length: number) => TensorData> = {
  float32: Float32Array,
  bfloat16: Uint16Array,
  int64: BigInt64Array,
  int32: Int32Array,
  bool: Uint8Array,
};

function check(name: string, { dtype, shape, data }: ArrayTensor): void {
  if (!(data instanceof ARRAYS[dtype])) {
    throw new TypeError(
      `[writeSafetensors] ${name}: expected a ${ARRAYS[dtype].name} for ${dtype}, received a ${data.constructor.name}`,
    );
  }
  const expected = byteLength(FILE_DTYPES[dtype], shape);
  if (data.byteLength !== expected) {
    throw new RangeError(
      `[writeSafetensors] ${name}: expected ${expected ?? 'countable'} bytes for shape [${shape.join(', ')}], received ${data.byteLength}`,
    );
  }
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/**
 * Writes a safetensors file, whole or not at all (see {@link replaceFile}). Tensors are ordered by element size, widest
 * first, then by name: each begins at a multiple of its element size, which some readers need.
 */
export function writeSafetensors(
  path: string,
  tensors: Readonly<Record<string, Tensor | ArrayTensor>>,
  metadata: Record<string, string> = {},
): void {
  for (const [name, tensor] of Object.entries(tensors)) if (!isTensor(tensor)) check(name, tensor);
  const items = Object.entries(tensors)
    .map(([name, tensor]) => ({ name, tensor, dtype: tensor.dtype, shape: tensor.shape }))
    .sort((a, b) => width(b.dtype) - width(a.dtype) || compareText(a.name, b.name));
  const header = encodeHeader(items, metadata);
  replaceFile(path, (fd) => {
    let position = writeAll(fd, header, 0);
    for (const { tensor } of items) {
      position += isTensor(tensor)
        ? native.writeTensor(fd, position, tensor)
        : writeAll(fd, bytesOf(tensor.data), position);
    }
  });
}

function width(dtype: DType): number {
  return byteLength(FILE_DTYPES[dtype], [])!;
}

function bytesOf(data: TensorData): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
