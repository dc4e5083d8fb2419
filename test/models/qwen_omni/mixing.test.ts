import { describe, expect, it } from 'vitest';
import { mixByPieces, mixByTime, streamTimes, type Mix } from '../../../lib/models/qwen_omni/mixing.js';

const text = (mix: Mix): string => mix.map((frame) => (frame ? 'v' : 'a')).join('');

describe('sound mixed with frames', () => {
  it('goes by time, frames first where times are the same', () => {
    const streams = streamTimes(2, 3, (patch) => patch * 4, 6);
    expect(text(mixByTime(streams))).toBe('vvvaaaavvvaa');
  });

  it('ends with what is left of either', () => {
    expect(text(mixByTime(streamTimes(1, 2, () => 0, 3)))).toBe('vvaaa');
    expect(text(mixByTime(streamTimes(3, 1, (patch) => patch * 10, 2)))).toBe('vaavv');
  });

  it('goes by pieces, the frames of each first', () => {
    const streams = streamTimes(4, 1, (patch) => patch * 25, 60);
    expect(text(mixByPieces(streams, 50))).toBe('vv' + 'a'.repeat(50) + 'vv' + 'a'.repeat(10));
  });

  it('gives a stretch without a frame the next token alone', () => {
    const streams = streamTimes(2, 3, (patch) => patch * 100, 10);
    expect(text(mixByPieces(streams, 50))).toBe('vvv' + 'a'.repeat(10) + 'vvv');
    expect(text(mixByPieces(streamTimes(2, 3, (patch) => patch * 100, 120), 50))).toBe(
      'vvv' + 'a'.repeat(50) + 'v' + 'a'.repeat(50) + 'vv' + 'a'.repeat(20),
    );
  });
});
