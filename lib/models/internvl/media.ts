import { openImage, type Picture } from '../../media/image.js';
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

/** How a tile is cut into patches. */
function patchesOf<Settings extends PixelSettings>(settings: Settings, { vision, mergeSize }: InternVLConfig) {
  return { ...settings, patchSize: vision.patchSize, temporalPatchSize: 1, mergeSize };
}

function featureOf(
  kind: TiledFeature['kind'],
  tiles: number,
  pixels: Float32Array,
  config: InternVLConfig,
): TiledFeature {
  return { kind, tokens: tiles * tokensPerTile(config), tiles, pixels };
}

/** Tiles of a picture, row by row, and the whole of it at last where there are several. */
async function cutTiles(
  picture: Picture,
  settings: ProcessorSettings['image'],
  config: InternVLConfig,
): Promise<TiledFeature> {
  const { size, thumbnail } = settings;
  const { columns, rows } = chooseTiles(picture, size, settings);
  const tiles = rows * columns;
  const view = { ...patchesOf(settings, config), tile: size };
  const views = [{ ...view, height: size * rows, width: size * columns }];
  if (thumbnail && tiles > 1) views.push({ ...view, height: size, width: size });
  return featureOf('image', tiles + views.length - 1, await picture.patches(...views), config);
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
  return atSource(source, async () => cutTiles(await openImage(source), settings, config));
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
    const { size, filter } = settings;
    const unique = [...new Set(indices)];
    const tileBytes = size * size * 3;
    const tiles = new Uint8Array(indices.length * tileBytes);
    await readFrames(source, info, unique, (frame, i) => {
      const tile = native.resize(frame, info.height, info.width, 3, size, size, filter);
      indices.forEach((index, at) => {
        if (index === unique[i]) tiles.set(tile, at * tileBytes);
      });
    });
    const pixels = native.patchify(tiles, indices.length, size, size, patchesOf(settings, config));
    return featureOf('video', indices.length, pixels, config);
  });
}
