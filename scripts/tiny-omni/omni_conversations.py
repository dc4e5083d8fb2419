"""Conversations about pictures, recordings, both and neither: the training stream and the material that is shipped."""

from dataclasses import dataclass, field

import siblings  # noqa: F401
import sound_language
from conversations import FOLLOW_UPS, MOST_SHAPES, QUESTIONS
from language import drill
from scenes import degrade, draw, random_scene
from sound_files import filed
from sounds import MOST_SOUNDS, Recording, play, random_recording
from text_tasks import add, continue_pattern, count_numbers, repeat_words, times_table

PICTURE_QUESTIONS = {k: QUESTIONS[k] for k in ("describe", "count", "place", "what")}
SOUND_QUESTIONS = {
    "hear": sound_language.describe,
    "sounds": sound_language.count,
    "which": sound_language.which_one,
    "differ": sound_language.compare,
}
TEXT_TASKS = [count_numbers, add, times_table, repeat_words, continue_pattern]
WEIGHTS = {
    "hear": 5,
    "sounds": 4,
    "which": 4,
    "differ": 3,
    "two recordings": 2,
    "describe": 3,
    "count": 2,
    "place": 2,
    "what": 2,
    "both": 5,
    "turns": 3,
    "text": 4,
}
SYSTEMS = ["You look and listen closely and answer in full sentences.", "You are a patient teacher."]


@dataclass
class Conversation:
    """`media` holds scenes and recordings in the order in which the first turn shows them."""

    kind: str
    turns: list
    media: list = field(default_factory=list)
    system: str | None = None

    def messages(self, parts=(), answers=None):
        """Chat messages with the media `parts` in the first turn.

        With `answers` these stand for the reference answers, and the messages end at the first question without one.
        """
        messages = [{"role": "system", "content": self.system}] if self.system else []
        for i, turn in enumerate(self.turns):
            content = turn.question
            if i == 0 and parts:
                content = [*parts, {"type": "text", "text": content}]
            messages.append({"role": "user", "content": content})
            if answers is not None and i == len(answers):
                break
            messages.append({"role": "assistant", "content": turn.answer if answers is None else answers[i]})
        return messages


def conversation(rng, stage=1.0, split="train", kind=None, scenes=random_scene, recordings=random_recording):
    """`stage` in 0 to 1 is the curriculum: scenes and recordings grow, and one-line drills fade out with it.

    `scenes` and `recordings` give what a conversation is about, as `random_scene` and `random_recording` do.
    """
    stage = min(stage, 1.0)
    shapes, sounds = 1 + round((MOST_SHAPES - 1) * stage), 1 + round((MOST_SOUNDS - 1) * stage)
    if kind is None:
        drills = 16 * max(0.0, 1 - stage) + (1 if stage < 1 else 0)
        kind = rng.choices([*WEIGHTS, "drill"], [*WEIGHTS.values(), drills])[0]
    system = rng.choice(SYSTEMS) if rng.random() < 0.06 else None

    def scene(most=MOST_SHAPES):
        least = 2 if stage > 0.25 else 1
        return scenes(rng, rng.randint(least, max(least, min(shapes, most))), split)

    def recording(most=MOST_SOUNDS, least=1):
        return recordings(rng, rng.randint(least, max(least, min(sounds, most))), split)

    if kind == "text":
        return Conversation(kind, [rng.choice(TEXT_TASKS)(rng)], system=system)
    if kind in PICTURE_QUESTIONS:
        seen = scene()
        return Conversation(kind, [PICTURE_QUESTIONS[kind](seen, rng)], [seen], system)
    if kind in SOUND_QUESTIONS:
        played = recording(least=2 if kind == "differ" else 1)
        return Conversation(kind, [SOUND_QUESTIONS[kind](played, rng)], [played], system)
    if kind == "two recordings":
        pair = [recording(3), recording(3)]
        return Conversation(kind, [sound_language.two_recordings(*pair, rng)], pair, system)
    seen, played = scene(3), recording(3, least=2 if kind == "turns" else 1)
    media = rng.sample([seen, played], 2)
    if kind == "both":
        return Conversation(kind, [sound_language.both(seen, played, rng)], media, system)
    if kind == "drill":
        played, seen = recording(), scene()
        if rng.random() < 0.6:
            return Conversation(kind, [sound_language.drill(played, rng) for _ in range(5)], [played], system)
        return Conversation(kind, [drill(seen, rng) for _ in range(5)], [seen], system)
    turns = [
        rng.choice([*PICTURE_QUESTIONS.values()])(seen, rng),
        rng.choice([*SOUND_QUESTIONS.values()])(played, rng),
    ]
    rng.shuffle(turns)
    turns[1].question = rng.choice(FOLLOW_UPS) + turns[1].question
    return Conversation(kind, turns, media, system)


def render(item, rng, lossy=0.3):
    """A scene as uint8 [84, 84, 3], a recording as float32 [samples]; the share `lossy` comes as from a lossy file."""
    if isinstance(item, Recording):
        return filed(play(item, rng)[0], rng, lossy)
    picture = draw(item, rng)
    return degrade(picture, rng) if rng.random() < lossy else picture
