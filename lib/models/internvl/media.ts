import { decodeImage } from '../../media/image.js';
import { atSource } from '../../media/source.js';
import { probeVideo, readFrames, type VideoInfo } from '../../media/video.js';
import { native } from '../../native.js';
import type { ProcessorOptions } from '../family.js';
import { roundHalfEven } from '../processing.js';
import type { MediaSource } from '../target.js';
import { tokensPerTile, type InternVLConfig } from './config.js';
import type { TiledFeature } from './feature.js';
import type { ClipSettings, PixelSettings, ProcessorSettings } from './settings.js';
import { chooseTiles } from './tiling.js';

/** Interleaved RGB. */
interface Pixels {
  data: Uint8Array;
  width: number;
  height: number;
}

function resize({ data, width, height }: Pixels, toWidth: number, toHeight: number, { filter }: PixelSettings): Pixels {
  const resized = native.resize(data, height, width, 3, toHeight, toWidth, filter);
  return { data: resized, width: toWidth, height: toHeight };
}

/** A square of a picture. */
function crop({ data, width }: Pixels, left: number, top: number, size: number): Uint8Array {
  const tile = new Uint8Array(size * size * 3);
  for (let row = 0; row < size; row++) {
    const start = ((top + row) * width + left) * 3;
    tile.set(data.subarray(start, start + size * 3), row * size * 3);
  }
  return tile;
}

/** Tiles of a picture, row by row, and the whole of it at last where there are several. */
function tilesOf(image: Pixels, settings: ProcessorSettings['image']): Uint8Array[] {
  const { size, thumbnail } = settings;
  const { columns, rows } = chooseTiles(image, size, settings);
  const canvas = resize(image, size * columns, size * rows, settings);
  const tiles = Array.from({ length: rows * columns }, (_, i) =>
    crop(canvas, (i % columns) * size, Math.floor(i / columns) * size, size),
  );
  if (thumbnail && tiles.length > 1) tiles.push(resize(image, size, size, settings).data);
  return tiles;
}

/** Tiles as patch rows. */
function featureOf(
  kind: TiledFeature['kind'],
  tiles: readonly Uint8Array[],
  settings: PixelSettings,
  config: InternVLConfig,
): TiledFeature {
  const { size, rescale, mean, std } = settings;
  const { patchSize } = config.vision;
  const options = { patchSize, temporalPatchSize: 1, mergeSize: config.mergeSize, rescale, mean, std };
  const values = size * size * 3;
  const pixels = new Float32Array(tiles.length * values);
  tiles.forEach((tile, i) => {
    pixels.set(native.patchify(tile, 1, size, size, options), i * values);
  });
  return { kind, tokens: tiles.length * tokensPerTile(config), tiles: tiles.length, pixels };
}

/**
 * Tiles of a picture, equal to those of transformers' `GotOcr2ImageProcessorPil` and of OpenGVLab's code.
 *
 * @throws MediaError where it cannot be decoded
 */
export function loadImage(
  source: MediaSource,
  settings: ProcessorSettings['image'],
  config: InternVLConfig,
): Promise<TiledFeature> {
  return atSource(source, async () => featureOf('image', tilesOf(await decodeImage(source), settings), settings, config));
}

/**
 * Indices of the frames that are taken of a clip, ascending; a short clip's may repeat.
 *
 * Engines (SGLang's `get_index`, OpenGVLab's `load_video`) divide the range from the first to the last frame into
 * segments, round their starts (halves to even) and add half a segment; transformers' `InternVLVideoProcessor` takes
 * the middles of equal parts, and never more frames than there are. How many are taken is for both the fixed number, or
 * as many as `fps` gives.
 */
export function sampleFrames(
  info: Pick<VideoInfo, 'frames' | 'fps'>,
  settings: ClipSettings,
  positionRule: NonNullable<ProcessorOptions['positionRule']>,
): number[] {
  const { numFrames, fps, minFrames, maxFrames } = settings;
  const wanted = fps === undefined ? (numFrames ?? info.frames) : Math.trunc((info.frames / info.fps) * fps);
  const bounded = Math.min(Math.max(wanted, minFrames), maxFrames);
  if (positionRule === 'engines') {
    const segment = (info.frames - 1) / bounded;
    return Array.from({ length: bounded }, (_, i) => Math.trunc(segment / 2 + roundHalfEven(segment * i)));
  }
  const frames = Math.min(bounded, info.frames);
  const step = info.frames / frames;
  return Array.from({ length: frames }, (_, i) => Math.trunc(Math.fround(step / 2 + i * step)));
}

/**
 * Frames of a clip, one tile each, resized as Pillow does: within 2 of 255 levels of transformers, which uses
 * torchvision there, and equal to OpenGVLab's code.
 *
 * @param fps of the record
 * @throws MediaError where it cannot be decoded
 */
export function loadVideo(
  source: MediaSource,
  settings: ProcessorSettings['video'],
  config: InternVLConfig,
  positionRule: NonNullable<ProcessorOptions['positionRule']>,
  fps = settings.fps,
): Promise<TiledFeature> {
  return atSource(source, async () => {
    if (fps !== undefined && !(fps > 0)) throw new Error(`expected a positive fps, received ${fps}`);
    const info = await probeVideo(source);
    const indices = sampleFrames(info, { ...settings, ...(fps !== undefined && { fps }) }, positionRule);
    const unique = [...new Set(indices)];
    const tiles: Uint8Array[] = [];
    await readFrames(source, info, unique, (frame) => {
      const { width, height } = info;
      tiles.push(resize({ data: frame, width, height }, settings.size, settings.size, settings).data);
    });
    const taken = indices.map((index) => tiles[unique.indexOf(index)]!);
    return featureOf('video', taken, settings, config);
  });
}
