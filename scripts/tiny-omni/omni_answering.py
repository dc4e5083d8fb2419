"""The tiny omni target's media files and inputs, through the library's processor."""

import siblings  # noqa: F401
from media import decode_picture, encode_media
from scenes import draw
from sound_files import decode_sound, encode_sound
from sounds import RATE, Recording, play
from transformers import Qwen3OmniMoeProcessor, Qwen3OmniMoeThinkerForConditionalGeneration

PICTURE, SOUND = "image", "audio"


def load(folder, dtype):
    model = Qwen3OmniMoeThinkerForConditionalGeneration.from_pretrained(folder, dtype=dtype).eval()
    return model, Qwen3OmniMoeProcessor.from_pretrained(folder)


def encode(item, rng):
    """The file of a scene or a recording as (suffix, bytes): mostly PNG and Ogg Vorbis, some JPEG, FLAC and WAV."""
    if isinstance(item, Recording):
        suffix = rng.choices(["ogg", "flac", "wav"], [30, 2, 1])[0]
        return suffix, encode_sound(play(item, rng)[0], suffix)
    return encode_media([draw(item, rng)], None, rng)[0]


def modality(suffix):
    return PICTURE if suffix in ("png", "jpg") else SOUND


def processor_inputs(processor, asked, answers):
    texts, images, sounds = [], [], []
    for item, given in zip(asked, answers):
        parts = [{"type": modality(suffix)} for suffix, _ in item.files]
        images += [decode_picture(data) for suffix, data in item.files if modality(suffix) == PICTURE]
        sounds += [decode_sound(data) for suffix, data in item.files if modality(suffix) == SOUND]
        messages = item.talk.messages(parts, given)
        texts.append(processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
    media = {"images": images} if images else {}
    if sounds:
        media |= {"audio": sounds, "sampling_rate": RATE}
    return processor(text=texts, padding=True, padding_side="left", return_tensors="pt", **media)
