"""Which facts an answer states, attribute by attribute, sounds included."""

import re

import siblings  # noqa: F401
import scoring
from sounds import KINDS, LENGTHS, LEVELS, PITCHES

SOUND = re.compile(" ".join(f"({'|'.join(words)})" for words in (LENGTHS, LEVELS, PITCHES, KINDS)), re.IGNORECASE)
ATTRIBUTES = ("length", "level", "pitch", "kind of sound")


def score(text, facts):
    """-> [(attribute, right)] for one answer."""
    said = [tuple(word.lower() for word in words) for words in SOUND.findall(text)]
    marks = []
    for attribute, *expected in facts:
        if attribute == "heard":
            n, *sound = expected
            named = said[n] if n < len(said) else (None,) * len(ATTRIBUTES)
            marks += zip(ATTRIBUTES, [a == b for a, b in zip(named, sound)])
        else:
            marks += scoring.score(text, [(attribute, *expected)])
    return marks


def tally(asked, answers):
    facts = [[turn.facts for turn in a.talk.turns] for a in asked]
    return scoring.tally([a.talk.kind for a in asked], facts, answers, score)
