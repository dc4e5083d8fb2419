import { join } from 'node:path';
import { openCheckpoint, type Checkpoint, type TensorInfo } from '../hub/safetensors.js';

export const CONFIG_FILE = 'config.json';
export const WEIGHTS_FILE = 'model.safetensors';

/** File of a draft directory's config. */
export const configFile = (dir: string): string => join(dir, CONFIG_FILE);

/**
 * A tensor's name as SGLang has it: without the `model.` that some trainers write, and with `midlayer` where they name
 * the layer by number.
 */
export function canonicalName(name: string): string {
  return name.replace(/^model\./, '').replace(/^layers\.0\./, 'midlayer.');
}

/** A tensor of a draft directory. */
export interface DraftTensor extends TensorInfo {
  /** In the file. */
  name: string;
}

/** Weights of a draft directory, by canonical name. Only headers are read until a tensor is asked for. */
export class DraftWeights {
  readonly checkpoint: Checkpoint;
  readonly tensors: ReadonlyMap<string, DraftTensor>;

  /** @throws Error naming what is wrong with the files */
  constructor(dir: string) {
    this.checkpoint = openCheckpoint(dir);
    this.tensors = new Map(
      this.checkpoint.names().map((name) => [canonicalName(name), { name, ...this.checkpoint.info(name) }]),
    );
  }

  /** d2t: what is added to each draft id; undefined where the draft has none. */
  d2t(): BigInt64Array | undefined {
    const tensor = this.tensors.get('d2t');
    if (!tensor) return undefined;
    if (tensor.dtype !== 'I64') throw new Error(`d2t: expected I64, received ${tensor.dtype}`);
    return new BigInt64Array(alignedBytes(this.checkpoint.readBytes(tensor.name)));
  }
}

/** Bytes at the start of a buffer of their own, as views of wider elements need them. */
export function alignedBytes(bytes: Uint8Array): ArrayBuffer {
  return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer;
}
