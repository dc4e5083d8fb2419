"""Recordings as files, and back."""

import io

import soundfile
from sounds import RATE

SOUND_FORMATS = {
    "ogg": {"format": "OGG", "subtype": "VORBIS", "compression_level": 0.6},
    "flac": {"format": "FLAC", "subtype": "PCM_16"},
    "wav": {"format": "WAV", "subtype": "PCM_16"},
}


def encode_sound(wave, suffix):
    """float32 [samples] at 16 kHz -> the bytes of a file."""
    file = io.BytesIO()
    soundfile.write(file, wave, RATE, **SOUND_FORMATS[suffix])
    return file.getvalue()


def decode_sound(data):
    """-> float32 [samples] at 16 kHz."""
    wave, rate = soundfile.read(io.BytesIO(data), dtype="float32")
    if rate != RATE:
        raise ValueError(f"[decode_sound] expected {RATE} Hz, received {rate}")
    return wave


def filed(wave, rng, lossy):
    """What a file does to a recording: it rounds to 16 bits, and the share `lossy` goes through Vorbis."""
    return decode_sound(encode_sound(wave, "ogg" if rng.random() < lossy else "wav"))
