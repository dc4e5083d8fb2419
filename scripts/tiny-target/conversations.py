"""Conversations about drawn scenes, with their pictures: the training stream and the material that is shipped."""

from dataclasses import dataclass, field

import numpy as np

import language
import text_tasks
from scenes import FRAMES_PER_SECOND, Clip, degrade, draw, draw_clip, random_clip, random_scene

QUESTIONS = {
    "describe": language.describe,
    "count": language.count,
    "place": language.place_of,
    "what": language.what_at,
    "colour": language.colour_of,
    "compare": language.compare,
}
KINDS = [*QUESTIONS, "turns", "two", "clip", "text"]
WEIGHTS = {
    "describe": 3,
    "count": 2,
    "place": 3,
    "what": 2,
    "colour": 3,
    "compare": 4,
    "turns": 3,
    "two": 3,
    "clip": 4,
    "text": 3,
}
SYSTEMS = ["You look at pictures closely and answer in full sentences.", "You are a patient teacher."]
FOLLOW_UPS = ["", "", "Thanks! ", "And now: "]
MOST_SHAPES = 4


@dataclass
class Conversation:
    kind: str
    turns: list
    scenes: list = field(default_factory=list)
    clip: Clip | None = None
    system: str | None = None

    def messages(self, images=(), videos=(), answers=None):
        """Chat messages with the media parts `images` and `videos` in the first turn.

        With `answers` these stand for the reference answers, and the messages end at the first question without one.
        """
        messages = [{"role": "system", "content": self.system}] if self.system else []
        for i, turn in enumerate(self.turns):
            content = turn.question
            if i == 0 and (images or videos):
                content = [*images, *videos, {"type": "text", "text": content}]
            messages.append({"role": "user", "content": content})
            if answers is not None and i == len(answers):
                break
            messages.append({"role": "assistant", "content": turn.answer if answers is None else answers[i]})
        return messages


def conversation(rng, stage=1.0, split="train", kind=None):
    """`stage` in 0 to 1 is the curriculum: scenes grow to four shapes and one-line drills fade out with it."""
    stage = min(stage, 1.0)
    most = 1 + round((MOST_SHAPES - 1) * stage)
    if kind is None:
        drills = 12 * max(0.0, 1 - stage) + (1 if stage < 1 else 0)
        kind = rng.choices([*WEIGHTS, "drill"], [*WEIGHTS.values(), drills])[0]
    system = rng.choice(SYSTEMS) if rng.random() < 0.06 else None
    if kind == "text":
        return Conversation(kind, [text_tasks.text_task(rng)], system=system)
    if kind == "clip":
        clip = random_clip(rng, split, crowded=rng.random() < 0.6 * stage)
        return Conversation(kind, language.clip_turns(clip, rng), clip=clip, system=system)
    if kind == "two":
        pair = [random_scene(rng, rng.randint(1, min(most, 3)), split) for _ in range(2)]
        return Conversation(kind, [language.two_pictures(*pair, rng)], pair, system=system)
    least = 2 if stage > 0.25 or kind in ("compare", "turns") else 1
    scene = random_scene(rng, rng.randint(least, max(least, most)), split)
    if kind == "drill":
        return Conversation(kind, [language.drill(scene, rng) for _ in range(5)], [scene], system=system)
    asked = rng.sample([*QUESTIONS], rng.choice((2, 2, 3))) if kind == "turns" else [kind]
    turns = [QUESTIONS[k](scene, rng) for k in asked]
    for turn in turns[1:]:
        turn.question = rng.choice(FOLLOW_UPS) + turn.question
    return Conversation(kind, turns, [scene], system=system)


def render(talk, rng, lossy=0.3):
    """-> (pictures, video): uint8 [84, 84, 3] each, and [6, 84, 84, 3] or None.

    `lossy` is the share of pictures that look as after a lossy file; of clips it is twice that.
    """
    pictures = [draw(scene, rng) for scene in talk.scenes]
    pictures = [degrade(p, rng) if rng.random() < lossy else p for p in pictures]
    if talk.clip is None:
        return pictures, None
    video = draw_clip(talk.clip, rng)
    if rng.random() < 2 * lossy:
        shown = [degrade(frame, rng) for frame in video[::FRAMES_PER_SECOND]]
        video = np.repeat(np.stack(shown), FRAMES_PER_SECOND, axis=0)
    return pictures, video
