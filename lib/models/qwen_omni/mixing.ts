/** Order in which the tokens of a clip's frames and of its sound come: true where a frame's token does. */
export type Mix = boolean[];

/** Two streams of tokens with the time of each, in positions since the clip's start. */
export interface Streams {
  video: Float64Array;
  audio: Float64Array;
}

/**
 * Times of a clip's tokens and of those of its sound, which has one a position.
 *
 * @param times time of a temporal patch, in positions
 */
export function streamTimes(patches: number, tokensPerPatch: number, times: (patch: number) => number, sound: number): Streams {
  return {
    video: Float64Array.from({ length: patches * tokensPerPatch }, (_, i) => times(Math.floor(i / tokensPerPatch))),
    audio: Float64Array.from({ length: sound }, (_, i) => i),
  };
}

/** Qwen3-Omni: by time, frames first where the times are the same. */
export function mixByTime({ video, audio }: Streams): Mix {
  const mix: Mix = [];
  let seen = 0;
  let heard = 0;
  while (seen < video.length || heard < audio.length) {
    const frame = heard === audio.length || (seen < video.length && video[seen]! <= audio[heard]!);
    mix.push(frame);
    if (frame) seen++;
    else heard++;
  }
  return mix;
}

/**
 * Lengths of the pieces of a stream: a piece ends before the first token at or after the next multiple of `span`; a
 * stretch without a token takes a token of its own, as in transformers.
 */
function pieces(times: Float64Array, span: number): number[] {
  const lengths: number[] = [];
  let start = 0;
  times.forEach((time, i) => {
    if (time < (lengths.length + 1) * span) return;
    lengths.push(i - start);
    start = i;
  });
  return [...lengths, times.length - start];
}

/** Qwen2.5-Omni: pieces of `span` positions, the frames of each before its sound. */
export function mixByPieces({ video, audio }: Streams, span: number): Mix {
  const frames = pieces(video, span);
  const sounds = pieces(audio, span);
  const mix: Mix = [];
  for (let i = 0; i < Math.max(frames.length, sounds.length); i++) {
    mix.push(...Array<boolean>(frames[i] ?? 0).fill(true), ...Array<boolean>(sounds[i] ?? 0).fill(false));
  }
  return mix;
}
