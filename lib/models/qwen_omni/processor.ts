import { join } from 'node:path';
import { isObject, readJsonObject } from '../../hub/files.js';
import { hasAudio, readAudio } from '../../media/audio.js';
import { native } from '../../native.js';
import { ChatProcessor, type Positions } from '../chat-processor.js';
import type { ProcessorOptions } from '../family.js';
import { loadParts, type MediaPart } from '../processing.js';
import { loadImage } from '../qwen_vl/image.js';
import { loadProcessorSettings, type ProcessorSettings } from '../qwen_vl/settings.js';
import { loadVideo } from '../qwen_vl/video.js';
import type { PatchShape, VisualFeature } from '../qwen_vl/visual-feature.js';
import type { AudioFeature, OmniFeature } from './audio-feature.js';
import type { AudioConfig, OmniConfig } from './config.js';
import { streamTimes, type Mix, type Streams } from './mixing.js';
import { loadSoundSettings, soundFeatures, type SoundForm, type SoundSettings } from './sound.js';

/** What the processors of the omni families differ in. */
export interface OmniProcessorForm {
  sound: SoundForm;
  /** Frames a second that clips count as where nobody asks for a rate, whatever they are sampled at. */
  nominalFps: number;
  /** Bounds of a frame's area, whatever the files say. */
  videoPixels: { min: number; max: number };
  /** Order of the tokens of a clip and its sound. */
  mix(streams: Streams, config: OmniConfig<PatchShape, AudioConfig>): Mix;
  rule: 'qwen2_5_omni' | 'qwen3_omni';
}

/** A medium before sounds, whose features depend on one another, are features. */
type Opened = VisualFeature | { kind: 'audio'; samples: Float32Array; inVideo: boolean };

type VideoPart = Extract<MediaPart, { type: 'video' }>;

/** Turns conversations with pictures, clips and sounds into samples for a thinker. */
export class OmniProcessor extends ChatProcessor<OmniFeature> {
  protected readonly placeholders: readonly string[];
  readonly settings: ProcessorSettings;
  readonly soundSettings: SoundSettings;
  readonly #placeholder: Record<OmniFeature['kind'], string>;

  /**
   * Reads preprocessor configs, tokenizer and chat template of a model directory.
   *
   * @throws Error naming the file that is missing or wrong
   */
  constructor(
    private readonly modelDir: string,
    readonly config: OmniConfig<PatchShape, AudioConfig>,
    private readonly form: OmniProcessorForm,
    private readonly options: ProcessorOptions = {},
  ) {
    super(modelDir, config.text);
    const { min, max } = form.videoPixels;
    this.settings = loadProcessorSettings(modelDir, config.vision, {
      ...options,
      videoMinPixels: options.videoMinPixels ?? min,
      videoMaxPixels: options.videoMaxPixels ?? max,
    });
    this.soundSettings = loadSoundSettings(modelDir, config.audio.mels);
    this.#placeholder = {
      image: this.token(config.imageTokenId),
      video: this.token(config.videoTokenId),
      audio: this.token(config.audioTokenId),
    };
    this.placeholders = Object.values(this.#placeholder);
  }

  protected load(part: MediaPart): Promise<OmniFeature[]> {
    return this.loadAll([part]);
  }

  protected override async loadAll(parts: readonly MediaPart[]): Promise<OmniFeature[]> {
    const opened = await loadParts(parts, (part) => this.#open(part));
    const sounds = soundFeatures(
      opened.filter((medium) => medium.kind === 'audio'),
      this.form.sound,
      this.soundSettings,
    );
    return opened.map((medium) => (medium.kind === 'audio' ? sounds.shift()! : medium));
  }

  async #open(part: MediaPart): Promise<Opened[]> {
    switch (part.type) {
      case 'image':
        return [await loadImage(part.source, this.settings.image)];
      case 'audio':
        return [{ kind: 'audio', samples: await readAudio(part.source), inVideo: false }];
      case 'video':
        return this.#openClip(part);
    }
  }

  /** A clip, and its sound track where that is asked for: of every clip that has one, or of this clip. */
  async #openClip(part: VideoPart): Promise<Opened[]> {
    const { source } = part;
    const video = await loadVideo(source, this.settings.video, part.fps);
    const fps = part.fps ?? this.options.fps ?? this.form.nominalFps;
    const clip: VisualFeature = { ...video, secondPerGrid: this.config.vision.temporalPatchSize / fps };
    const asked = part['use_audio_in_video'] ?? ((this.options.useAudioInVideo ?? false) && (await hasAudio(source)));
    if (asked !== true) return [clip];
    return [clip, { kind: 'audio', samples: await readAudio(source), inVideo: true }];
  }

  protected expansions(media: readonly OmniFeature[]): Record<string, string[]> {
    const { image, video, audio } = this.#placeholder;
    const expanded: Record<string, string[]> = { [image]: [], [video]: [], [audio]: [] };
    media.forEach((feature, i) => {
      if (feature.kind === 'audio' && feature.inVideo) return;
      const next = media[i + 1];
      const text =
        feature.kind === 'video' && next?.kind === 'audio' && next.inVideo
          ? this.#mixed(feature, next)
          : this.#placeholder[feature.kind].repeat(feature.tokens);
      expanded[this.#placeholder[feature.kind]]!.push(text);
    });
    return expanded;
  }

  /** Placeholders of a clip and its sound, between marks of sound; the template prints the clip's around them. */
  #mixed({ grid, tokens, secondPerGrid }: VisualFeature, sound: AudioFeature): string {
    const { video, audio } = this.#placeholder;
    const [patches] = grid;
    const times = (patch: number): number => patch * secondPerGrid! * this.config.positionsPerSecond;
    const streams = streamTimes(patches, tokens / patches, times, sound.tokens);
    const mix = this.form.mix(streams, this.config).map((frame) => (frame ? video : audio));
    return this.token(this.config.audioStartTokenId) + mix.join('') + this.#audioEnd();
  }

  /** Text that ends a sound: config.json may name its id, transformers reads it from the tokenizer's config. */
  #audioEnd(): string {
    if (this.config.audioEndTokenId !== undefined) return this.token(this.config.audioEndTokenId);
    const file = join(this.modelDir, 'tokenizer_config.json');
    const tokenizer = readJsonObject(file);
    const { extra_special_tokens: extra } = tokenizer;
    const token = tokenizer['audio_eos_token'] ?? (isObject(extra) ? extra['audio_eos_token'] : undefined);
    if (typeof token === 'string') return token;
    throw new Error(`${file}: audio_eos_token: expected the token that ends a clip's sound, received none`);
  }

  protected positions(ids: Int32Array, media: readonly OmniFeature[]): Positions {
    const ofKind = (kind: VisualFeature['kind']): VisualFeature[] =>
      media.filter((feature): feature is VisualFeature => feature.kind === kind);
    const grids = (kind: VisualFeature['kind']): Int32Array => Int32Array.from(ofKind(kind).flatMap(({ grid }) => grid));
    const { config } = this;
    const { positions, delta } = native.ropeIndexOmni(ids, {
      imageTokenId: config.imageTokenId,
      videoTokenId: config.videoTokenId,
      audioTokenId: config.audioTokenId,
      visionStartTokenId: config.visionStartTokenId,
      audioStartTokenId: config.audioStartTokenId,
      mergeSize: config.vision.spatialMergeSize,
      positionsPerSecond: config.positionsPerSecond,
      imageGrids: grids('image'),
      videoGrids: grids('video'),
      secondPerGrid: Float64Array.from(ofKind('video').map(({ secondPerGrid }) => secondPerGrid!)),
      rule: this.form.rule,
    });
    return { positions, axes: 3, delta };
  }
}
