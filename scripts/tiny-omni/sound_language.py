"""What is asked about recordings and what a right answer says, as `language` does for pictures.

Facts about sounds, beside those of `language`:
    ("heard", n, length, level, pitch, kind)   the n-th sound that the answer names, counted from zero, has all four
"""

from language import Turn, join, listed, number, object_facts, plural
from sounds import ORDINALS


def name(sound):
    return " ".join(sound)


def spoken(n):
    return plural(n, "sound")


def in_turn(sounds):
    return join([f"a {name(s)}" for s in sounds])


def heard(sounds, start=0):
    return [("heard", start + i, *sound) for i, sound in enumerate(sounds)]


def levels(sounds):
    loud, n = sum(s[1] == "loud" for s in sounds), len(sounds)
    if loud in (0, n):
        every = {1: "It is", 2: "Both of them are"}.get(n, "All of them are")
        return f"{every} {'loud' if loud else 'soft'}."
    return f"Among them are {plural(loud, 'loud sound')} and {plural(n - loud, 'soft sound')}."


def in_order(sounds, what):
    position = {"kinds": 3, "pitches": 2}[what]
    return f"The {what}, in the same order, are {join([s[position] for s in sounds])}."


# ---------------------------------------------------------------- one recording
def describe(recording, rng):
    sounds, n = recording.sounds, len(recording.sounds)
    question, opening, style, closing = rng.choice(
        [
            ("Describe the recording.", f"The recording holds {spoken(n)}.", "prose", "kinds"),
            ("What do you hear?", f"I can hear {spoken(n)}.", "heard", "pitches"),
            ("List what can be heard.", "Here is what can be heard:", "bullets", "kinds"),
            ("Number the sounds.", f"There are {spoken(n)}:", "numbers", "pitches"),
        ]
    )
    listing = {
        "prose": f"One after another they are {in_turn(sounds)}.",
        "heard": " ".join(f"The {ORDINALS[i]} sound is a {name(s)}." for i, s in enumerate(sounds)),
        "bullets": "\n".join(f"- {ORDINALS[i]}: a {name(s)}" for i, s in enumerate(sounds)),
        "numbers": "\n".join(f"{i + 1}. A {name(s)}." for i, s in enumerate(sounds)),
    }[style]
    closing = f"{in_order(sounds, closing)} {levels(sounds)}"
    if style == "bullets":
        closing = f"That makes {spoken(n)}. {closing}"
    answer = f"{opening}\n{listing}\n{closing} The rest is silence."
    return Turn(question, answer, [("sounds", spoken(n)), *heard(sounds)])


def count(recording, rng):
    sounds, n = recording.sounds, len(recording.sounds)
    if rng.random() < 0.5:
        steps = " ".join(f"{number(i + 1).capitalize()}: a {name(s)}." for i, s in enumerate(sounds))
        closing = f"So the number of sounds is {number(n)}."
        answer = f"Let me listen to them one by one. {steps} {closing} {in_order(sounds, 'kinds')}"
        return Turn("How many sounds are there?", answer, [("sounds", closing), *heard(sounds)])
    which, found, steps = rng.choice([("loud", 1), ("soft", 1), ("long", 0), ("short", 0)]), 0, []
    for i, sound in enumerate(sounds):
        fits = sound[which[1]] == which[0]
        found += fits
        verdict = f"counts and makes {number(found)}" if fits else "does not count"
        steps.append(f"The {ORDINALS[i]} sound, a {name(sound)}, {verdict}.")
    closing = f"So the number of {which[0]} sounds is {number(found)}."
    answer = f"Let me listen to every sound. {' '.join(steps)} {closing}"
    return Turn(f"How many {which[0]} sounds are there?", answer, [("sounds", closing), *heard(sounds)])


def which_one(recording, rng):
    sounds, n = recording.sounds, len(recording.sounds)
    i = rng.randrange(n)
    length, level, pitch, kind = sounds[i]
    before = f"Before it comes a {name(sounds[i - 1])}." if i else "Nothing comes before it."
    after = f"After it comes a {name(sounds[i + 1])}." if i + 1 < n else "Nothing comes after it."
    question, opening, middle = rng.choice(
        [
            (
                f"What is the {ORDINALS[i]} sound?",
                f"The {ORDINALS[i]} sound is a {name(sounds[i])}.",
                f"So it is {length} and {level}, and its pitch is {pitch}.",
            ),
            (
                f"Which sound comes {ORDINALS[i]}?",
                f"A {name(sounds[i])} comes {ORDINALS[i]}.",
                f"Its pitch is {pitch}, and it is {length} and {level}.",
            ),
        ]
    )
    around = [*([sounds[i - 1]] if i else []), *([sounds[i + 1]] if i + 1 < n else [])]
    edges = [("order", text) for text in (before, after) if text.startswith("Nothing")]
    facts = [*heard([sounds[i], *around]), *edges, ("sounds", f"{spoken(n)} in all")]
    return Turn(question, f"{opening} {middle} {before} {after} There are {spoken(n)} in all.", facts)


def compare(recording, rng):
    sounds = recording.sounds
    i, j = sorted(rng.sample(range(len(sounds)), 2))
    a, b, one, two = sounds[i], sounds[j], f"the {ORDINALS[i]} sound", f"the {ORDINALS[j]} sound"
    question = rng.choice([f"Compare {one} with {two}.", f"How do {one} and {two} differ?"])
    steps = ["low", "medium", "high"]

    def verdict(x, y, word, same):
        return same if x == y else f"{one if x > y else two} is {word}"

    longer = verdict(a[0] == "long", b[0] == "long", "longer", "they have the same length")
    louder = verdict(a[1] == "loud", b[1] == "loud", "louder", "they have the same level")
    higher = verdict(steps.index(a[2]), steps.index(b[2]), "higher", "they have the same pitch")
    One, Two = one.capitalize(), two.capitalize()
    sentences = [
        f"{One} is a {name(a)}.",
        f"{Two} is a {name(b)}.",
        f"{One} is {a[0]} and {two} is {b[0]}, so {longer}.",
        f"{One} is {a[1]} and {two} is {b[1]}, so {louder}.",
        f"{One} is {a[2]} and {two} is {b[2]}, so {higher}.",
    ]
    facts = [*heard([a, b]), *(("relation", f"so {text}") for text in (longer, louder, higher))]
    return Turn(question, " ".join(sentences), facts)


def drill(recording, rng):
    """A one-line question, from which the young model learns to find sounds."""
    i = rng.randrange(len(recording.sounds))
    length, level, pitch, kind = sound = recording.sounds[i]
    it = f"the {ORDINALS[i]} sound"
    question, answer = rng.choice(
        [
            (f"what is {it}?", f"The {ORDINALS[i]} sound is a {name(sound)}."),
            (f"what is {it}?", f"The {ORDINALS[i]} sound is a {name(sound)}."),
            (f"how long is {it}?", f"The {ORDINALS[i]} sound is {length}."),
            (f"how loud is {it}?", f"The {ORDINALS[i]} sound is {level}."),
            (f"how high is {it}?", f"The {ORDINALS[i]} sound is {pitch}."),
            ("how many sounds are there?", f"There are {spoken(len(recording.sounds))}."),
        ]
    )
    return Turn(f"Briefly, {question}", answer, [])


# ---------------------------------------------------------------- two recordings
def two_recordings(a, b, rng):
    question = rng.choice(["Compare the two recordings.", "What is different between the two recordings?"])
    na, nb = len(a.sounds), len(b.sounds)
    more = (
        "Both recordings have the same number of sounds."
        if na == nb
        else f"The {'first' if na > nb else 'second'} recording has more sounds."
    )
    lines, facts = [], [("relation", more)]
    for recording, which, n, start in ((a, "first", na, 0), (b, "second", nb, na)):
        lines.append(f"The {which} recording has {spoken(n)}: {in_turn(recording.sounds)}.")
        facts += [("sounds", f"{which} recording has {spoken(n)}"), *heard(recording.sounds, start)]
    return Turn(question, "\n".join([*lines, more]), facts)


# ---------------------------------------------------------------- a picture and a recording
def both(scene, recording, rng):
    shapes, sounds, objects = len(scene.objects), len(recording.sounds), list(scene.objects.items())
    facts = [
        ("background", f"{scene.background} background"),
        ("count", plural(shapes)),
        *object_facts(objects),
        ("sounds", spoken(sounds)),
        *heard(recording.sounds),
    ]
    question = rng.choice(
        [
            "Describe the picture and the recording.",
            "What do you see and hear?",
            "Are there more shapes or more sounds?",
        ]
    )
    if question.startswith("Describe"):
        answer = (
            f"The picture shows {plural(shapes)} on a {scene.background} background: {listed(objects)}.\n"
            f"The recording holds {spoken(sounds)}: {in_turn(recording.sounds)}."
        )
    elif question.startswith("What"):
        answer = (
            f"I see {plural(shapes)} on a {scene.background} background. There is {listed(objects)}.\n"
            f"I hear {spoken(sounds)}. One after another they are {in_turn(recording.sounds)}."
        )
    else:
        verdict = "There are as many shapes as sounds."
        if shapes != sounds:
            verdict = f"There are more {'shapes' if shapes > sounds else 'sounds'}."
        answer = (
            f"On the {scene.background} background I count {plural(shapes)}: {listed(objects)}.\n"
            f"In the recording I count {spoken(sounds)}: {in_turn(recording.sounds)}.\n{verdict}"
        )
        facts.append(("relation", verdict))
    return Turn(question, answer, facts)
