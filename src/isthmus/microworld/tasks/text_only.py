"""Tasks without a picture: what the language model can do with its eyes closed."""

from random import Random

from isthmus.microworld.scene import COLOURS, SHAPES, SIGN_WORDS
from isthmus.microworld.tasks.question import Question

_WORDS = (*COLOURS, *SHAPES, *SIGN_WORDS)


def arithmetic(rng: Random) -> Question:
    """What is 23+45? -> 68 (sums below 100, differences not below 0)."""
    a, b = int(rng.random() * 50), int(rng.random() * 50)
    if rng.random() < 0.5:
        return Question(f"What is {a}+{b}?", str(a + b))
    return Question(f"What is {max(a, b)}-{min(a, b)}?", str(abs(a - b)))


def copying(rng: Random) -> Question:
    """Repeat: cat red 12 moon. -> cat red 12 moon."""
    words = [rng.choice(_WORDS) for _ in range(2 + int(rng.random() * 5))]
    words[-1] = str(int(rng.random() * 100))
    rng.shuffle(words)
    line = " ".join(words)
    return Question(f"Repeat: {line}", line)


def sorting(rng: Random) -> Question:
    """Sort: 41 7 23 -> 7 23 41."""
    numbers = [int(rng.random() * 100) for _ in range(2 + int(rng.random() * 4))]
    return Question(f"Sort: {' '.join(map(str, numbers))}", " ".join(map(str, sorted(numbers))))
