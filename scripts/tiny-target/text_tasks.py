"""Plain text tasks, each with a question, an answer of some length and the text it must contain."""

from language import Turn, join, number, plural
from scenes import COLOURS

WORDS = sorted(
    "apple bread cloud door eagle fish garden house island jacket kite lemon moon night ocean paper queen river stone "
    "table uncle village water zebra".split()
)


def count_numbers(rng):
    first, length = rng.randrange(0, 40), rng.randrange(14, 30)
    step = rng.choice((1, 1, -1, 2))
    if step < 0:
        first += length
    numbers = [number(first + step * i) for i in range(length)]
    how = " in steps of two" if step == 2 else ""
    listing = ", ".join(numbers)
    question = f"Count from {numbers[0]} to {numbers[-1]}{how}."
    return Turn(
        question, f"Sure, here are the numbers from {numbers[0]} to {numbers[-1]}: {listing}.", [("text", listing)]
    )


def add(rng):
    a, b = rng.randrange(1, 40), rng.randrange(6, 16)
    question = rng.choice([f"What is {number(a)} plus {number(b)}?", f"Add {number(a)} and {number(b)}."])
    steps = ", ".join(f"{number(i)} makes {number(a + i)}" for i in range(1, b + 1))
    result = f"So {number(a)} plus {number(b)} is {number(a + b)}."
    return Turn(question, f"I start at {number(a)} and count {number(b)} up: {steps}. {result}", [("text", result)])


def times_table(rng):
    n, rows = rng.randrange(2, 10), rng.randrange(7, 11)
    lines = "\n".join(f"{number(i)} times {number(n)} is {number(i * n)}" for i in range(1, rows + 1))
    question = f"Write the first {number(rows)} rows of the table of {number(n)}."
    return Turn(question, f"Here is the table of {number(n)}:\n{lines}", [("text", lines)])


def sort_words(rng):
    words = rng.sample(WORDS, rng.randrange(5, 9))
    lines = "\n".join(f"{i + 1}. {word}" for i, word in enumerate(sorted(words)))
    opening = f"You gave me {plural(len(words), 'word')}. In alphabetical order they are:"
    closing = f"The first one is {min(words)} and the last one is {max(words)}."
    return Turn(f"Sort these words: {', '.join(words)}.", f"{opening}\n{lines}\n{closing}", [("text", lines)])


def reverse_words(rng):
    words = rng.sample(WORDS, rng.randrange(6, 11))
    back = ", ".join(reversed(words))
    opening = f"The words are {join(words)}."
    answer = f"{opening} In the opposite order they are: {back}."
    return Turn(f"Say these words backwards: {', '.join(words)}.", answer, [("text", f"are: {back}.")])


def repeat_words(rng):
    times, text = rng.randrange(6, 11), " ".join(rng.sample(WORDS, rng.randrange(3, 6)))
    lines = "\n".join(f"{i + 1}. {text}" for i in range(times))
    return Turn(
        f'Write "{text}" {number(times)} times.', f"Here it is {number(times)} times:\n{lines}", [("text", lines)]
    )


def continue_pattern(rng):
    unit = rng.sample([*COLOURS], rng.randrange(2, 4))
    shown, more = len(unit) * 2, len(unit) * rng.randrange(6, 10)
    words = [unit[i % len(unit)] for i in range(shown + more)]
    rest = ", ".join(words[shown:])
    question = f"Continue the pattern with {number(more)} more words: {', '.join(words[:shown])}."
    return Turn(
        question, f"The pattern repeats {join(unit)}. It goes on like this: {rest}.", [("text", f"this: {rest}.")]
    )


TASKS = [count_numbers, add, times_table, sort_words, reverse_words, repeat_words, continue_pattern]


def text_task(rng):
    return rng.choice(TASKS)(rng)
