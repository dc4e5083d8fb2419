import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { root } from '../../helpers/dist.js';

export const benchFile = (...path: string[]): string => join(root, 'scripts', 'bench', ...path);
export const helperFile = (name: string): string => join(root, 'test', 'bench', 'helpers', name);

/** A module of the harness, which is JavaScript without types: the caller says what it expects. */
export const bench = async (...path: string[]): Promise<unknown> =>
  (await import(pathToFileURL(benchFile(...path)).href)) as unknown;

export type Answer = Record<string, unknown>;

export interface ChildProcess {
  ask(request: object): Promise<Answer>;
  stop(): Promise<void>;
}

export interface ChildModule {
  Child: new (name: string, command: string, args: string[], threads: number) => ChildProcess;
  PeerError: new (message: string) => Error;
}

export interface Result {
  suite: string;
  shape: string;
  dtype: string;
  eyas_ms: number;
  peer_ms: number;
  ratio: number;
  gflop_needed: number | null;
  ceiling_share: number | null;
  eyas_peak_mb: number | null;
  peer_peak_mb: number | null;
  max_loss_difference: number | null;
  [extra: string]: unknown;
}

export const resultFields = [
  'suite',
  'shape',
  'dtype',
  'eyas_ms',
  'peer_ms',
  'ratio',
  'gflop_needed',
  'ceiling_share',
  'eyas_peak_mb',
  'peer_peak_mb',
  'max_loss_difference',
];

export interface Report {
  device: string;
  threads: number;
  isa: string;
  results: Result[];
}

/** [m,k]·[k,n], `count` times */
export interface Product {
  m: number;
  k: number;
  n: number;
  count: number;
}

export interface Sequence {
  inputIds: Int32Array;
  lossMask: Uint8Array;
}

export interface ProductsModule {
  productsOfStep: (
    config: Record<string, number>,
    samples: Sequence[],
    options: { steps: number; vocab: number; mask?: 'serving' | 'specforge' },
  ) => { compact: Product[]; dense: Product[] };
}
