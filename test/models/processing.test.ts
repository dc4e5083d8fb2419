import { describe, expect, it } from 'vitest';
import { loadParts, type MediaPart } from '../../lib/models/processing.js';

const part = (type: MediaPart['type'], path: string): MediaPart => ({ type, source: { path } });
const pathOf = ({ source }: MediaPart): string => ('path' in source ? source.path : '');

describe('loadParts', () => {
  it('loads pictures at once, everything else one by one, and keeps the order', async () => {
    const running = new Map<MediaPart['type'], number>();
    const most = new Map<MediaPart['type'], number>();
    const load = async (medium: MediaPart): Promise<string[]> => {
      const { type } = medium;
      const now = (running.get(type) ?? 0) + 1;
      running.set(type, now);
      most.set(type, Math.max(most.get(type) ?? 0, now));
      // Later parts are ready first.
      await new Promise((resolve) => setTimeout(resolve, 20 - 2 * Number(pathOf(medium))));
      running.set(type, running.get(type)! - 1);
      return [`${type} ${pathOf(medium)}`, 'its sound'];
    };
    const types = ['image', 'video', 'image', 'video', 'audio', 'image'] as const;
    const loaded = await loadParts(
      types.map((type, i) => part(type, String(i))),
      load,
    );
    expect(loaded).toEqual(types.flatMap((type, i) => [`${type} ${i}`, 'its sound']));
    expect(Object.fromEntries(most)).toEqual({ image: 3, video: 1, audio: 1 });
  });

  it('throws what the first bad part throws, and lets no other error escape', async () => {
    const load = async (medium: MediaPart): Promise<string[]> => {
      const path = pathOf(medium);
      await new Promise((resolve) => setTimeout(resolve, path === 'first' ? 10 : 1));
      if (path === 'good') return [path];
      throw new Error(path);
    };
    const parts = ['good', 'first', 'second'].map((path) => part('image', path));
    await expect(loadParts(parts, load)).rejects.toThrow(/^first$/);
    await expect(loadParts([part('video', 'clip'), ...parts], load)).rejects.toThrow(/^clip$/);
    await new Promise((resolve) => setTimeout(resolve, 20));
  });
});
