import type { LoadTargetOptions, Modality, Processor, Target, TargetInfo } from './target.js';

/** Options of every family's processor; a family ignores those that it has no use for. */
export interface ProcessorOptions {
  /** Bounds of a picture's area in pixels after resizing. */
  minPixels?: number;
  maxPixels?: number;
  /** Bounds of a video frame's area; of a clip's volume, frames times area, in Qwen3-VL. */
  videoMinPixels?: number;
  videoMaxPixels?: number;
  /** Frames a second that are taken of a clip. */
  fps?: number;
  /** Bounds of the number of frames. */
  minFrames?: number;
  maxFrames?: number;
  /** Whether clips are heard too, those that have a sound track (families that hear); a record's part may say otherwise. */
  useAudioInVideo?: boolean;
  /**
   * How clips are laid out in prompts and positions where transformers 5 differs from the engines (SGLang, vLLM,
   * transformers 4): the engines' way is the default.
   */
  positionRule?: 'engines' | 'transformers5';
}

/** A family of targets: all that is particular to it is behind these functions. */
export interface Family {
  /** For people. */
  name: string;
  /** Classes that config.json may name. */
  architectures: readonly string[];
  modalities: readonly Modality[];
  /** From the config alone. */
  readInfo(modelDir: string): TargetInfo;
  loadTarget(modelDir: string, options?: LoadTargetOptions): Target;
  loadProcessor(modelDir: string, options?: ProcessorOptions): Processor;
}
