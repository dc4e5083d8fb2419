"""Recordings: what the tiny omni target listens to.

A recording is a row of one to four sounds with silence between them, at 16 kHz.  A sound has a length, a level, a pitch
and a kind.  The audio encoder gives a token for every 80 ms, so a short sound covers three tokens and a long one seven.
"""

import zlib
from dataclasses import dataclass

import numpy as np

RATE = 16000
LENGTHS = {"short": 0.24, "long": 0.56}  # seconds
LEVELS = {"soft": (0.03, 0.05), "loud": (0.4, 0.6)}  # peak of a tone
PITCHES = {"low": (200, 290), "medium": (620, 850), "high": (2100, 3000)}  # hertz
KINDS = ["tone", "noise", "rising chirp", "falling chirp", "beeping tone"]
ORDINALS = ["first", "second", "third", "fourth"]
MOST_SOUNDS = 4
LEAST_SECONDS = 1.0  # a whole chunk of the encoder, so that no batch pads a chunk further
GAP, LEAD, TAIL = (0.14, 0.2), (0.06, 0.16), 0.06  # seconds; the silent tail outlasts a window of the spectrogram
HOP = 160  # samples of a frame of the spectrogram: recordings have whole frames
FADE = 0.01
BEEP = 0.1  # seconds from one beep to the next
SWEEP = 1.5  # a chirp covers this factor below and above its pitch


@dataclass
class Recording:
    """`sounds` holds (length, level, pitch, kind) in the order in which they are heard."""

    sounds: list

    def held_out(self):
        """A tenth of all recordings, chosen by their content, is never trained on."""
        return zlib.crc32(repr(self.sounds).encode()) % 10 == 0


def random_sound(rng):
    return rng.choice([*LENGTHS]), rng.choice([*LEVELS]), rng.choice([*PITCHES]), rng.choice(KINDS)


def random_recording(rng, count, split):
    """`count` different sounds, from the "train" or the "test" part of all recordings."""
    while True:
        sounds = [random_sound(rng) for _ in range(count)]
        recording = Recording(sounds)
        if len(set(sounds)) == count and recording.held_out() == (split == "test"):
            return recording


# ---------------------------------------------------------------- playing
def noise(n, pitch, generator):
    """Noise of an octave and a half about a pitch, as strong as a tone of peak one."""
    spectrum = np.fft.rfft(generator.standard_normal(n))
    hertz = np.fft.rfftfreq(n, 1 / RATE)
    spectrum[(hertz < pitch / 1.7) | (hertz > pitch * 1.7)] = 0
    wave = np.fft.irfft(spectrum, n)
    return wave * (0.5**0.5 / max(float(np.sqrt(np.mean(wave**2))), 1e-9))


def play_sound(sound, rng):
    """-> float32 [samples]."""
    length, level, pitch, kind = sound
    n = round(LENGTHS[length] * RATE)
    time = np.arange(n) / RATE
    hertz, peak = rng.uniform(*PITCHES[pitch]), rng.uniform(*LEVELS[level])
    if kind == "noise":
        wave = noise(n, hertz, np.random.default_rng(rng.getrandbits(32)))
    else:
        direction = {"rising chirp": 1, "falling chirp": -1}.get(kind, 0)
        path = hertz * SWEEP ** (direction * np.linspace(-1, 1, n))
        wave = np.sin(2 * np.pi * np.cumsum(path) / RATE)
    if kind == "beeping tone":
        wave = wave * np.clip((BEEP / 2 - np.abs(time % BEEP - BEEP / 4)) / FADE - BEEP / 4 / FADE, 0, 1)
    ends = np.clip(np.minimum(time, time[::-1]) / FADE, 0, 1)
    return (peak * wave * ends).astype(np.float32)


def play(recording, rng):
    """-> (float32 [samples], [(start, end)] of every sound in seconds)."""
    parts, spans = [], []
    for i, sound in enumerate(recording.sounds):
        silence = rng.uniform(*(GAP if i else LEAD))
        wave = play_sound(sound, rng)
        parts += [np.zeros(round(silence * RATE), np.float32), wave]
        start = sum(map(len, parts[:-1])) / RATE
        spans.append((start, start + len(wave) / RATE))
    samples = sum(map(len, parts))
    rest = max(round(TAIL * RATE), round(LEAST_SECONDS * RATE) - samples)
    rest += -(samples + rest) % HOP
    return np.concatenate([*parts, np.zeros(rest, np.float32)]), spans
