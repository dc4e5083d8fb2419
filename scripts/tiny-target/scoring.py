"""Which facts an answer states, attribute by attribute."""

import re
from collections import defaultdict

from scenes import COLOURS, PLACES, SHAPES, SIZES

KIND = re.compile(rf"({'|'.join(SIZES)}) ({'|'.join(COLOURS)}) ({'|'.join(SHAPES)})", re.IGNORECASE)
PLACE = re.compile("|".join(PLACES), re.IGNORECASE)


def mentions(text):
    """(place, (size, colour, shape)) of each clause that names both."""
    found = []
    for clause in re.split(r"[.,;\n]", text):
        kind, place = KIND.search(clause), PLACE.search(clause)
        if kind and place:
            found.append((place.group().lower(), tuple(word.lower() for word in kind.groups())))
    return found


def score(text, facts):
    """-> [(attribute, right)] for one answer."""
    said, marks = mentions(text), []
    for attribute, *expected in facts:
        if attribute == "object":
            place, *kind = expected
            candidates = [k for p, k in said if p == place]
            best = max(candidates, default=(None,) * 3, key=lambda k: sum(a == b for a, b in zip(k, kind)))
            marks.append(("place", bool(candidates)))
            marks += zip(("size", "colour", "shape"), [a == b for a, b in zip(best, kind)])
        elif attribute == "shown":
            named = KIND.search(text)
            words = named.groups() if named else (None,) * 3
            marks += zip(("size", "colour", "shape"), [(a or "").lower() == b for a, b in zip(words, expected)])
        else:
            marks.append((attribute, expected[0].lower() in text.lower()))
    return marks


def tally(kinds, facts, answers, score=score):
    """Scores by kind and by attribute for parallel lists; facts and answers by turn, None for an answer without end."""
    by_kind, by_attribute, whole = defaultdict(list), defaultdict(list), defaultdict(list)
    for kind, expected, given in zip(kinds, facts, answers):
        given = [*given, *[None] * (len(expected) - len(given))]
        for turn_facts, text in zip(expected, given):
            marks = score(text or "", turn_facts)
            whole[kind].append(all(right for _, right in marks))
            by_kind[kind] += [right for _, right in marks]
            if kind != "text":
                for attribute, right in marks:
                    by_attribute[attribute].append(right)
    seen = [right for marks in by_attribute.values() for right in marks]
    return {
        "attributes": share(seen),
        "facts": len(seen),
        "by_kind": {kind: share(marks) for kind, marks in by_kind.items()},
        "whole_answers": {kind: share(marks) for kind, marks in whole.items()},
        "by_attribute": {attribute: share(marks) for attribute, marks in sorted(by_attribute.items())},
    }


def share(marks):
    return round(sum(marks) / len(marks), 3) if marks else None
