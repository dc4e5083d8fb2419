"""What is asked about scenes and what a right answer says: one function per kind of question.

The wording of a question settles the wording of its answer, so that a model that decodes greedily still answers in
many ways.  Every turn carries the facts its answer must state, for scoring:
    ("object", place, size, colour, shape)   a clause that names all four
    (attribute, text)                        the text, word for word
"""

from dataclasses import dataclass

from scenes import COLUMNS, PLACES, ROWS

SMALL_NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
).split()
TENS = "zero ten twenty thirty forty fifty sixty seventy eighty ninety".split()


@dataclass
class Turn:
    question: str
    answer: str
    facts: list


def number(n):
    if n < 20:
        return SMALL_NUMBERS[n]
    return TENS[n // 10] + ("" if n % 10 == 0 else "-" + SMALL_NUMBERS[n % 10])


def plural(n, word="shape"):
    return f"{number(n)} {word}" + ("" if n == 1 else "s")


def join(parts):
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + ", and " + parts[-1]


def name(kind):
    return " ".join(kind)


def short(kind):
    return f"{kind[1]} {kind[2]}"


def listed(objects):
    return join([f"a {name(o)} in the {PLACES[c]}" for c, o in objects])


def object_facts(objects):
    return [("object", PLACES[c], *o) for c, o in objects]


# ---------------------------------------------------------------- one picture
def sizes(scene):
    large = sum(o[0] == "large" for o in scene.objects.values())
    n = len(scene.objects)
    if large in (0, n):
        every = {1: "It is", 2: "Both of them are"}.get(n, "All of them are")
        return f"{every} {'large' if large else 'small'}."
    return f"Among them are {plural(large, 'large shape')} and {plural(n - large, 'small shape')}."


def in_order(scene, what):
    position = {"colours": 1, "shapes": 2}[what]
    return f"The {what}, in the same order, are {join([o[position] for o in scene.objects.values()])}."


def describe(scene, rng):
    objects, n, ground = list(scene.objects.items()), len(scene.objects), scene.background
    question, opening, style, closing = rng.choice(
        [
            ("Describe the picture.", f"The picture shows {plural(n)} on a {ground} background.", "prose", "colours"),
            ("What do you see?", f"I can see {plural(n)} on a {ground} background.", "seen", "shapes"),
            ("List what is in the picture.", f"Here is what is on the {ground} background:", "bullets", "colours"),
            (
                "Number the shapes and say where they are.",
                f"There are {plural(n)} on a {ground} background:",
                "numbers",
                "shapes",
            ),
            (
                "Tell me about this image.",
                f"This image has a {ground} background with {plural(n)} on it.",
                "holds",
                "colours",
            ),
        ]
    )
    listing = {
        "prose": "There is " + listed(objects) + ".",
        "seen": " ".join(f"In the {PLACES[c]} I see a {name(o)}." for c, o in objects),
        "bullets": "\n".join(f"- {PLACES[c]}: a {name(o)}" for c, o in objects),
        "numbers": "\n".join(f"{i + 1}. A {name(o)} in the {PLACES[c]}." for i, (c, o) in enumerate(objects)),
        "holds": " ".join(f"The {PLACES[c]} holds a {name(o)}." for c, o in objects),
    }[style]
    facts = [("background", f"{ground} background"), *object_facts(objects)]
    if style == "bullets":
        closing = f"That makes {plural(n)}. {in_order(scene, closing)}"
    else:
        closing = in_order(scene, closing)
    facts.append(("count", plural(n)))
    return Turn(question, f"{opening}\n{listing}\n{closing} {sizes(scene)} The other places are empty.", facts)


def count(scene, rng):
    objects, n = list(scene.objects.items()), len(scene.objects)
    if rng.random() < 0.5:
        question, opening, closing = rng.choice(
            [
                ("How many shapes are there?", "Let me count them one by one.", "So the number of shapes is {}."),
                ("Count the shapes.", "I count from the top left to the bottom right.", "That makes {} in total."),
            ]
        )
        steps = " ".join(
            f"{number(i + 1).capitalize()}: a {name(o)} in the {PLACES[c]}." for i, (c, o) in enumerate(objects)
        )
        total = plural(n) if "total" in closing else number(n)
        facts = [("count", closing.format(total)), *object_facts(objects)]
        return Turn(question, f"{opening} {steps} {closing.format(total)} {in_order(scene, 'colours')}", facts)
    size, found, steps = rng.choice(["large", "small"]), 0, []
    for cell, kind in objects:
        found += kind[0] == size
        verdict = f"counts and makes {number(found)}" if kind[0] == size else "does not count"
        steps.append(f"The {name(kind)} in the {PLACES[cell]} {verdict}.")
    closing = f"So the number of {size} shapes is {number(found)}."
    facts = [("count", closing), *object_facts(objects)]
    return Turn(f"How many {size} shapes are there?", f"Let me look at every shape. {' '.join(steps)} {closing}", facts)


def surroundings(scene, cell):
    rest = [(c, o) for c, o in scene.objects.items() if c != cell]
    around = f"The rest of the picture shows {listed(rest)}." if rest else "There is nothing else in the picture."
    return f"{around} The background is {scene.background}, and there are {plural(len(scene.objects))} in all."


def surroundings_facts(scene, cell):
    rest = [(c, o) for c, o in scene.objects.items() if c != cell]
    return [
        *object_facts(rest),
        ("background", f"background is {scene.background}"),
        ("count", f"{plural(len(scene.objects))} in all"),
    ]


def row_and_column(cell):
    return f"the {ROWS[cell // 3]} row and the {COLUMNS[cell % 3]} column"


def place_of(scene, rng):
    cell, kind = rng.choice(list(scene.objects.items()))
    it = short(kind)
    question, middle = rng.choice(
        [
            (f"Where is the {it}?", f"That is {row_and_column(cell)}. It is {kind[0]}."),
            (
                f"In which part of the picture is the {it}?",
                f"It is a {kind[0]} one, and it lies in {row_and_column(cell)}.",
            ),
        ]
    )
    facts = [
        ("place", f"The {it} is in the {PLACES[cell]}."),
        ("size", f" {kind[0]}"),
        *surroundings_facts(scene, cell),
    ]
    return Turn(question, f"The {it} is in the {PLACES[cell]}. {middle} {surroundings(scene, cell)}", facts)


def what_at(scene, rng):
    cell = rng.choice([*scene.objects] * 3 + [c for c in range(9) if c not in scene.objects])
    question = rng.choice([f"What is in the {PLACES[cell]}?", f"Which shape is in the {PLACES[cell]}?"])
    if cell not in scene.objects:
        answer = f"There is nothing in the {PLACES[cell]}. {surroundings(scene, cell)}"
        return Turn(question, answer, [("empty", f"nothing in the {PLACES[cell]}"), *surroundings_facts(scene, cell)])
    kind = scene.objects[cell]
    if question.startswith("What"):
        answer = f"In the {PLACES[cell]} there is a {name(kind)}. That is {row_and_column(cell)}."
    else:
        answer = f"The shape in the {PLACES[cell]} is a {name(kind)}. It lies in {row_and_column(cell)}."
    facts = [*object_facts([(cell, kind)]), *surroundings_facts(scene, cell)]
    return Turn(question, f"{answer} {surroundings(scene, cell)}", facts)


def colour_of(scene, rng):
    shapes = [o[2] for o in scene.objects.values()]
    single = [(c, o) for c, o in scene.objects.items() if shapes.count(o[2]) == 1]
    if not single:
        return what_at(scene, rng)
    cell, (size, colour, shape) = rng.choice(single)
    question, answer = rng.choice(
        [
            (f"What colour is the {shape}?", f"The {shape} is {colour}."),
            (f"Which colour does the {shape} have?", f"The colour of the {shape} is {colour}."),
        ]
    )
    middle = f"It is a {size} one and lies in the {PLACES[cell]}, which is {row_and_column(cell)}."
    facts = [
        ("colour", answer),
        ("size", f"a {size} one"),
        ("place", f"lies in the {PLACES[cell]}"),
        *surroundings_facts(scene, cell),
    ]
    return Turn(question, f"{answer} {middle} {surroundings(scene, cell)}", facts)


def compare(scene, rng):
    (ca, a), (cb, b) = rng.sample(list(scene.objects.items()), 2)
    one, two = f"the {short(a)}", f"the {short(b)}"
    One, Two = one.capitalize(), two.capitalize()
    question = rng.choice([f"Compare {one} with {two}.", f"How do {one} and {two} differ?"])
    (ya, xa), (yb, xb) = divmod(ca, 3), divmod(cb, 3)
    larger = "they have the same size" if a[0] == b[0] else f"{one if a[0] == 'large' else two} is larger"
    higher = "they are at the same height" if ya == yb else f"{one if ya < yb else two} is higher"
    lefter = "neither is further to the left" if xa == xb else f"{one if xa < xb else two} is further to the left"
    sentences = [
        f"{One} is in the {PLACES[ca]}.",
        f"{Two} is in the {PLACES[cb]}.",
        f"{One} is {a[0]} and {two} is {b[0]}, so {larger}.",
        f"{One} is in the {ROWS[ya]} row and {two} is in the {ROWS[yb]} row, so {higher}.",
        f"{One} is in the {COLUMNS[xa]} column and {two} is in the {COLUMNS[xb]} column, so {lefter}.",
    ]
    facts = [
        ("place", sentences[0]),
        ("place", sentences[1]),
        ("size", f"{one} is {a[0]} and"),
        ("size", f"{two} is {b[0]}, so"),
        ("relation", f"so {larger}"),
        ("relation", f"so {higher}"),
        ("relation", f"so {lefter}"),
    ]
    return Turn(question, " ".join(sentences), facts)


def drill(scene, rng):
    """A one-line question, from which the young model learns to find things."""
    (cell, kind), other = rng.choice(list(scene.objects.items())), rng.choice(list(scene.objects.items()))
    one, two = f"the {short(kind)}", f"the {short(other[1])}"
    (ya, xa), (yb, xb) = divmod(cell, 3), divmod(other[0], 3)
    options = [
        (f"where is {one}?", f"The {short(kind)} is in the {PLACES[cell]}."),
        (f"how large is {one}?", f"The {short(kind)} is {kind[0]}."),
        (f"what is in the {PLACES[cell]}?", f"In the {PLACES[cell]} there is a {name(kind)}."),
    ]
    if sum(o[2] == kind[2] for o in scene.objects.values()) == 1:
        options.append((f"what colour is the {kind[2]}?", f"The {kind[2]} is {kind[1]}."))
    if ya != yb:
        options.append((f"which is higher, {one} or {two}?", f"{(one if ya < yb else two).capitalize()} is higher."))
    if xa != xb:
        options.append(
            (
                f"which is further to the left, {one} or {two}?",
                f"{(one if xa < xb else two).capitalize()} is further to the left.",
            )
        )
    question, answer = rng.choice(options)
    return Turn(f"Briefly, {question}", answer, [])


# ---------------------------------------------------------------- two pictures
def two_pictures(a, b, rng):
    question = rng.choice(["Compare the two pictures.", "What is different between the two images?"])
    na, nb = len(a.objects), len(b.objects)
    if na == nb:
        more = "Both pictures have the same number of shapes."
    else:
        more = f"The {'first' if na > nb else 'second'} picture has more shapes."
    same = a.background == b.background
    ground = (
        f"Both backgrounds are {a.background}."
        if same
        else f"The backgrounds differ: {a.background} and {b.background}."
    )
    lines, facts = [], [("relation", more), ("background", ground)]
    for scene, which, n in ((a, "first", na), (b, "second", nb)):
        lines.append(
            f"The {which} picture has {plural(n)} on a {scene.background} background: {listed(scene.objects.items())}."
        )
        facts += [("count", f"{which} picture has {plural(n)}"), *object_facts(scene.objects.items())]
    return Turn(question, "\n".join([*lines, f"{more} {ground}"]), facts)


# ---------------------------------------------------------------- clips
def clip_turns(clip, rng):
    """One or two turns about a clip."""
    a, b, c = (PLACES[cell] for cell in clip.path)
    it, moves = short(clip.shape), clip.motion != "stays"
    motion = f"it moves {clip.motion}" if moves else "it does not move"
    seconds = (
        f"In the first second it is in the {a}, in the next second it is in the {b}, "
        f"and in the last second it is in the {c}."
    )
    if clip.still:
        cell, kind = clip.still
        beside = f"Besides it there is a {name(kind)} in the {PLACES[cell]}, which rests."
    else:
        beside = "There is nothing else in the video, which has three seconds."
    where = [
        ("place", f"first second it is in the {a}"),
        ("place", f"next second it is in the {b}"),
        ("place", f"last second it is in the {c}"),
    ]
    still = object_facts([clip.still]) if clip.still else []
    described = Turn(
        rng.choice(["What happens in the video?", "Describe the clip."]),
        f"The video shows a {name(clip.shape)} on a {clip.background} background. {seconds} So {motion}. {beside}",
        [
            ("shown", *clip.shape),
            ("background", f"{clip.background} background"),
            *where,
            ("motion", f"So {motion}."),
            *still,
        ],
    )
    direction = Turn(
        f"How does the {it} move?",
        f"The {it} {motion.removeprefix('it ')}. {seconds} The shape is {clip.shape[0]}. {beside}",
        [("motion", f"The {it} {motion.removeprefix('it ')}."), *where, ("size", f"shape is {clip.shape[0]}"), *still],
    )
    if rng.random() < 0.35:
        return [described, direction]
    return [rng.choice([described, described, direction])]
