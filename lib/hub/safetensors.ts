import { closeSync, existsSync, fstatSync, openSync, readdirSync, readSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { ops, type DType, type Tensor } from '../tensor.js';
import { describe, isObject, readJsonObject } from './files.js';
import { LOADABLE, MAX_HEADER_BYTES, parseHeader, type Header } from './safetensors-header.js';

/** Where a tensor lies. */
export interface TensorInfo {
  /** As the format names it: F32, BF16 … */
  dtype: string;
  shape: number[];
  file: string;
  /** Of its first byte in the file. */
  offset: number;
  byteLength: number;
}

/** Reads `length` bytes at a position; short if the file ends before. */
function readAt(fd: number, position: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  let done = 0;
  while (done < length) {
    const count = readSync(fd, bytes, done, length - done, position + done);
    if (count === 0) break;
    done += count;
  }
  return bytes.subarray(0, done);
}

function withFile<T>(file: string, body: (fd: number) => T): T {
  const fd = openSync(file, 'r');
  try {
    return body(fd);
  } finally {
    closeSync(fd);
  }
}

function readHeader(file: string): Header & { dataStart: number } {
  return withFile(file, (fd) => {
    const { size } = fstatSync(fd);
    if (size < 8) throw new Error(`${file}: not a safetensors file: ${size} bytes, expected at least 8`);
    const length = Number(readAt(fd, 0, 8).readBigUInt64LE());
    if (length > MAX_HEADER_BYTES) {
      throw new Error(
        `${file}: the header's length is ${length} bytes, expected at most ${MAX_HEADER_BYTES}`,
      );
    }
    if (length > size - 8) {
      throw new Error(
        `${file}: the header's length is ${length} bytes, but the file has ${size - 8} after it`,
      );
    }
    const json = readAt(fd, 8, length);
    return { ...parseHeader(json, size - 8 - length, file), dataStart: 8 + length };
  });
}

/** Tensors of one or several safetensors files. Only headers are read until a tensor is asked for. */
export class Checkpoint {
  readonly #tensors: ReadonlyMap<string, TensorInfo>;

  constructor(
    /** Directory or file, for messages. */
    readonly source: string,
    tensors: Iterable<[string, TensorInfo]>,
    readonly metadata: Readonly<Record<string, string>> = {},
  ) {
    this.#tensors = new Map(tensors);
  }

  /** Sorted. */
  names(): string[] {
    return [...this.#tensors.keys()].sort();
  }

  has(name: string): boolean {
    return this.#tensors.has(name);
  }

  /** @throws if there is no such tensor */
  info(name: string): TensorInfo {
    const info = this.#tensors.get(name);
    if (!info) throw new Error(`${this.source}: there is no tensor ${JSON.stringify(name)}`);
    return info;
  }

  /** Reads a tensor into native memory, in the current scope. `dtype` is the file's (float32 for F16) if absent. */
  load(name: string, dtype?: DType): Tensor {
    const info = this.info(name);
    const fileDtype = LOADABLE[info.dtype];
    if (!fileDtype) {
      throw new Error(
        `${info.file}: tensor ${JSON.stringify(name)} is ${info.dtype}, which cannot be loaded`,
      );
    }
    const native = fileDtype === 'float16' ? 'float32' : fileDtype;
    return ops.readTensor(info.file, info.offset, info.shape, fileDtype, dtype ?? native);
  }

  /** The bytes of a tensor, as they are in the file. */
  readBytes(name: string): Uint8Array {
    const info = this.info(name);
    const bytes = withFile(info.file, (fd) => readAt(fd, info.offset, info.byteLength));
    if (bytes.length !== info.byteLength)
      throw new Error(`${info.file}: the file ends inside ${JSON.stringify(name)}`);
    return bytes;
  }
}

/** Opens one safetensors file. */
export function openSafetensors(file: string): Checkpoint {
  const { tensors, metadata, dataStart } = readHeader(file);
  const located = [...tensors].map(([name, { dtype, shape, begin, end }]): [string, TensorInfo] => [
    name,
    { dtype, shape, file, offset: dataStart + begin, byteLength: end - begin },
  ]);
  return new Checkpoint(file, located, metadata);
}

function openSharded(indexFile: string): Checkpoint {
  const directory = dirname(indexFile);
  const map = readJsonObject(indexFile)['weight_map'];
  if (!isObject(map))
    throw new Error(`${indexFile}: expected weight_map to be an object, received ${describe(map)}`);
  const shards = new Map<string, Checkpoint>();
  const tensors = new Map<string, TensorInfo>();
  for (const [name, shard] of Object.entries(map)) {
    if (typeof shard !== 'string' || shard !== basename(shard)) {
      throw new Error(
        `${indexFile}: expected a file name for ${JSON.stringify(name)}, received ${describe(shard)}`,
      );
    }
    if (!shards.has(shard)) {
      const file = join(directory, shard);
      if (!existsSync(file)) {
        throw new Error(
          `${indexFile}: ${JSON.stringify(name)} should be in ${shard}, but ${file} does not exist`,
        );
      }
      shards.set(shard, openSafetensors(file));
    }
    const checkpoint = shards.get(shard)!;
    if (!checkpoint.has(name)) {
      throw new Error(
        `${indexFile}: ${JSON.stringify(name)} should be in ${shard}, but ${checkpoint.source} lacks it`,
      );
    }
    tensors.set(name, checkpoint.info(name));
  }
  // Tensors that the index forgets are there all the same for every loader that reads whole shards.
  for (const [shard, checkpoint] of shards) {
    for (const name of checkpoint.names()) {
      if (Object.hasOwn(map, name)) continue;
      const other = tensors.get(name);
      if (other)
        throw new Error(
          `${indexFile}: ${JSON.stringify(name)} is both in ${basename(other.file)} and in ${shard}`,
        );
      tensors.set(name, checkpoint.info(name));
    }
  }
  return new Checkpoint(directory, tensors);
}

/**
 * Opens the weights of a model directory: `model.safetensors`, the shards of `model.safetensors.index.json`, or the
 * only `*.safetensors` file there is. Headers are validated; no tensor is read.
 *
 * @throws naming the file, and the tensor where it is one that is wrong
 */
export function openCheckpoint(directory: string): Checkpoint {
  const single = join(directory, 'model.safetensors');
  if (existsSync(single)) return openSafetensors(single);
  const index = join(directory, 'model.safetensors.index.json');
  if (existsSync(index)) return openSharded(index);
  const others = readdirSync(directory)
    .filter((name) => name.endsWith('.safetensors'))
    .sort();
  if (others.length === 1) return openSafetensors(join(directory, others[0]!));
  throw new Error(
    `${directory}: expected model.safetensors or model.safetensors.index.json, received ` +
      (others.length === 0 ? 'no *.safetensors file' : others.join(', ')),
  );
}
