"""Pictures and clips as files, and back."""

import io
from fractions import Fraction

import av
import numpy as np
from PIL import Image

from scenes import FRAMES_PER_SECOND, PIXELS

PICTURE_FORMATS = {
    "png": {"format": "PNG", "optimize": True},
    "jpg": {"format": "JPEG", "quality": 92},
}


def encode_picture(picture, kind, scale=1):
    """uint8 [h, w, 3] -> the bytes of a file, `scale` times as large."""
    image = Image.fromarray(picture).resize((PIXELS * scale, PIXELS * scale), Image.BICUBIC)
    file = io.BytesIO()
    image.save(file, **PICTURE_FORMATS[kind])
    return file.getvalue()


def decode_picture(data):
    return Image.open(io.BytesIO(data)).convert("RGB")


def encode_clip(video, frames_per_second):
    """uint8 [n, h, w, 3] at two frames a second -> the bytes of an mp4 at a multiple of that."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=frames_per_second, options={"crf": "18", "bf": "0"})
        stream.height, stream.width = video.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.time_base = Fraction(1, frames_per_second)
        for i, frame in enumerate(np.repeat(video, frames_per_second // FRAMES_PER_SECOND, axis=0)):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            picture.pts = i
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return file.getvalue()


def decode_clip(data):
    """-> (uint8 [n, 3, h, w], metadata as the video processor takes it)."""
    with av.open(io.BytesIO(data)) as container:
        rate = float(container.streams.video[0].average_rate)
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    metadata = {"fps": rate, "total_num_frames": len(frames), "duration": len(frames) / rate}
    return frames.transpose(0, 3, 1, 2), metadata


def encode_media(pictures, video, rng):
    """The files of one conversation as (suffix, bytes): mostly PNG, some JPEG, some large; clips at 2 or 4 fps."""
    files = []
    for picture in pictures:
        suffix = "jpg" if rng.random() < 0.25 else "png"
        files.append((suffix, encode_picture(picture, suffix, scale=2 if rng.random() < 0.1 else 1)))
    if video is not None:
        files.append(("mp4", encode_clip(video, rng.choice((2, 4)))))
    return files
